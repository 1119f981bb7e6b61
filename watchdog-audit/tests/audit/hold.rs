//! Legal holds: nothing they cover gets a life that ends, and what had one loses it.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::segment::{ArchiveProof, Expiry, Gate, SegmentId};
use watchdog_audit::testing::{WIDE, frame, proof};
use watchdog_audit::{
    AuditConfig, EmbeddedStore, EmbeddedVault, ErrorKind, FaultKind, LegalHold, Order, Query,
    RedisStore, SegmentStore, WriterId,
};
use watchdog_core::audit::{Actor, Category, Outcome};
use watchdog_core::testing::ManualClock;
use watchdog_storage::objects::Objects;

use crate::bench::{clocked, entry, log, memory, numbers, record, redis};

const FIRST: SegmentId = SegmentId { partition: 0, number: 1 };
const SECOND: SegmentId = SegmentId { partition: 0, number: 2 };

fn case(id: &str) -> LegalHold {
    LegalHold::new(id, "litigation")
}

fn clerk() -> Actor {
    Actor::user("clerk")
}

async fn assert_held(store: &dyn SegmentStore, segment: SegmentId, is_held: bool) {
    let expiry = store.expiry(segment).await.unwrap();
    assert_eq!(expiry == Expiry::Never, is_held, "{segment}: {expiry:?}");
}

/// Every store, empty.
async fn stores() -> Vec<Arc<dyn SegmentStore>> {
    let mut stores: Vec<Arc<dyn SegmentStore>> = vec![Arc::new(EmbeddedStore::memory().unwrap())];
    if let Some(redis) = redis().await {
        stores.push(Arc::new(RedisStore::new(redis, 1)));
    }
    stores
}

