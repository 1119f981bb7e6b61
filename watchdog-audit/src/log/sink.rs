//! The log as the ports of the core see it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use watchdog_core::audit::{AuditSink, Entry};
use watchdog_core::health::CheckReport;
use watchdog_core::{HealthCheck, Result};

use crate::log::AuditLog;
use crate::personal::{SubjectHandle, SubjectKeys};
use crate::telemetry;

/// A sealed segment is archived within this many times the greatest age of a segment; later is a
/// warning.
const LATE_AFTER_AGES: u32 = 3;

/// How long the keys of subjects may take to answer a check.
const KEYS_ANSWER_WITHIN: Duration = Duration::from_secs(1);

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
        if let Some(report) = trouble(&self.log).await {
            return observed(report, &self.log);
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
        observed(report, &self.log).with_observation("oldest_unarchived_seconds", age.as_secs_f64())
    }
}

/// What is wrong between callers and store.
async fn trouble(log: &AuditLog) -> Option<CheckReport> {
    if log.is_broken() {
        return Some(CheckReport::fail("the task that writes entries has ended"));
    }
    let shared = &log.inner().shared;
    let spool = log.spool();
    if spool.is_some_and(|spool| spool.is_failing) {
        return Some(CheckReport::fail("the spool does not take entries"));
    }
    if shared.failing_since().is_some() {
        let is_spooled = spool.is_some_and(|spool| spool.unsent > 0);
        return Some(if is_spooled {
            CheckReport::warn("the store does not take entries; the spool does")
        } else {
            CheckReport::fail("entries wait for the store")
        });
    }
    if log.inner().store.ping().await.is_err() {
        return Some(if spool.is_some() {
            CheckReport::warn("the store does not answer; entries go to the spool")
        } else {
            CheckReport::fail("the store does not answer")
        });
    }
    if shared.is_unreplicated.load(Ordering::Relaxed) {
        return Some(CheckReport::fail("too few replicas have the newest entries"));
    }
    if let Some(keys) = log.inner().keys()
        && !answers(keys).await
    {
        return Some(CheckReport::warn(
            "the vault of subject keys does not answer; entries of subjects whose keys it has to be \
             asked for wait or are refused",
        ));
    }
    if let Some((reason, _)) = shared.blocked() {
        let text = format!("the spool of a process that is gone cannot be delivered: {reason}");
        return Some(CheckReport::warn(text));
    }
    if shared.damaged.load(Ordering::Relaxed) > 0 {
        return Some(CheckReport::warn("files of a spool are damaged; they are kept"));
    }
    #[cfg(feature = "objects")]
    if log.inner().archive().is_some_and(|archive| archive.unreadable() > 0) {
        return Some(CheckReport::warn(
            "segments were archived that cannot be read: verify the log",
        ));
    }
    shared.spoolless().map(|reason| CheckReport::warn(format!("there is no spool: {reason}")))
}

/// Whether the keys of subjects can be asked for: for one that nobody has.
async fn answers(keys: &dyn SubjectKeys) -> bool {
    let nobody = SubjectHandle::from_bytes(&[0; 16]);
    matches!(timeout(KEYS_ANSWER_WITHIN, keys.find(&nobody, "")).await, Ok(Ok(_)))
}

/// Adds what waits where.
fn observed(mut report: CheckReport, log: &AuditLog) -> CheckReport {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let waiting = log.inner().shared.waiting.load(Ordering::Relaxed);
    report = report.with_observation("waiting_entries", number(waiting));
    let (adopted, blocked) = {
        let shared = &log.inner().shared;
        let blocked = shared.blocked().map_or(0, |(_, count)| count as u64);
        (shared.adopted.load(Ordering::Relaxed), blocked)
    };
    report = report
        .with_observation("spool_adopted_entries", number(adopted))
        .with_observation("spool_blocked", number(blocked));
    #[cfg(feature = "objects")]
    if let Some(archive) = log.inner().archive() {
        report = report.with_observation("unreadable_segments", number(archive.unreadable()));
    }
    let Some(spool) = log.spool() else { return report };
    let oldest = spool.oldest.unwrap_or_default();
    telemetry::spool_oldest(oldest);
    report
        .with_observation("spool_entries", number(spool.entries))
        .with_observation("spool_bytes", number(spool.bytes))
        .with_observation("spool_unsent_entries", number(spool.unsent))
        .with_observation("spool_oldest_seconds", oldest.as_secs_f64())
        .with_observation("spool_poisoned_files", number(spool.poisoned_files))
        .with_observation("spool_damaged_files", number(spool.damaged_files))
}

/// The age of the oldest entry that is not archived, by the clock it was stored by: the own one may
/// be a day off.
async fn oldest_unarchived(log: &AuditLog) -> crate::Result<Duration> {
    let store = &log.inner().store;
    let mut age = 0;
    for partition in 0..store.partitions() {
        let oldest = match store.sealed(partition).await?.first() {
            Some((_, totals)) => Some(totals.first_millis),
            None => {
                let open = store.partition(partition).await?.totals;
                (open.frames > 0).then_some(open.first_millis)
            }
        };
        if let Some(oldest) = oldest {
            age = age.max(store.now(partition).await?.saturating_sub(oldest));
        }
    }
    Ok(Duration::from_millis(age))
}
