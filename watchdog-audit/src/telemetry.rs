//! Metrics and log lines of the audit log, under one roof so that their names agree.

use std::sync::Once;
use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use watchdog_core::audit::{Category, Entry};

use crate::config::MirrorLevel;
use crate::error::Error;
use crate::segment::WriterRange;
use crate::writer_id::WriterId;

const APPENDED: &str = "watchdog_audit_appended_entries_total";
const BATCHES: &str = "watchdog_audit_appended_batches_total";
const APPEND_SECONDS: &str = "watchdog_audit_append_seconds";
const APPEND_FAILURES: &str = "watchdog_audit_append_failures_total";
const QUEUE_DEPTH: &str = "watchdog_audit_queue_entries";
const REFUSED: &str = "watchdog_audit_refused_entries_total";
const REPEATED: &str = "watchdog_audit_repeated_entries_total";
const ROLLBACKS: &str = "watchdog_audit_rollbacks_total";
const LOST: &str = "watchdog_audit_lost_entries_total";
const ARCHIVED: &str = "watchdog_audit_archived_entries_total";
const ARCHIVED_SEGMENTS: &str = "watchdog_audit_archived_segments_total";
const UNREADABLE: &str = "watchdog_audit_unreadable_segments_total";
const VERIFICATIONS: &str = "watchdog_audit_verifications_total";
const SPOOL_ENTRIES: &str = "watchdog_audit_spool_entries";
const SPOOL_BYTES: &str = "watchdog_audit_spool_bytes";
const SPOOL_UNSENT: &str = "watchdog_audit_spool_unsent_entries";
const SPOOL_OLDEST: &str = "watchdog_audit_spool_oldest_seconds";
const SPOOL_FAILURES: &str = "watchdog_audit_spool_failures_total";
const SPOOL_POISONED: &str = "watchdog_audit_spool_poisoned_files_total";
const SPOOL_DAMAGED: &str = "watchdog_audit_spool_damaged_files_total";
const SPOOL_BLOCKED: &str = "watchdog_audit_spool_blocked";
const SPOOL_READ: &str = "watchdog_audit_spool_read_bytes_total";
const SPOOLED: &str = "watchdog_audit_spooled_entries_total";
const ADOPTED: &str = "watchdog_audit_adopted_entries_total";
const DROPPED: &str = "watchdog_audit_dropped_entries_total";
const UNREPLICATED: &str = "watchdog_audit_unreplicated_entries_total";
const UNARCHIVED_AGE: &str = "watchdog_audit_unarchived_age_seconds";

/// Describes every metric once.
pub(crate) fn describe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        describe_counter!(APPENDED, Unit::Count, "Entries the store acknowledged.");
        describe_counter!(BATCHES, Unit::Count, "Batches the store acknowledged.");
        describe_histogram!(APPEND_SECONDS, Unit::Seconds, "Time to bring one batch to the store.");
        describe_counter!(APPEND_FAILURES, Unit::Count, "Calls that did not bring a batch there.");
        describe_gauge!(QUEUE_DEPTH, Unit::Count, "Entries that wait for a batch.");
        describe_counter!(REFUSED, Unit::Count, "Entries that never will be stored.");
        describe_counter!(REPEATED, Unit::Count, "Entries delivered a second time.");
        describe_counter!(ROLLBACKS, Unit::Count, "Times the store had lost acknowledged entries.");
        describe_counter!(LOST, Unit::Count, "Acknowledged entries the store lost for good.");
        describe_counter!(ARCHIVED, Unit::Count, "Entries in verified archives.");
        describe_counter!(ARCHIVED_SEGMENTS, Unit::Count, "Segments that passed the gate.");
        describe_counter!(UNREADABLE, Unit::Count, "Segments archived that could not be read.");
        describe_counter!(VERIFICATIONS, Unit::Count, "Verifications, by outcome.");
        describe_gauge!(SPOOL_ENTRIES, Unit::Count, "Entries in the spool of this process.");
        describe_gauge!(SPOOL_BYTES, Unit::Bytes, "Size of the spool of this process.");
        describe_gauge!(SPOOL_UNSENT, Unit::Count, "Spooled entries the store does not have.");
        describe_gauge!(SPOOL_OLDEST, Unit::Seconds, "Age of the oldest entry in the spool.");
        describe_counter!(SPOOL_FAILURES, Unit::Count, "Writes that the spool did not take.");
        describe_counter!(SPOOL_POISONED, Unit::Count, "Files of the spool that failed.");
        describe_counter!(SPOOL_DAMAGED, Unit::Count, "Files of adopted spools found damaged.");
        describe_gauge!(SPOOL_BLOCKED, Unit::Count, "Left spools that cannot be delivered.");
        describe_counter!(SPOOL_READ, Unit::Bytes, "Bytes of the spool that were read back.");
        describe_counter!(SPOOLED, Unit::Count, "Entries synced to the spool.");
        describe_counter!(ADOPTED, Unit::Count, "Entries of processes that are gone, delivered.");
        describe_counter!(DROPPED, Unit::Count, "Entries a full queue dropped, by category.");
        describe_counter!(UNREPLICATED, Unit::Count, "Entries too few replicas had in time.");
        describe_gauge!(UNARCHIVED_AGE, Unit::Seconds, "Age of the oldest unarchived entry.");
        #[cfg(all(feature = "objects", feature = "postgres"))]
        crate::copy::telemetry::describe();
    });
}

