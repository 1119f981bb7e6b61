//! Health of a process whose clock is a day off.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{AuditLog, EmbeddedStore, RedisStore, SegmentStore};
use watchdog_core::health::{CheckReport, Status};
use watchdog_core::testing::ManualClock;
use watchdog_core::{Clock as _, HealthCheck as _, SystemClock, Timestamp};
use watchdog_storage::objects::Objects;

use crate::bench::{entry, keys, redis};

const DAY: i64 = 86_400;

/// A clock that is so many seconds ahead of another.
fn ahead(of: Timestamp, seconds: i64) -> ManualClock {
    ManualClock::new(Timestamp::new(of.as_second() + seconds, 0).unwrap())
}

async fn log(store: Arc<dyn SegmentStore>, clock: ManualClock) -> AuditLog {
    AuditLog::builder()
        .with_config(&crate::erase::config())
        .with_shared_store(store)
        .with_archive(Objects::memory(), &keys())
        .with_encryption(&keys())
        .with_clock(Arc::new(clock))
        .without_background()
        .build()
        .await
        .unwrap()
}

fn age(report: &CheckReport) -> f64 {
    report.observations["oldest_unarchived_seconds"]
}

#[tokio::test]
async fn the_age_of_what_waits_is_by_the_clock_it_was_stored_by() {
    for off in [-DAY, 0, DAY] {
        let stored_by = ManualClock::new(SystemClock.now());
        let store = EmbeddedStore::memory().unwrap().with_clock(Arc::new(stored_by.clone()));
        let log = log(Arc::new(store), ahead(stored_by.now(), off)).await;
        log.record(entry(1)).await.unwrap();
        let report = log.health().check().await;
        assert_eq!(report.status, Status::Pass, "{off}: {report:?}");
        assert!(age(&report) < 0.001, "{off}: {report:?}");
        stored_by.advance(Duration::from_secs(3600));
        let report = log.health().check().await;
        assert_eq!(report.status, Status::Warn, "{off}: {report:?}");
        assert!((age(&report) - 3600.0).abs() < 0.001, "{off}: {report:?}");
        // Set back behind what it stored, it makes nothing impossible.
        stored_by.set(ahead(stored_by.now(), -DAY).now());
        assert!(age(&log.health().check().await) < 0.001);
    }
}

#[tokio::test]
async fn redis_says_how_old_what_waits_is() {
    for off in [-DAY, DAY] {
        let Some(redis) = redis().await else { return };
        let store = Arc::new(RedisStore::new(redis.clone(), 2));
        let log = log(store, ahead(SystemClock.now(), off)).await;
        log.record(entry(1)).await.unwrap();
        let report = log.health().check().await;
        assert_eq!(report.status, Status::Pass, "{off}: {report:?}");
        assert!(age(&report) < 60.0, "{off}: {report:?}");
        redis.close().await;
    }
}
