//! What health and metrics see of a spool.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use watchdog_core::Timestamp;

use crate::telemetry;

/// No entry is in the spool.
const NOTHING: i64 = i64::MAX;

/// Numbers that the spool's thread writes and everybody may read.
#[derive(Debug)]
pub(crate) struct State {
    entries: AtomicU64,
    bytes: AtomicU64,
    oldest: AtomicI64,
    poisoned: AtomicU64,
    damaged: AtomicU64,
    /// Bytes that were read back.
    read: AtomicU64,
    is_failing: AtomicBool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            oldest: AtomicI64::new(NOTHING),
            poisoned: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            read: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        }
    }
}

/// How the spool of a log stands, from [`AuditLog::spool`](crate::AuditLog::spool).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolStatus {
    /// Entries on disk that are not released yet.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Entries on disk that the store has not acknowledged.
    pub unsent: u64,
    /// How long ago the oldest entry was recorded.
    pub oldest: Option<Duration>,
    /// Files that failed since the start and were replaced by others.
    pub poisoned_files: u64,
    /// Whether the last write failed: the disk or the quota is full, or the disk is broken.
    pub is_failing: bool,
    /// Entries of processes that are gone which wait to be delivered or archived.
    pub adopted: u64,
    /// Files of processes that are gone which were found damaged since the start. Each is kept in
    /// its directory with the ending `.damaged`.
    pub damaged_files: u64,
    /// Spools of processes that are gone which cannot be delivered or read until somebody has
    /// mended something. Nothing of them is removed; the log says why.
    pub blocked_spools: u64,
}

impl State {
    pub(crate) fn holds(&self, entries: u64, bytes: u64, oldest: Option<i64>) {
        self.entries.store(entries, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.oldest.store(oldest.unwrap_or(NOTHING), Ordering::Relaxed);
        telemetry::spool(entries, bytes);
    }

    pub(crate) fn poisoned(&self) {
        self.poisoned.fetch_add(1, Ordering::Relaxed);
        telemetry::spool_poisoned();
    }

    pub(crate) fn damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        telemetry::spool_damaged();
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
        telemetry::spool_read(bytes);
    }

    #[cfg(test)]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn note<T>(&self, outcome: &io::Result<T>) {
        self.is_failing.store(outcome.is_err(), Ordering::Relaxed);
        if let Err(error) = outcome {
            telemetry::spool_failed(error);
        }
    }

    pub(crate) fn status(&self, now: Timestamp) -> SpoolStatus {
        let oldest = self.oldest.load(Ordering::Relaxed);
        // A clock that was set back makes an entry young, not the status impossible.
        let age = now.as_millisecond().saturating_sub(oldest);
        SpoolStatus {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            unsent: 0,
            oldest: (oldest != NOTHING)
                .then(|| Duration::from_millis(u64::try_from(age).unwrap_or(0))),
            poisoned_files: self.poisoned.load(Ordering::Relaxed),
            is_failing: self.is_failing.load(Ordering::Relaxed),
            adopted: 0,
            damaged_files: self.damaged.load(Ordering::Relaxed),
            blocked_spools: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_impossible() {
        let state = State::default();
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        assert_eq!(state.status(at(0)).oldest, None);
        state.holds(3, 100, Some(86_400_000));
        assert_eq!(state.status(at(0)).oldest, Some(Duration::ZERO));
        assert_eq!(state.status(at(86_401_000)).oldest, Some(Duration::from_secs(1)));
    }
}