pub(crate) fn appended(entries: u64, took: Duration) {
    counter!(APPENDED).increment(entries);
    counter!(BATCHES).increment(1);
    histogram!(APPEND_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn append_failed(error: &Error) {
    counter!(APPEND_FAILURES).increment(1);
    tracing::warn!(
        error = %error,
        cause = std::error::Error::source(error).map(tracing::field::display),
        "audit entries are not in the store yet; the call is repeated"
    );
}

pub(crate) fn queue_depth(entries: usize) {
    gauge!(QUEUE_DEPTH).set(u32::try_from(entries).unwrap_or(u32::MAX));
}

pub(crate) fn refused(error: &Error) {
    counter!(REFUSED).increment(1);
    tracing::error!(%error, "an audit entry was refused");
}

pub(crate) fn spool(entries: u64, bytes: u64) {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(SPOOL_ENTRIES).set(number(entries));
    // Exact to 4 KiB up to 16 TiB.
    gauge!(SPOOL_BYTES).set(number(bytes / 4096) * 4096.0);
}

pub(crate) fn spool_unsent(entries: u64) {
    gauge!(SPOOL_UNSENT).set(u32::try_from(entries).unwrap_or(u32::MAX));
}

pub(crate) fn spool_oldest(age: Duration) {
    gauge!(SPOOL_OLDEST).set(age.as_secs_f64());
}

pub(crate) fn spool_failed(error: &std::io::Error) {
    counter!(SPOOL_FAILURES).increment(1);
    tracing::error!(%error, "the audit spool did not take entries");
}

pub(crate) fn spool_poisoned() {
    counter!(SPOOL_POISONED).increment(1);
}

pub(crate) fn spool_damaged() {
    counter!(SPOOL_DAMAGED).increment(1);
}

pub(crate) fn spool_blocked(spools: usize) {
    gauge!(SPOOL_BLOCKED).set(u32::try_from(spools).unwrap_or(u32::MAX));
}

pub(crate) fn spool_read(bytes: u64) {
    counter!(SPOOL_READ).increment(bytes);
}

pub(crate) fn spooled(entries: u64) {
    counter!(SPOOLED).increment(entries);
}

pub(crate) fn adopted(writer: WriterId, entries: u64) {
    counter!(ADOPTED).increment(entries);
    tracing::info!(%writer, entries, "the spool of a process that is gone was delivered");
}

pub(crate) fn dropped(category: Category) {
    counter!(DROPPED, "category" => category.as_str()).increment(1);
}

pub(crate) fn unreplicated(entries: u64) {
    counter!(UNREPLICATED).increment(entries);
}

pub(crate) fn repeated() {
    counter!(REPEATED).increment(1);
}

pub(crate) fn rolled_back(writer: WriterId, high_water: u64, believed: u64) {
    counter!(ROLLBACKS).increment(1);
    tracing::error!(
        %writer, high_water, believed,
        "the store has lost acknowledged audit entries; they are sent again"
    );
}

pub(crate) fn superseded(old: WriterId, new: WriterId, lost: Option<WriterRange>) {
    if let Some(range) = lost {
        counter!(LOST).increment(range.last - range.first + 1);
        tracing::error!(
            writer = %old, first = range.first, last = range.last,
            "acknowledged audit entries are lost: the store was rolled back too far"
        );
    } else {
        tracing::error!(%old, %new, "somebody else writes under this writer's id");
    }
}

#[cfg(feature = "objects")]
pub(crate) fn archived(entries: u64) {
    counter!(ARCHIVED).increment(entries);
}

#[cfg(feature = "objects")]
pub(crate) fn gated() {
    counter!(ARCHIVED_SEGMENTS).increment(1);
}

#[cfg(feature = "objects")]
pub(crate) fn unreadable() {
    counter!(UNREADABLE).increment(1);
}

#[cfg(feature = "objects")]
pub(crate) fn verified(is_sound: bool) {
    let outcome = if is_sound { "sound" } else { "unsound" };
    counter!(VERIFICATIONS, "outcome" => outcome).increment(1);
}

pub(crate) fn unarchived_age(age: Duration) {
    gauge!(UNARCHIVED_AGE).set(age.as_secs_f64());
}

/// Mirrors entries into the service's own log, without personal fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mirror(pub(crate) MirrorLevel);

impl Mirror {
    pub(crate) fn show(self, entry: &Entry) {
        macro_rules! mirror {
            ($level:ident) => {
                tracing::event!(
                    target: "watchdog_audit::entry",
                    tracing::Level::$level,
                    id = %entry.id,
                    category = entry.category.as_str(),
                    action = entry.action,
                    outcome = ?entry.outcome,
                    request_id = entry.request_id,
                    "audit entry"
                )
            };
        }
        match self.0 {
            MirrorLevel::Off => {}
            MirrorLevel::Error => mirror!(ERROR),
            MirrorLevel::Warn => mirror!(WARN),
            MirrorLevel::Info => mirror!(INFO),
            MirrorLevel::Debug => mirror!(DEBUG),
            MirrorLevel::Trace => mirror!(TRACE),
        }
    }
}