#[tokio::test]
async fn nothing_expires_under_hold_and_everything_after_its_release() {
    for store in stores().await {
        let log = log(store.clone(), &Objects::memory()).await;
        record(&log, 0..10).await;
        log.seal_and_archive().await.unwrap();
        assert_held(store.as_ref(), FIRST, false).await;
        let Expiry::InMillis(before) = store.expiry(FIRST).await.unwrap() else { panic!() };

        log.hold(case("case-1"), clerk()).await.unwrap();
        assert_held(store.as_ref(), FIRST, true).await;
        record(&log, 10..20).await;
        log.seal_and_archive().await.unwrap();
        assert_held(store.as_ref(), SECOND, true).await;
        assert!(store.sealed(0).await.unwrap().is_empty(), "it is archived nevertheless");

        log.release_hold("case-1", clerk()).await.unwrap();
        assert_held(store.as_ref(), FIRST, true).await;
        log.seal_and_archive().await.unwrap();
        let Expiry::InMillis(after) = store.expiry(FIRST).await.unwrap() else { panic!() };
        assert!(after <= before, "it lives as long as it would have: {after} of {before}");
        assert_held(store.as_ref(), SECOND, false).await;
        assert!(store.held(0).await.unwrap().is_empty());
        assert!(log.verify().await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn a_hold_of_a_category_keeps_the_segments_with_an_entry_of_it() {
    for store in stores().await {
        let log = log(store.clone(), &Objects::memory()).await;
        // Numbers that leave 1 when divided by 4 are `database` entries.
        let category = entry(1).category;
        for numbers in [[0, 2], [1, 2]] {
            for n in numbers {
                log.record(entry(n)).await.unwrap();
            }
            log.seal_and_archive().await.unwrap();
        }
        log.hold(case("case-1").with_category(category), clerk()).await.unwrap();
        assert_held(store.as_ref(), FIRST, false).await;
        assert_held(store.as_ref(), SECOND, true).await;
        log.seal_and_archive().await.unwrap();
        assert_held(store.as_ref(), FIRST, false).await;
        assert_held(store.as_ref(), SECOND, true).await;
    }
}

#[tokio::test]
async fn a_hold_of_a_subject_keeps_the_segments_with_an_entry_of_it() {
    for store in stores().await {
        let log = log(store.clone(), &Objects::memory()).await;
        // Even numbers are alice's, odd ones bob's.
        for n in [0, 1] {
            log.record(entry(n)).await.unwrap();
            log.seal_and_archive().await.unwrap();
        }
        log.hold(case("case-1").with_subject(Actor::user("bob")), clerk()).await.unwrap();
        assert_held(store.as_ref(), SECOND, true).await;
        for n in [2, 3] {
            log.record(entry(n)).await.unwrap();
            log.seal_and_archive().await.unwrap();
        }
        let held = store.held(0).await.unwrap();
        // The third segment begins with the entry of the hold itself, by the clerk.
        assert_eq!(held, [2, 4], "after a run the segments without bob expire");
        log.hold(case("case-2").with_subject(Actor::user("alice")), clerk()).await.unwrap();
        log.release_hold("case-1", clerk()).await.unwrap();
        log.seal_and_archive().await.unwrap();
        assert_eq!(store.held(0).await.unwrap(), [1, 3]);
    }
}

#[tokio::test]
async fn a_segment_is_held_again_when_the_store_forgot_the_hold() {
    for store in stores().await {
        let log = log(store.clone(), &Objects::memory()).await;
        record(&log, 0..4).await;
        log.seal_and_archive().await.unwrap();
        log.hold(case("case-1"), clerk()).await.unwrap();
        let change = store.partition(0).await.unwrap().holds;
        let ttl = AuditConfig::default().ttl();
        // A replica is promoted that has not heard of it.
        store.resume_expiry(FIRST, ttl, change).await.unwrap();
        store.announce_holds(0, uuid::Uuid::nil()).await.unwrap();
        assert_held(store.as_ref(), FIRST, false).await;
        log.seal_and_archive().await.unwrap();
        assert_held(store.as_ref(), FIRST, true).await;
    }
}

#[tokio::test]
async fn a_hold_that_comes_between_the_archive_and_the_gate_is_heard_of() {
    for store in stores().await {
        let bucket = Objects::memory();
        let [log, other] = [log(store.clone(), &bucket).await, log(store.clone(), &bucket).await];
        record(&log, 0..4).await;
        let (told, hears) = tokio::sync::oneshot::channel();
        let (go, goes) = std::sync::mpsc::channel();
        let pause = std::sync::Mutex::new(Some((told, goes)));
        let archiving = tokio::task::spawn_blocking({
            let log = log.clone();
            let handle = tokio::runtime::Handle::current();
            move || {
                handle.block_on(log.archiver().unwrap().run_observed(&|step, moment| {
                    use watchdog_audit::{Moment, Step};
                    if matches!((step, moment), (Step::Gate(_), Moment::Before))
                        && let Some((told, goes)) = pause.lock().unwrap().take()
                    {
                        told.send(()).unwrap();
                        goes.recv().unwrap();
                    }
                    std::ops::ControlFlow::Continue(())
                }))
            }
        });
        hears.await.unwrap();
        other.hold(case("case-1"), clerk()).await.unwrap();
        go.send(()).unwrap();
        archiving.await.unwrap().unwrap();
        assert_held(store.as_ref(), FIRST, true).await;
    }
}

#[tokio::test]
async fn the_embedded_store_sweeps_nothing_that_is_held() {
    let clock = ManualClock::default();
    let store = Arc::new(EmbeddedStore::memory().unwrap().with_clock(Arc::new(clock.clone())));
    let log = clocked(store.clone(), &Objects::memory(), &clock).await;
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    log.hold(case("case-1"), clerk()).await.unwrap();
    clock.advance(Duration::from_secs(10_000 * 86_400));
    log.seal_and_archive().await.unwrap();
    assert_eq!(store.frames(FIRST, None, 10).await.unwrap().len(), 4);
    log.release_hold("case-1", clerk()).await.unwrap();
    log.seal_and_archive().await.unwrap();
    assert_eq!(store.expiry(FIRST).await.unwrap(), Expiry::Missing, "its time was over long ago");
    assert!(store.frames(FIRST, None, 10).await.unwrap().is_empty());
    assert_eq!(numbers(&log).await, [0, 1, 2, 3], "the archive has it");
}

#[tokio::test]
async fn a_hold_is_placed_once_and_its_id_is_never_used_again() {
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::memory()).await;
    let hold = case("case-1").with_subject(Actor::user("bob")).with_category(Category::Access);
    log.hold(hold.clone(), clerk()).await.unwrap();
    log.hold(hold.clone(), clerk()).await.unwrap();
    assert_eq!(log.holds().await.unwrap(), std::slice::from_ref(&hold));
    let other = log.hold(case("case-1"), clerk()).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Misuse);
    let unknown = log.release_hold("case-2", clerk()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Misuse);
    for _ in 0..2 {
        log.release_hold("case-1", clerk()).await.unwrap();
        assert!(log.holds().await.unwrap().is_empty());
    }
    let again = log.hold(hold, clerk()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Misuse);
}

#[tokio::test]
async fn a_subject_is_not_to_be_erased_while_a_hold_may_cover_it() {
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::memory()).await;
    let bob = Actor::user("bob");
    let ids = async || {
        let holds = log.holds_of(&bob).await.unwrap();
        holds.into_iter().map(|hold| hold.id).collect::<Vec<_>>()
    };
    log.hold(case("alice").with_subject(Actor::user("alice")), clerk()).await.unwrap();
    assert!(ids().await.is_empty());
    log.hold(case("bob").with_subject(bob.clone()), clerk()).await.unwrap();
    log.hold(case("access").with_category(Category::Access), clerk()).await.unwrap();
    assert_eq!(ids().await, ["access", "bob"]);
    log.release_hold("access", clerk()).await.unwrap();
    assert_eq!(ids().await, ["bob"]);
}

