//! What the façade and the health check see of the writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use watchdog_core::Timestamp;

use crate::log::dropped::Dropped;
use crate::spool::{Spool, SpoolStatus};
use crate::telemetry;
use crate::writer_id::WriterId;

/// Shared between the façade, its writer and its keeper.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Entries taken and not yet acknowledged.
    pub(crate) waiting: AtomicU64,
    /// Entries in the spool that the store does not have.
    pub(crate) unsent: AtomicU64,
    /// Entries of processes that are gone, on their way.
    pub(crate) adopted: AtomicU64,
    /// Files of such processes that were found damaged.
    pub(crate) damaged: AtomicU64,
    /// Since when the store has refused the oldest of them.
    failing_since: Mutex<Option<Timestamp>>,
    /// Whether too few replicas had the newest entries in time.
    pub(crate) is_unreplicated: AtomicBool,
    /// Whether somebody has asked for the end of the log.
    pub(crate) is_shut_down: AtomicBool,
    /// Wakes the keeper of the spool.
    pub(crate) keep: Notify,
    /// What a full queue dropped, by category.
    pub(crate) dropped: Dropped,
    spool: Mutex<Option<Spool>>,
    /// Why there is no spool, when there should be one.
    spoolless: Mutex<Option<String>>,
    /// Why the spools of processes that are gone cannot be delivered, by writer.
    blocked: Mutex<BTreeMap<WriterId, (PathBuf, String)>>,
}

impl Shared {
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        *self.failing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_failure(&self, at: Option<Timestamp>) {
        let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = at.map(|at| since.unwrap_or(at));
    }

    pub(crate) fn spool(&self) -> Option<Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_spool(&self, spool: Option<Spool>) {
        *self.spool.lock().unwrap_or_else(PoisonError::into_inner) = spool;
    }

    /// Why there is no spool, when there should be one.
    pub(crate) fn spoolless(&self) -> Option<String> {
        self.spoolless.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_spoolless(&self, reason: String) {
        *self.spoolless.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Why a spool cannot be delivered before somebody has mended something, and how many cannot.
    pub(crate) fn blocked(&self) -> Option<(String, usize)> {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.values().next().map(|(_, reason)| (reason.clone(), blocked.len()))
    }

    /// Says once, and again when the reason changes, that a spool cannot be delivered.
    pub(crate) fn block(&self, writer: WriterId, error: &dyn std::error::Error, path: &Path) {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        let reason = format!("{error}{cause}");
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked.get(&writer).is_some_and(|(_, known)| *known == reason) {
            return;
        }
        tracing::error!(
            path = %path.display(), reason,
            "the audit spool of a process that is gone cannot be delivered; it is kept and tried \
             again"
        );
        blocked.insert(writer, (path.to_owned(), reason));
        telemetry::spool_blocked(blocked.len());
    }

    /// Forgets those whose directories somebody has removed.
    pub(crate) fn forget_removed(&self) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = blocked.len();
        blocked.retain(|_, (path, _)| path.exists());
        if blocked.len() < before {
            telemetry::spool_blocked(blocked.len());
        }
    }

    pub(crate) fn unblock(&self, writer: &WriterId) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if blocked.remove(writer).is_some() {
            telemetry::spool_blocked(blocked.len());
        }
    }

    pub(crate) fn spool_status(&self, now: Timestamp) -> Option<SpoolStatus> {
        let status = self.spool()?.status(now);
        let unsent = self.unsent.load(Ordering::Relaxed);
        let adopted = self.adopted.load(Ordering::Relaxed);
        let damaged_files = self.damaged.load(Ordering::Relaxed);
        let blocked_spools = self.blocked().map_or(0, |(_, count)| count as u64);
        Some(SpoolStatus { unsent, adopted, damaged_files, blocked_spools, ..status })
    }
}
