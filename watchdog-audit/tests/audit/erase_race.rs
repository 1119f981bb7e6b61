//! An erasure and a legal hold at the same instant.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use watchdog_audit::{
    AuditLog, EmbeddedStore, EmbeddedVault, ErrorKind, KeyVault, LegalHold, Result, SubjectHandle,
    WrappedKey,
};
use watchdog_core::audit::Actor;
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::record;
use crate::erase::log_over;

const SOON: Duration = Duration::from_secs(20);

/// A vault that waits before it erases.
#[derive(Debug)]
struct Slow {
    inner: EmbeddedVault,
    asked: Semaphore,
    goes: Semaphore,
}

#[async_trait]
impl KeyVault for Slow {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn preflight(&self) -> Result<()> {
        self.inner.preflight().await
    }

    async fn create(&self, handle: &SubjectHandle, label: &str, key: &[u8]) -> Result<WrappedKey> {
        self.inner.create(handle, label, key).await
    }

    async fn current(&self, handle: &SubjectHandle) -> Result<Option<WrappedKey>> {
        self.inner.current(handle).await
    }

    async fn replace(
        &self,
        handle: &SubjectHandle,
        label: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool> {
        self.inner.replace(handle, label, old, new).await
    }

    async fn erase(&self, handle: &SubjectHandle) -> Result<u64> {
        self.asked.add_permits(1);
        self.goes.acquire().await.unwrap().forget();
        self.inner.erase(handle).await
    }

    async fn generation(&self) -> Result<u64> {
        self.inner.generation().await
    }

    async fn list(
        &self,
        after: Option<(SubjectHandle, String)>,
        limit: usize,
    ) -> Result<Vec<(SubjectHandle, WrappedKey)>> {
        self.inner.list(after, limit).await
    }
}

async fn slow() -> (AuditLog, Arc<Slow>, Objects) {
    let inner = EmbeddedVault::memory().unwrap();
    let slow = Slow { inner, asked: Semaphore::new(0), goes: Semaphore::new(0) };
    let (vault, bucket) = (Arc::new(slow), Objects::memory());
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log_over(store, vault.clone(), &bucket).await;
    record(&log, 0..4).await;
    (log, vault, bucket)
}

fn alice() -> Actor {
    Actor::user("alice")
}

fn hold(id: &str) -> LegalHold {
    LegalHold::new(id, "litigation").with_subject(alice())
}

fn clerk() -> Actor {
    Actor::user("clerk")
}

#[tokio::test]
async fn a_hold_is_acknowledged_when_no_erasure_is_under_way_any_more() {
    let (log, vault, bucket) = slow().await;
    let erasing = tokio::spawn({
        let log = log.clone();
        async move { log.erase(&alice(), clerk(), "a request").await }
    });
    // It has looked at the holds, found none, and goes to the vault.
    vault.asked.acquire().await.unwrap().forget();
    let placing = tokio::spawn({
        let log = log.clone();
        async move { log.hold(hold("case-1"), clerk()).await }
    });
    let placed = async || bucket.head("audit/v1/holds/case-1.json").await.unwrap().is_some();
    eventually("the hold stands", SOON, placed).await;
    // Every step of placing it has been taken several times over by now, but for the wait.
    for _ in 0..20 {
        log.holds().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!placing.is_finished(), "keys may still be destroyed");
    vault.goes.add_permits(100);
    assert_eq!(erasing.await.unwrap().unwrap().keys, 1, "it came first");
    placing.await.unwrap().unwrap();
    // The name of its subject was sealed under the key that is gone.
    log.hold(hold("case-1"), clerk()).await.unwrap();
    let refused = log.erase(&alice(), clerk(), "again").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);
    let notices = bucket.list("audit/v1/erasing/", None, 10).await.unwrap().objects;
    assert!(notices.is_empty(), "{notices:?}");
}

#[tokio::test]
async fn an_erasure_that_broke_off_is_told_to_who_places_a_hold() {
    let (log, vault, _) = slow().await;
    let erasing = tokio::spawn({
        let log = log.clone();
        async move { log.erase(&alice(), clerk(), "a request").await }
    });
    vault.asked.acquire().await.unwrap().forget();
    erasing.abort();
    assert!(erasing.await.unwrap_err().is_cancelled());
    tokio::time::pause();
    let placed = log.hold(hold("case-1"), clerk()).await.unwrap_err();
    assert_eq!(placed.kind(), ErrorKind::Busy, "whether the keys are destroyed is not known");
    let held = log.holds().await.unwrap();
    assert_eq!(held.len(), 1, "and yet it stands");
    let refused = log.erase(&alice(), clerk(), "again").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Held);
}
