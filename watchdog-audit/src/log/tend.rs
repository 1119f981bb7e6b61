//! The background task: seals what is due, archives it, removes what has expired.

use std::collections::HashMap;
#[cfg(feature = "objects")]
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{ErrorKind, Result};
#[cfg(feature = "objects")]
use crate::log::AuditLog;
use crate::log::Inner;
use crate::millis::millis_of;
use crate::segment::SegmentId;

/// How often the bucket's lifecycle is compared with the plan.
#[cfg(feature = "objects")]
const LOOK_EVERY: Duration = Duration::from_secs(86_400);

/// Runs until the log is gone.
pub(crate) async fn run(log: Weak<Inner>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    #[cfg(feature = "objects")]
    let mut looked: Option<Instant> = None;
    let mut open = Open::new();
    loop {
        ticks.tick().await;
        let Some(log) = log.upgrade() else { return };
        match tend(&log, &mut open).await {
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
                Ok(()) => looked = Some(Instant::now()),
                Err(error) => {
                    tracing::warn!(%error, "the lifecycle of the audit bucket is unknown");
                }
            }
        }
    }
}

async fn tend(log: &Inner, open: &mut Open) -> Result<()> {
    #[cfg(feature = "objects")]
    if let Some(archiver) = &log.archiver {
        return archiver.run_once().await.map(drop);
    }
    seal_due(log, open).await?;
    log.store.sweep().await.map(drop)
}

/// The open segment of each partition that holds something, and since when it is seen.
type Open = HashMap<u16, (u64, Instant)>;

/// Without an archive: seals by age, with a life. The age is as of this clock, or how long the
/// segment has been seen: the clock may have been set back.
async fn seal_due(log: &Inner, open: &mut Open) -> Result<()> {
    let now = millis_of(log.clock.now());
    for partition in 0..log.store.partitions() {
        let held = log.store.partition(partition).await?;
        if held.totals.frames == 0 {
            open.remove(&partition);
            continue;
        }
        let seen = open.entry(partition).or_insert_with(|| (held.open, Instant::now()));
        if seen.0 != held.open {
            *seen = (held.open, Instant::now());
        }
        if held.is_due(log.limits, now) || seen.1.elapsed() >= log.limits.max_age {
            let segment = SegmentId { partition, number: held.open };
            log.store.seal(segment, log.unarchived_ttl).await?;
        }
    }
    Ok(())
}
