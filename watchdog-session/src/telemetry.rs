//! Metrics of this crate.

use std::sync::LazyLock;
use std::time::Instant;

use metrics::{
    Key, Label, Level, Metadata, Unit, counter, describe_counter, describe_histogram, with_recorder,
};

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

const UNKNOWN: &str = "watchdog_session_revocations_unknown_total";
const REASSERTED: &str = "watchdog_session_reassertions_total";
const FORGOTTEN: &str = "watchdog_session_journal_dropped_total";
const CACHE: &str = "watchdog_session_cache_lookups_total";
const CACHE_EMPTIED: &str = "watchdog_session_cache_emptied_total";

pub(crate) fn describe() {
    describe_counter!(OPERATIONS, Unit::Count, "Session operations by outcome");
    describe_histogram!(DURATION, Unit::Seconds, "Duration of session operations");
    describe_counter!(ROTATIONS, Unit::Count, "Refresh tokens presented, by verdict");
    describe_counter!(REUSE, Unit::Count, "Refresh tokens presented again: likely theft");
    describe_counter!(GRACE, Unit::Count, "Replaced refresh tokens served within their grace");
    describe_counter!(EXPIRED, Unit::Count, "Expired sessions removed at a login");
    describe_counter!(EVICTED, Unit::Count, "Sessions evicted by the concurrent limit");
    describe_counter!(UNKNOWN, Unit::Count, "Access tokens nobody could say were not revoked");
    describe_counter!(
        REASSERTED,
        Unit::Count,
        "Revocations asserted again, by outcome: held, lost, unavailable, failed"
    );
    describe_counter!(FORGOTTEN, Unit::Count, "Revocations that found no room in the journal");
    describe_counter!(CACHE, Unit::Count, "Lookups in the local cache, by outcome: hit, miss");
    describe_counter!(CACHE_EMPTIED, Unit::Count, "Times the local cache was emptied on doubt");
    describe_counter!(EVENTS, Unit::Count, "Session events offered to the audit sink, by outcome");
}

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The keys of the metrics of one operation that goes well.
struct Keys {
    succeeded: Key,
    duration: Key,
}

impl Keys {
    fn of(operation: &'static str) -> Self {
        let duration = Key::from_parts(DURATION, vec![Label::new("operation", operation)]);
        Self { succeeded: outcome(operation, "ok"), duration }
    }
}

/// What every request does: the keys are made once.
static AUTHENTICATE: LazyLock<Keys> = LazyLock::new(|| Keys::of("authenticate"));
static AUTHENTICATE_ACCESS: LazyLock<Keys> = LazyLock::new(|| Keys::of("authenticate_access"));
static ROTATE: LazyLock<Keys> = LazyLock::new(|| Keys::of("rotate"));

fn outcome(operation: &'static str, outcome: &'static str) -> Key {
    let labels = vec![Label::new("operation", operation), Label::new("outcome", outcome)];
    Key::from_parts(OPERATIONS, labels)
}

/// Counts and times one operation.
pub(crate) fn operation<T>(operation: &'static str, started: Instant, result: &Result<T>) {
    let made;
    let keys = match operation {
        "authenticate" => &*AUTHENTICATE,
        "authenticate_access" => &*AUTHENTICATE_ACCESS,
        "rotate" => &*ROTATE,
        other => {
            made = Keys::of(other);
            &made
        }
    };
    let count = |key: &Key| {
        with_recorder(|recorder| recorder.register_counter(key, &METADATA)).increment(1);
    };
    match result {
        Ok(_) => count(&keys.succeeded),
        Err(error) => count(&outcome(operation, error.kind().as_str())),
    }
    with_recorder(|recorder| recorder.register_histogram(&keys.duration, &METADATA))
        .record(started.elapsed().as_secs_f64());
    if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Internal) {
        tracing::error!(operation, "a session operation failed in a way that should not happen");
    }
}

pub(crate) fn verdict(verdict: Verdict) {
    if verdict == Verdict::Rotated {
        counter!(ROTATIONS, "verdict" => "rotated").increment(1);
    } else {
        counter!(ROTATIONS, "verdict" => verdict.as_str()).increment(1);
    }
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

pub(crate) fn dropped(events: u64) {
    counter!(EVENTS, "outcome" => "dropped").increment(events);
}

#[cfg(feature = "redis")]
pub(crate) fn revocation_unknown() {
    counter!(UNKNOWN).increment(1);
}

pub(crate) fn reasserted(outcome: &'static str) {
    counter!(REASSERTED, "outcome" => outcome).increment(1);
}

pub(crate) fn journal_dropped() {
    counter!(FORGOTTEN).increment(1);
}

pub(crate) fn cache_lookup(outcome: &'static str) {
    counter!(CACHE, "outcome" => outcome).increment(1);
}

pub(crate) fn cache_emptied() {
    counter!(CACHE_EMPTIED).increment(1);
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
