//! The background task: seals what is due, archives it, removes what has expired.

#[cfg(feature = "objects")]
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use crate::error::{ErrorKind, Result};
#[cfg(feature = "objects")]
use crate::log::AuditLog;
use crate::log::Inner;
use crate::segment::SegmentId;

/// How often the bucket's lifecycle is compared with the plan.
#[cfg(feature = "objects")]
const LOOK_EVERY: Duration = Duration::from_secs(86_400);

/// Runs until the log is gone.
pub(crate) async fn run(log: Weak<Inner>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    #[cfg(feature = "objects")]
    let mut looked: Option<tokio::time::Instant> = None;
    loop {
        ticks.tick().await;
        let Some(log) = log.upgrade() else { return };
        match tend(&log).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Busy => {
                tracing::debug!(%error, "another process archives");
            }
            Err(error) => tracing::warn!(
                %error,
                cause = std::error::Error::source(&error).map(tracing::field::display),
                "audit entries wait for their archive; trying again"
            ),
        }
        #[cfg(feature = "objects")]
        if log.archiver.is_some() && looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            match (AuditLog { inner: Arc::clone(&log) }).tend_lifecycle().await {
                Ok(()) => looked = Some(tokio::time::Instant::now()),
                Err(error) => {
                    tracing::warn!(%error, "the lifecycle of the audit bucket is unknown");
                }
            }
        }
    }
}

async fn tend(log: &Inner) -> Result<()> {
    #[cfg(feature = "objects")]
    if let Some(archiver) = &log.archiver {
        return archiver.run_once().await.map(drop);
    }
    seal_due(log).await?;
    log.store.sweep().await.map(drop)
}

/// Without an archive: seals by age, with a life.
async fn seal_due(log: &Inner) -> Result<()> {
    let now = u64::try_from(log.clock.now().as_millisecond()).unwrap_or(0);
    for partition in 0..log.store.partitions() {
        let held = log.store.partition(partition).await?;
        if held.is_due(log.limits, now) {
            let segment = SegmentId { partition, number: held.open };
            log.store.seal(segment, log.unarchived_ttl).await?;
        }
    }
    Ok(())
}
