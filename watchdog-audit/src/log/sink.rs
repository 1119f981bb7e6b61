//! The log as the ports of the core see it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use watchdog_core::audit::{AuditSink, Entry};
use watchdog_core::health::CheckReport;
use watchdog_core::{HealthCheck, Result};

use crate::log::AuditLog;
use crate::telemetry;

/// A sealed segment is archived within this many times the greatest age of a segment; later is a
/// warning.
const LATE_AFTER_AGES: u32 = 3;

#[async_trait]
impl AuditSink for AuditLog {
    async fn record(&self, entry: Entry) -> Result<()> {
        Ok(Self::record(self, entry).await.map(drop)?)
    }
}

/// A check of an audit log: fails while the store does not take entries, warns while entries wait
/// too long for the archive.
#[derive(Clone, Debug)]
pub struct AuditHealth {
    log: AuditLog,
}

impl AuditLog {
    /// The health of this log, as a [`HealthCheck`].
    pub fn health(&self) -> AuditHealth {
        AuditHealth { log: self.clone() }
    }
}

#[async_trait]
impl HealthCheck for AuditHealth {
    async fn check(&self) -> CheckReport {
        let inner = self.log.inner();
        if !inner.is_enabled {
            return CheckReport::warn("the audit log is switched off");
        }
        let waiting = inner.shared.waiting.load(Ordering::Relaxed);
        let waiting = f64::from(u32::try_from(waiting).unwrap_or(u32::MAX));
        if inner.shared.failing_since().is_some() {
            return CheckReport::fail("entries wait for the store")
                .with_observation("waiting_entries", waiting);
        }
        if inner.store.ping().await.is_err() {
            return CheckReport::fail("the store does not answer");
        }
        let Ok(age) = oldest_unarchived(&self.log).await else {
            return CheckReport::unknown("the store did not tell what waits for the archive");
        };
        telemetry::unarchived_age(age);
        let is_late =
            inner.unarchived_ttl.is_none() && age > inner.limits.max_age * LATE_AFTER_AGES;
        let report = if is_late {
            CheckReport::warn("entries wait long for the archive")
        } else {
            CheckReport::pass()
        };
        #[cfg(all(feature = "objects", feature = "postgres"))]
        let report = self.log.observe_copy(report);
        report
            .with_observation("waiting_entries", waiting)
            .with_observation("oldest_unarchived_seconds", age.as_secs_f64())
    }
}

/// The age of the oldest entry that is not archived.
async fn oldest_unarchived(log: &AuditLog) -> crate::Result<Duration> {
    let inner = log.inner();
    let now = u64::try_from(inner.clock.now().as_millisecond()).unwrap_or(0);
    let mut oldest = now;
    for partition in 0..inner.store.partitions() {
        let sealed = inner.store.sealed(partition).await?;
        if let Some((_, totals)) = sealed.first() {
            oldest = oldest.min(totals.first_millis);
        } else {
            let open = inner.store.partition(partition).await?.totals;
            if open.frames > 0 {
                oldest = oldest.min(open.first_millis);
            }
        }
    }
    Ok(Duration::from_millis(now - oldest))
}
