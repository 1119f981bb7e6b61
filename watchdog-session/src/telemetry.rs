//! Metrics of this crate.

use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::error::{ErrorKind, Result};
use crate::rotation::Verdict;

const OPERATIONS: &str = "watchdog_session_operations_total";
const DURATION: &str = "watchdog_session_operation_duration_seconds";
const ROTATIONS: &str = "watchdog_session_rotations_total";
const REUSE: &str = "watchdog_session_reuse_total";
const GRACE: &str = "watchdog_session_grace_used_total";
const EXPIRED: &str = "watchdog_session_expired_total";
const EVICTED: &str = "watchdog_session_evicted_total";
const EVENTS: &str = "watchdog_session_events_total";
#[cfg(feature = "axum")]
const DENIED: &str = "watchdog_session_denied_total";
#[cfg(feature = "axum")]
const TOSSED: &str = "watchdog_session_cookie_duplicates_total";

pub(crate) fn describe() {
    describe_counter!(OPERATIONS, Unit::Count, "Session operations by outcome");
    describe_histogram!(DURATION, Unit::Seconds, "Duration of session operations");
    describe_counter!(ROTATIONS, Unit::Count, "Refresh tokens presented, by verdict");
    describe_counter!(REUSE, Unit::Count, "Refresh tokens presented again: likely theft");
    describe_counter!(GRACE, Unit::Count, "Replaced refresh tokens served within their grace");
    describe_counter!(EXPIRED, Unit::Count, "Expired sessions removed at a login");
    describe_counter!(EVICTED, Unit::Count, "Sessions evicted by the concurrent limit");
    describe_counter!(EVENTS, Unit::Count, "Session events offered to the audit sink, by outcome");
}

/// Counts and times one operation.
pub(crate) fn operation<T>(operation: &'static str, started: Instant, result: &Result<T>) {
    let outcome = result.as_ref().err().map_or("ok", |error| error.kind().as_str());
    counter!(OPERATIONS, "operation" => operation, "outcome" => outcome).increment(1);
    histogram!(DURATION, "operation" => operation).record(started.elapsed().as_secs_f64());
    if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Internal) {
        tracing::error!(operation, "a session operation failed in a way that should not happen");
    }
}

pub(crate) fn verdict(verdict: Verdict) {
    counter!(ROTATIONS, "verdict" => verdict.as_str()).increment(1);
    match verdict {
        Verdict::Reuse => counter!(REUSE).increment(1),
        Verdict::Grace => counter!(GRACE).increment(1),
        _ => {}
    }
}

pub(crate) fn removed_at_login(expired: u32, evicted: u32) {
    if expired > 0 {
        counter!(EXPIRED).increment(expired.into());
    }
    if evicted > 0 {
        counter!(EVICTED).increment(evicted.into());
    }
}

pub(crate) fn event(outcome: &'static str) {
    counter!(EVENTS, "outcome" => outcome).increment(1);
}

#[cfg(feature = "axum")]
pub(crate) fn describe_web() {
    describe_counter!(
        DENIED,
        Unit::Count,
        "Requests of known users refused at the edge, by reason"
    );
    describe_counter!(TOSSED, Unit::Count, "Requests with more than one session cookie");
}

/// A request of a known user was refused.
#[cfg(feature = "axum")]
pub(crate) fn denied(reason: &'static str) {
    counter!(DENIED, "reason" => reason).increment(1);
}

/// A request had several cookies of the session's name.
#[cfg(feature = "axum")]
pub(crate) fn tossed() {
    counter!(TOSSED).increment(1);
}
