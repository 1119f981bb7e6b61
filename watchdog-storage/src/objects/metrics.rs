//! Counts and times of the calls.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::error::{ErrorKind, Result};

const REQUESTS: &str = "watchdog_storage_objects_requests_total";
const DURATION: &str = "watchdog_storage_objects_duration_seconds";

pub(super) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Calls of the object store, by outcome.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Duration of calls of the object store, retries and content included."
    );
}

pub(super) fn record<T>(operation: &'static str, duration: Duration, outcome: &Result<T>) {
    let outcome = outcome.as_ref().map_or_else(|error| label(error.kind()), |_| "ok");
    counter!(REQUESTS, "operation" => operation, "outcome" => outcome).increment(1);
    histogram!(DURATION, "operation" => operation).record(duration.as_secs_f64());
}

/// Outcomes worth an alert of their own; the set is closed.
fn label(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists | ErrorKind::Precondition => "conflict",
        ErrorKind::Denied => "denied",
        ErrorKind::CommandTimeout | ErrorKind::ConnectTimeout => "timeout",
        ErrorKind::Unavailable | ErrorKind::Refusing => "unavailable",
        _ => "error",
    }
}
