//! Rotating the encryption root: keys are wrapped anew, nothing else changes.

use std::sync::{Arc, Mutex};

use watchdog_audit::{
    AuditLog, EmbeddedStore, EmbeddedVault, ErrorKind, KeyVault, Query, RedisVault, Result,
    SegmentStore,
};
use watchdog_core::audit::Actor;
use watchdog_core::{RootKeys, Secret};
use watchdog_storage::objects::Objects;

use crate::bench::{keys, record, redis};
use crate::erase::{Lively, config, records};

const OLD: &str = "the old root of at least thirty-two bytes";
const NEW: &str = "the new root of at least thirty-two bytes";

struct Service {
    store: Arc<dyn SegmentStore>,
    vault: Arc<dyn KeyVault>,
    bucket: Objects,
}

impl Service {
    fn new(vault: Arc<dyn KeyVault>) -> Self {
        let store = Arc::new(EmbeddedStore::memory().unwrap());
        Self { store, vault, bucket: Objects::memory() }
    }

    async fn start(&self, current: &str, previous: &[&str]) -> Result<AuditLog> {
        let previous: Vec<_> = previous.iter().map(|&root| Secret::from(root)).collect();
        let root = RootKeys::new(&Secret::from(current), &previous).unwrap();
        AuditLog::builder()
            .with_config(&config())
            .with_shared_store(Arc::clone(&self.store))
            .with_archive(self.bucket.clone(), &keys())
            .with_subject_key_vault(Arc::clone(&self.vault), &root)
            .without_background()
            .build()
            .await
    }
}

async fn rotates(vault: Arc<dyn KeyVault>) {
    let service = Service::new(vault);
    let log = service.start(OLD, &[]).await.unwrap();
    record(&log, 0..10).await;
    log.seal_and_archive().await.unwrap();
    record(&log, 10..20).await;
    let objects = log.verify().await.unwrap();
    let refused = service.start(NEW, &[]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Key, "the old root is needed still");
    assert!(refused.to_string().contains("WATCHDOG_ENCRYPTION_KEY_PREVIOUS"), "{refused}");

    let log = service.start(NEW, &[OLD]).await.unwrap();
    let told = Mutex::new(Vec::new());
    let done = log.rewrap_observed(&|at| told.lock().unwrap().push(at)).await.unwrap();
    // Alice, bob, and the key of handles; the log itself speaks only afterwards.
    assert_eq!((done.keys, done.rewrapped, done.unopened), (3, 3, 0));
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted_by_key(|at| at.done), "{told:?}");
    assert!(told.last().is_some_and(|at| at.done == at.total && at.total > 0));
    let again = log.rewrap().await.unwrap();
    assert_eq!((again.keys, again.rewrapped), (4, 0), "nothing is left to do");

    let log = service.start(NEW, &[]).await.unwrap();
    for actor in ["alice", "bob"].map(Actor::user) {
        let found = records(&log, Query::new().with_actor(actor.clone())).await;
        assert_eq!(found.len(), 10, "a pseudonym outlives the root it was made under");
        assert!(found.iter().all(|record| record.is_readable && record.entry.actor == actor));
    }
    let report = log.verify().await.unwrap();
    assert!(report.is_sound());
    assert_eq!(report.entries, objects.entries, "the archive is as it was");
    let said = records(&log, Query::new().with_action("audit.subject_keys_rewrapped")).await;
    assert_eq!(said[0].entry.details["rewrapped"], 3);
    // Erasing needs the old root as little.
    let desk = Actor::service("privacy-desk");
    assert_eq!(log.erase(&Actor::user("alice"), desk, "request 7").await.unwrap().keys, 1);
    let found = records(&log, Query::new().with_actor(Actor::user("alice"))).await;
    assert!(found.len() == 10 && found.iter().all(|record| !record.is_readable));
    assert!(service.start(OLD, &[]).await.is_err(), "the old root opens nothing any more");
}

#[tokio::test]
async fn keys_in_a_file_outlive_their_root() {
    rotates(Arc::new(EmbeddedVault::memory().unwrap())).await;
}

#[tokio::test]
async fn keys_in_redis_outlive_their_root() {
    let Some(redis) = redis().await else { return };
    rotates(Arc::new(RedisVault::new(redis.clone()))).await;
    redis.close().await;
}

#[tokio::test]
async fn a_rewrap_that_broke_off_is_resumed() {
    let vault = Arc::new(Lively::new(EmbeddedVault::memory().unwrap()));
    let service = Service::new(vault.clone());
    let log = service.start(OLD, &[]).await.unwrap();
    record(&log, 0..2).await;
    let log = service.start(NEW, &[OLD]).await.unwrap();
    // The listing and one replacement go through.
    vault.fail_from(2);
    assert_eq!(log.rewrap().await.unwrap_err().kind(), ErrorKind::Unavailable);
    vault.fail_from(u64::MAX);
    let done = log.rewrap().await.unwrap();
    assert_eq!((done.keys, done.rewrapped), (3, 2));
    let log = service.start(NEW, &[]).await.unwrap();
    let found = records(&log, Query::new().with_actor(Actor::user("alice"))).await;
    assert!(found.iter().all(|record| record.is_readable) && found.len() == 1);
}
