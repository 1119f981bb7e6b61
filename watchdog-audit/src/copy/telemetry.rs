//! Metrics and log lines of the copy.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use watchdog_core::audit::Category;

use crate::chain::Fault;
use crate::error::Error;

const ROWS: &str = "watchdog_audit_copied_rows_total";
const MANIFESTS: &str = "watchdog_audit_copied_manifests_total";
const FAILURES: &str = "watchdog_audit_copy_failures_total";
const LEFT_OUT: &str = "watchdog_audit_copy_left_out_objects_total";
const DROPPED: &str = "watchdog_audit_copy_dropped_partitions_total";
const LAG_SECONDS: &str = "watchdog_audit_copy_lag_seconds";
const LAG_MANIFESTS: &str = "watchdog_audit_copy_lag_manifests";

pub(crate) fn describe() {
    describe_counter!(ROWS, Unit::Count, "Entries that were copied into Postgres.");
    describe_counter!(MANIFESTS, Unit::Count, "Manifests whose entries are copied.");
    describe_counter!(FAILURES, Unit::Count, "Runs of the copy that failed.");
    describe_counter!(LEFT_OUT, Unit::Count, "Objects the archive did not give to the copy.");
    describe_counter!(DROPPED, Unit::Count, "Partitions that outlived their retention.");
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "Age of the oldest manifest that is not copied.");
    describe_gauge!(LAG_MANIFESTS, Unit::Count, "Manifests that are not copied.");
}

pub(crate) fn copied(rows: u64, manifests: u64) {
    counter!(ROWS).increment(rows);
    counter!(MANIFESTS).increment(manifests);
}

pub(crate) fn lag(seconds: f64, manifests: u64) {
    gauge!(LAG_SECONDS).set(seconds);
    gauge!(LAG_MANIFESTS).set(u32::try_from(manifests).unwrap_or(u32::MAX));
}

pub(crate) fn failed(error: &Error) {
    counter!(FAILURES).increment(1);
    tracing::warn!(
        %error,
        cause = std::error::Error::source(error).map(tracing::field::display),
        "archived audit entries wait for their copy in Postgres; trying again"
    );
}

pub(crate) fn left_out(fault: &Fault) {
    counter!(LEFT_OUT).increment(1);
    tracing::error!(%fault, "an object of the audit archive was not copied into Postgres");
}

pub(crate) fn dropped(category: Category, month: &str) {
    counter!(DROPPED).increment(1);
    tracing::info!(%category, month, "a partition of the audit copy has outlived its retention");
}