#[tokio::test]
async fn the_bucket_does_not_tell_whom_a_hold_is_about() {
    let bucket = Objects::memory();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    log.hold(case("case-1").with_subject(Actor::user("bob-the-builder")), clerk()).await.unwrap();
    let object = bucket.get("audit/v1/holds/case-1.json").await.unwrap();
    let text = String::from_utf8(object.to_vec()).unwrap();
    assert!(text.contains("litigation") && !text.contains("bob"), "{text}");
}

#[tokio::test]
async fn a_hold_that_was_altered_holds_everything_and_a_forged_release_nothing() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let log = log(store.clone(), &bucket).await;
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    log.hold(case("case-1").with_subject(Actor::user("carol")), clerk()).await.unwrap();
    log.seal_and_archive().await.unwrap();
    assert_held(store.as_ref(), FIRST, false).await;

    let key = "audit/v1/holds/case-1.json";
    let genuine = bucket.get(key).await.unwrap();
    bucket.put(key, "{}\n{}\n".into()).await.unwrap();
    log.seal_and_archive().await.unwrap();
    assert_held(store.as_ref(), FIRST, true).await;
    bucket.put(key, genuine.clone()).await.unwrap();
    bucket.put("audit/v1/holds/case-1.released.json", genuine).await.unwrap();
    assert_eq!(log.holds().await.unwrap().len(), 1, "a release that nobody signed");
}

#[tokio::test]
async fn holds_leave_entries_that_verify() {
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::memory()).await;
    log.hold(case("case-1"), clerk()).await.unwrap();
    log.release_hold("case-1", clerk()).await.unwrap();
    log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.entries), (None, 2));
    let found = log.query(&Query::new().with_order(Order::OldestFirst)).await.unwrap();
    let actions: Vec<_> = found.records.iter().map(|record| record.entry.action.as_str()).collect();
    assert_eq!(actions, ["audit.hold_placed", "audit.hold_released"]);
}

