//! Writers that are gone leave nothing in the store for ever.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{AuditLog, EmbeddedStore, SegmentStore, WriterId};
use watchdog_core::Clock as _;
use watchdog_core::testing::ManualClock;
use watchdog_storage::objects::Objects;

use crate::bench::{assert_archived, clocked, record};

const DAY: Duration = Duration::from_secs(86_400);

async fn log_at(clock: &ManualClock, store: &Arc<EmbeddedStore>, bucket: &Objects) -> AuditLog {
    clocked(store.clone(), bucket, clock).await
}

/// How far the store has a writer.
async fn known(store: &EmbeddedStore, writer: WriterId) -> u64 {
    store.skip(0, writer, 0).await.unwrap()
}

#[tokio::test]
async fn the_store_forgets_a_writer_when_all_of_it_is_archived_for_long() {
    let clock = ManualClock::default();
    clock.advance(DAY * 10_000);
    let (store, bucket) = (Arc::new(EmbeddedStore::memory().unwrap()), Objects::memory());
    let first = log_at(&clock, &store, &bucket).await;
    record(&first, 0..5).await;
    first.seal_and_archive().await.unwrap();
    let second = log_at(&clock, &store, &bucket).await;
    record(&second, 5..8).await;
    second.seal_and_archive().await.unwrap();
    record(&second, 8..9).await;
    clock.advance(DAY * 6);
    first.seal_and_archive().await.unwrap();
    assert_eq!((known(&store, first.writer()).await, known(&store, second.writer()).await), (5, 4));
    clock.set(clock.now() + jiff::SignedDuration::from_hours(24));
    record(&second, 9..10).await;
    first.seal_and_archive().await.unwrap();
    assert_eq!(known(&store, first.writer()).await, 0, "it is forgotten");
    assert_eq!(known(&store, second.writer()).await, 5, "it has had more since");
    // It was silent and is not gone: it goes on where the archive ends.
    record(&first, 10..12).await;
    assert_eq!(known(&store, first.writer()).await, 7);
    first.seal_and_archive().await.unwrap();
    assert_archived(&first, 0..12).await;
}
