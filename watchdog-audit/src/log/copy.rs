//! The copy in Postgres, as part of a log.

use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use watchdog_core::health::CheckReport;

use crate::copy::{Copied, Run};
use crate::error::{Error, ErrorKind, Result};
use crate::hold::in_force;
use crate::log::{AuditLog, Inner};
use crate::progress::OnProgress;

impl AuditLog {
    /// Copies into Postgres what is archived and not copied, now; makes the partitions of this
    /// month and the next, and drops those that have outlived their retention.
    ///
    /// Each entry is copied once, whichever process copies and wherever a run breaks off.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without a copy, [`ErrorKind::Busy`] when another process copies and
    /// does not end within ten seconds, [`ErrorKind::Corrupt`] when the copy is one of another
    /// archive, [`ErrorKind::Config`] when the role may not write or the tables are newer than this
    /// program, else as of bucket and Postgres. Calling again resumes.
    pub async fn copy_to_postgres(&self) -> Result<Copied> {
        self.inner().copy_run().await?.catch_up_waiting().await
    }

    /// Copies the entries of the manifests with these numbers into Postgres again, and leaves alone
    /// what is there: for tables that were truncated, or objects that were brought back. Where the
    /// copy goes on afterwards does not change.
    ///
    /// Progress is told in manifests.
    ///
    /// # Errors
    ///
    /// As of [`copy_to_postgres`](Self::copy_to_postgres).
    pub async fn rebuild_postgres_copy(
        &self,
        manifests: RangeInclusive<u64>,
        on_progress: &OnProgress<'_>,
    ) -> Result<Copied> {
        self.inner().copy_run().await?.rebuild(manifests, on_progress).await
    }

    /// Copies in the background, apart from the archiver: Postgres may be away for hours.
    pub(super) fn start_copying(&self, every: Duration) {
        if self.inner.copier.is_some() {
            let task = tokio::spawn(copy(Arc::downgrade(&self.inner), every));
            let tasks = &self.inner.tasks;
            *tasks.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
    }

    pub(super) fn stop_copying(&self) {
        let task = self.inner.tasks.copy.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
        }
    }

    pub(super) fn observe_copy(&self, report: CheckReport) -> CheckReport {
        match &self.inner.copier {
            Some(copier) => copier.observe(report, self.inner.clock.now()),
            None => report,
        }
    }
}

impl Inner {
    async fn copy_run(&self) -> Result<Run<'_>> {
        let (Some(copier), Some(archive)) = (&self.copier, self.archive()) else {
            return Err(Error::new(ErrorKind::Misuse, "the audit log has no copy in Postgres"));
        };
        let keeping = self.keeping(&in_force(archive, self.keys()).await?);
        Ok(Run { copier, archive, keeping, keys: self.keys() })
    }
}

/// Runs until the log is gone.
async fn copy(log: Weak<Inner>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(log) = log.upgrade() else { return };
        match log.copy_run().await {
            // How it ended is noted by the copier.
            Ok(run) => drop(run.catch_up().await),
            Err(error) => tracing::warn!(%error, "the copy in Postgres waits"),
        }
    }
}
