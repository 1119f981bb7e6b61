//! The background task: seals what is due, archives it, removes what has expired.

use std::sync::Weak;
use std::time::Duration;

use crate::error::{ErrorKind, Result};
use crate::log::Inner;
use crate::segment::SegmentId;

/// Runs until the log is gone.
pub(crate) async fn run(log: Weak<Inner>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
