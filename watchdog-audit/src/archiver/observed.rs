//! Archiving with a report of how far it is.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::archiver::{Archived, Moment, Step};
use crate::error::Result;
use crate::log::AuditLog;
use crate::progress::{OnProgress, Progress};

impl AuditLog {
    /// As [`seal_and_archive`](Self::seal_and_archive), telling how many segments of how many are
    /// archived; there may come more while it runs.
    ///
    /// # Errors
    ///
    /// As of [`seal_and_archive`](Self::seal_and_archive).
    pub async fn seal_and_archive_observed(&self, progress: &OnProgress<'_>) -> Result<Archived> {
        let archiver = self.archiver()?;
        let store = self.inner().store();
        let mut total = 0;
        for partition in 0..store.partitions() {
            let is_begun = store.partition(partition).await?.totals.frames > 0;
            total += store.sealed(partition).await?.len() as u64 + u64::from(is_begun);
        }
        let done = AtomicU64::new(0);
        let observer = |step: &Step, moment: Moment| {
            if matches!((step, moment), (Step::Gate(_), Moment::After)) {
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress(Progress::new(done, total.max(done)));
            }
            ControlFlow::Continue(())
        };
        archiver.run_observed(&observer).await
    }
}
