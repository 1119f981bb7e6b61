//! Archiving with a report of how far it is.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::archiver::{Archived, Moment, Step};
use crate::error::Result;
use crate::log::AuditLog;
use crate::progress::{OnProgress, Progress};

impl AuditLog {
    /// As [`seal_and_archive`](Self::seal_and_archive), telling how many segments of how many have
    /// passed the gate. Segments that are sealed meanwhile make it more.
    ///
    /// # Errors
    ///
    /// As of [`seal_and_archive`](Self::seal_and_archive).
    pub async fn seal_and_archive_observed(&self, progress: &OnProgress<'_>) -> Result<Archived> {
        let archiver = self.archiver()?;
        let total = self.unarchived_segments().await?;
        let done = AtomicU64::new(0);
        progress(Progress::new(0, total));
        let observer = |step: &Step, moment: Moment| {
            if let (Step::Gate(_), Moment::After) = (step, moment) {
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress(Progress::new(done, total.max(done)));
            }
            ControlFlow::Continue(())
        };
        let archived = archiver.run_observed(&observer).await;
        self.inner.shared.keep.notify_one();
        archived
    }

    /// Segments that hold something and are not archived.
    async fn unarchived_segments(&self) -> Result<u64> {
        let store = self.inner.store();
        let mut segments = 0;
        for partition in 0..store.partitions() {
            segments += store.sealed(partition).await?.len() as u64;
            segments += u64::from(store.partition(partition).await?.totals.frames > 0);
        }
        Ok(segments)
    }
}
