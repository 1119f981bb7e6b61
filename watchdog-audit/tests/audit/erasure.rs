//! Erasures that were cut off, that must not be, and what waits while they are done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use watchdog_audit::{
    AuditLog, EmbeddedStore, EmbeddedVault, ErrorKind, KeyVault, LegalHold, Query, SegmentStore,
    StoredSubjectKeys, SubjectKeys,
};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Outcome};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::{entry, keys, record};
use crate::erase::{Lively, config, log_over, records};
use crate::faulty::Faulty;

fn alice() -> Actor {
    Actor::user("alice")
}

fn officer() -> Actor {
    Actor::service("privacy-desk")
}

fn memory_vault() -> Arc<EmbeddedVault> {
    Arc::new(EmbeddedVault::memory().unwrap())
}

/// A backup of a vault, as a vault; of `most` keys alone, in their order.
async fn backup(vault: &EmbeddedVault, most: usize) -> Arc<EmbeddedVault> {
    let copy = memory_vault();
    for (handle, key) in vault.list(None, most).await.unwrap() {
        copy.create(&handle, &key.label, &key.wrapped).await.unwrap();
    }
    copy
}

async fn readable_of_alice(log: &AuditLog) -> usize {
    let found = records(log, Query::new().with_actor(alice())).await;
    found.iter().filter(|record| record.is_readable).count()
}

#[tokio::test]
async fn an_erasure_whose_process_was_killed_is_done_again_after_a_restore() {
    let vault = memory_vault();
    let lively = Arc::new(Lively::new_switching(vault.clone(), vault.clone()));
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let log = log_over(Arc::clone(&store), lively.clone(), &bucket).await;
    record(&log, 0..4).await;
    let copy = backup(&vault, 100).await;
    let stored = StoredSubjectKeys::new(vault.clone(), &keys()).unwrap();
    let handle = stored.handles(&alice()).await.unwrap().remove(0);
    lively.hang_erase.store(1, Ordering::SeqCst);
    let erasure = tokio::spawn({
        let log = log.clone();
        async move { log.erase(&alice(), officer(), "request 7").await }
    });
    eventually("her key is gone", Duration::from_secs(5), async || {
        vault.current(&handle).await.unwrap().is_none()
    })
    .await;

    // Nothing more comes from the process that erased.
    let log = log_over(store, copy, &bucket).await;
    assert_eq!(readable_of_alice(&log).await, 2, "the danger is real");
    assert_eq!(log.erase_again(Timestamp::UNIX_EPOCH).await.unwrap(), 1);
    assert_eq!(readable_of_alice(&log).await, 0);
    erasure.abort();
}

#[tokio::test]
async fn erasing_again_leaves_those_under_hold_and_says_so() {
    let vault = memory_vault();
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let log = log_over(Arc::clone(&store), vault.clone(), &bucket).await;
    record(&log, 0..4).await;
    let copy = backup(&vault, 100).await;
    for actor in [alice(), Actor::user("bob")] {
        assert_eq!(log.erase(&actor, officer(), "request").await.unwrap().keys, 1);
    }

    let log = log_over(store, copy, &bucket).await;
    log.hold(LegalHold::new("case-7", "litigation").with_subject(alice()), officer())
        .await
        .unwrap();
    let held = log.erase_again(Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Held);
    assert!(held.to_string().contains("1 subjects"), "{held}");
    assert_eq!(readable_of_alice(&log).await, 2);
    let of_bob = records(&log, Query::new().with_actor(Actor::user("bob"))).await;
    assert!(of_bob.iter().all(|record| !record.is_readable), "nobody holds him");
    log.release_hold("case-7", officer()).await.unwrap();
    assert_eq!(log.erase_again(Timestamp::UNIX_EPOCH).await.unwrap(), 1);
    assert_eq!(readable_of_alice(&log).await, 0);
}

#[tokio::test]
async fn a_hold_whose_name_was_lost_with_its_key_still_forbids_to_erase() {
    let vault = memory_vault();
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let log = log_over(Arc::clone(&store), vault.clone(), &bucket).await;
    // A backup from before her first entry: the key that pseudonyms are made with alone.
    let copy = backup(&vault, 1).await;
    log.hold(LegalHold::new("case-7", "litigation").with_subject(alice()), officer())
        .await
        .unwrap();

    let log = log_over(store, copy, &bucket).await;
    record(&log, 0..4).await;
    assert_eq!(log.holds().await.unwrap()[0].subject, Some(Actor::user("")), "the danger is real");
    let refused = log.erase(&alice(), officer(), "request 7").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);
    assert_eq!(readable_of_alice(&log).await, 2);
}

