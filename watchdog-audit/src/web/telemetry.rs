//! Metrics of the layer: their labels have few values, whatever clients send.

use std::fmt;
use std::sync::Once;

use metrics::{Unit, counter, describe_counter};
use watchdog_core::audit::Outcome;

use crate::error::Error;

const REQUESTS: &str = "watchdog_audit_requests_total";
const REFUSED: &str = "watchdog_audit_refused_requests_total";

/// Describes every metric once.
pub(super) fn describe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        describe_counter!(
            REQUESTS,
            Unit::Count,
            "Requests by outcome, and whether they were recorded, sampled out or lost."
        );
        describe_counter!(REFUSED, Unit::Count, "Requests refused because of the audit log.");
    });
}

pub(super) fn recorded(outcome: Outcome) {
    counter!(REQUESTS, "outcome" => name(outcome), "entry" => "recorded").increment(1);
}

pub(super) fn sampled_out(outcome: Outcome) {
    counter!(REQUESTS, "outcome" => name(outcome), "entry" => "sampled_out").increment(1);
}

pub(super) fn lost(why: &dyn fmt::Display) {
    counter!(REQUESTS, "outcome" => "unknown", "entry" => "lost").increment(1);
    tracing::error!(error = %why, "a request is missing in the audit log");
}

/// The audit log did not take a request before its handler, or its entry before the answer.
pub(super) fn refused(error: &Error, is_answered: bool) {
    if is_answered {
        tracing::error!(%error, "a request was answered whose audit entry is not acknowledged yet");
    } else {
        counter!(REFUSED).increment(1);
        tracing::error!(%error, "a request was refused: the audit log does not take it");
    }
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Denied => "denied",
        Outcome::Failure => "failure",
        _ => "unknown",
    }
}