#[tokio::test]
async fn a_hold_that_vanished_from_the_bucket_or_was_altered_is_named() {
    let bucket = Objects::memory();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    log.hold(case("case-1"), clerk()).await.unwrap();
    log.seal_and_archive().await.unwrap();
    let key = "audit/v1/holds/case-1.json";
    let genuine = bucket.get(key).await.unwrap();
    let altered = String::from_utf8(genuine.to_vec()).unwrap().replace("litigation", "none at all");
    bucket.put(key, altered.into()).await.unwrap();
    let fault = log.verify().await.unwrap().fault.unwrap();
    assert_eq!((fault.kind, fault.place.as_str()), (FaultKind::AlteredHold, key));
    bucket.delete(key).await.unwrap();
    let fault = log.verify().await.unwrap().fault.unwrap();
    assert_eq!((fault.kind, fault.place.as_str()), (FaultKind::MissingHold, key));
    bucket.put(key, genuine).await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn an_object_that_goes_under_hold_has_not_expired() {
    let clock = ManualClock::default();
    let bucket = Objects::memory();
    let log = clocked(memory(), &bucket, &clock).await;
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    let hold = case("case-1").with_category(Category::Access);
    log.hold(hold, clerk()).await.unwrap();
    clock.advance(Duration::from_secs(366 * 86_400));
    for (category, expected) in [("database", None), ("access", Some(FaultKind::MissingObject))] {
        let prefix = format!("audit/v1/category={category}/");
        let page = bucket.list(&prefix, None, 10).await.unwrap();
        bucket.delete(&page.objects[0].key).await.unwrap();
        let fault = log.verify().await.unwrap().fault;
        assert_eq!(fault.map(|fault| fault.kind), expected, "{category}");
    }
    log.release_hold("case-1", clerk()).await.unwrap();
    assert!(log.verify().await.unwrap().is_sound(), "it may go now");
}

#[tokio::test]
async fn an_archiver_that_comes_late_lets_nothing_go_before_it_is_archived() {
    let clock = ManualClock::default();
    let store = EmbeddedStore::memory().unwrap().with_clock(Arc::new(clock.clone()));
    let store: Arc<dyn SegmentStore> = Arc::new(store);
    let log = clocked(store.clone(), &Objects::memory(), &clock).await;
    record(&log, 0..4).await;
    store.seal(FIRST, None).await.unwrap();
    clock.advance(Duration::from_secs(1000 * 86_400));
    store.sweep().await.unwrap();
    assert_eq!(store.expiry(FIRST).await.unwrap(), Expiry::Never, "900 days over its time");
    log.seal_and_archive().await.unwrap();
    assert_eq!(store.expiry(FIRST).await.unwrap(), Expiry::Missing, "archived, and over");
    assert_eq!(numbers(&log).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn the_gate_counts_the_life_from_the_last_entry_also_when_it_is_over() {
    for store in stores().await {
        let writer = WriterId::from_bytes([1; 16]);
        for number in 1..=2 {
            let segment = SegmentId { partition: 0, number };
            store.append(segment, &frame(writer, number, 1), WIDE).await.unwrap();
            store.seal(segment, None).await.unwrap();
        }
        let over = ArchiveProof { ttl: Duration::ZERO, ..proof(1, 1, 1, 1) };
        assert!(matches!(store.mark_archived(FIRST, &over).await.unwrap(), Gate::Archived { .. }));
        watchdog_storage::testing::eventually(
            "what is over goes",
            Duration::from_secs(5),
            async || store.expiry(FIRST).await.unwrap() == Expiry::Missing,
        )
        .await;
        let last = store.frames(SECOND, None, 1).await.unwrap()[0].0.millis;
        let gate = store.mark_archived(SECOND, &proof(1, 1, 1, 2)).await.unwrap();
        assert_eq!(gate, Gate::Archived { expires_at: last + 3_600_000 });
    }
}

#[tokio::test]
async fn erasing_a_subject_is_refused_under_hold_and_recorded_as_denied() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let vault = Arc::new(EmbeddedVault::memory().unwrap());
    let log = crate::erase::log_over(store, vault, &Objects::memory()).await;
    record(&log, 0..2).await;
    let [alice, bob] = ["alice", "bob"].map(Actor::user);
    log.hold(case("case-1").with_subject(alice.clone()), clerk()).await.unwrap();
    let refused = log.erase(&alice, clerk(), "a request").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);
    assert!(refused.to_string().ends_with(": case-1"), "{refused}");
    assert_eq!(log.erase(&bob, clerk(), "a request").await.unwrap().keys, 1);
    let of_alice = log.query(&Query::new().with_actor(alice.clone())).await.unwrap();
    assert!(of_alice.records[0].is_readable);
    let asked = Query::new().with_action("audit.subject_erased").with_order(Order::OldestFirst);
    let outcomes: Vec<_> =
        log.query(&asked).await.unwrap().records.iter().map(|found| found.entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Denied, Outcome::Success]);
    log.release_hold("case-1", clerk()).await.unwrap();
    assert_eq!(log.erase(&alice, clerk(), "a request").await.unwrap().keys, 1);
}