#[tokio::test]
async fn a_process_without_the_archive_erases_nobody_once_there_are_holds() {
    let vault = memory_vault();
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let archiving = log_over(Arc::clone(&store), vault.clone(), &Objects::memory()).await;
    let worker = AuditLog::builder()
        .with_config(&config())
        .with_shared_store(store)
        .with_subject_key_vault(vault, &keys())
        .without_background()
        .build()
        .await
        .unwrap();
    record(&archiving, 0..4).await;
    let bob = Actor::user("bob");
    assert_eq!(worker.erase(&bob, officer(), "request 6").await.unwrap().keys, 1, "no holds yet");
    let hold = LegalHold::new("case-7", "litigation").with_subject(alice());
    archiving.hold(hold, officer()).await.unwrap();
    let refused = worker.erase(&alice(), officer(), "request 7").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);
    assert_eq!(readable_of_alice(&archiving).await, 2);
    let again = worker.erase_again(Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Held);
}

#[tokio::test]
async fn what_was_taken_before_an_erasure_is_unreadable_after_it() {
    let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let log = log_over(store.clone(), memory_vault(), &Objects::memory()).await;
    record(&log, 0..1).await;
    store.take_down(true);
    // The first waits for the store, and the next ones wait behind it, not yet sealed.
    let mut waiting = Vec::new();
    for n in [1, 2, 4] {
        let mut recording = Box::pin(log.record(entry(n)));
        // From the first poll on it is the log's.
        assert!(futures::poll!(recording.as_mut()).is_pending());
        waiting.push(recording);
    }
    let erasure = tokio::spawn({
        let log = log.clone();
        async move { log.erase(&alice(), officer(), "request 7").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.take_down(false);
    assert_eq!(erasure.await.unwrap().unwrap().keys, 1);
    for recording in waiting {
        recording.await.unwrap();
    }
    let found = records(&log, Query::new().with_actor(alice())).await;
    assert_eq!(found.len(), 3);
    assert_eq!(readable_of_alice(&log).await, 0, "all of it was taken before");
}

/// After its vault was emptied, a process and its successor have one pseudonym for each subject.
#[tokio::test(start_paused = true)]
async fn the_key_of_pseudonyms_comes_back_to_a_vault_that_lost_it() {
    let empty = memory_vault();
    let switch = Arc::new(Lively::new_switching(memory_vault(), empty.clone()));
    let stored = StoredSubjectKeys::new(switch.clone(), &keys()).unwrap();
    let key = stored.current(&alice()).await.unwrap();
    switch.switch();
    tokio::time::advance(Duration::from_secs(60)).await;
    stored.current(&alice()).await.unwrap();
    let successor = StoredSubjectKeys::new(empty, &keys()).unwrap();
    assert_eq!(successor.handles(&alice()).await.unwrap(), [key.handle().clone()]);
    assert_eq!(successor.current(&alice()).await.unwrap().label(), key.label());
    assert_eq!(successor.erase(&alice()).await.unwrap(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(stored.find(key.handle(), key.label()).await.unwrap().is_none());
}

#[tokio::test]
async fn who_is_held_is_not_named_in_an_entry_that_outlives_an_erasure() {
    let log =
        log_over(Arc::new(EmbeddedStore::memory().unwrap()), memory_vault(), &Objects::memory())
            .await;
    record(&log, 0..2).await;
    log.hold(LegalHold::new("case-7", "litigation").with_subject(alice()), officer())
        .await
        .unwrap();
    log.release_hold("case-7", officer()).await.unwrap();
    log.erase(&alice(), officer(), "request 7").await.unwrap();
    for record in records(&log, Query::new().with_actor(officer())).await {
        assert!(record.is_readable);
        let text = serde_json::to_string(&record.entry).unwrap();
        assert!(!text.contains("alice"), "{text}");
    }
    let placed = records(&log, Query::new().with_action("audit.hold_placed")).await;
    let about = records(&log, Query::new().with_action("audit.subject_erased")).await;
    assert_eq!(placed[0].entry.details["subject"], about[0].entry.resource.id.as_str());
}

#[tokio::test]
async fn what_the_log_does_not_take_is_neither_held_nor_released() {
    let log =
        log_over(Arc::new(EmbeddedStore::memory().unwrap()), memory_vault(), &Objects::memory())
            .await;
    log.hold(LegalHold::new("case-7", "litigation"), officer()).await.unwrap();
    log.shutdown(Duration::from_secs(5)).await.unwrap();
    for refused in [
        log.release_hold("case-7", officer()).await,
        log.hold(LegalHold::new("case-8", "litigation"), officer()).await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    }
    let holds: Vec<_> = log.holds().await.unwrap().into_iter().map(|hold| hold.id).collect();
    assert_eq!(holds, ["case-7"]);
}

#[tokio::test]
async fn a_hold_that_could_not_be_placed_is_a_failure_and_is_not_missed() {
    let vault = Arc::new(Lively::new(EmbeddedVault::memory().unwrap()));
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log_over(store, vault.clone(), &Objects::memory()).await;
    log.hold(LegalHold::new("case-7", "litigation"), officer()).await.unwrap();
    vault.fail_from(0);
    // Her name cannot be sealed now.
    let hold = LegalHold::new("case-8", "litigation").with_subject(alice());
    assert_eq!(log.hold(hold, officer()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    vault.fail_from(u64::MAX);
    let said = records(&log, Query::new().with_action("audit.hold_placed")).await;
    let outcomes: Vec<_> = said.iter().map(|record| record.entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Success, Outcome::Failure]);
    log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
}
