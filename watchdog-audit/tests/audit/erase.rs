//! Erasing a subject: unreadable everywhere at once, and the log still verifies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use watchdog_audit::subjects::ERASED_WITHIN;
use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, EmbeddedVault, ErrorKind, KeyVault, LegalHold, Order,
    Query, Record, RedisStore, RedisVault, SegmentStore, StoredSubjectKeys, SubjectKeys,
};
use watchdog_core::audit::{Actor, Category, Outcome, Resource};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::{entry, keys, record, redis};

fn alice() -> Actor {
    Actor::user("alice")
}

fn officer() -> Actor {
    Actor::service("privacy-desk")
}

/// Settings with a directory that nobody else has.
pub(crate) fn config() -> AuditConfig {
    let spool_directory = crate::bench::own_directory();
    AuditConfig { spool_directory, ..AuditConfig::default() }
}

pub(crate) async fn log_over(
    store: Arc<dyn SegmentStore>,
    vault: Arc<dyn KeyVault>,
    bucket: &Objects,
) -> AuditLog {
    AuditLog::builder()
        .with_config(&config())
        .with_shared_store(store)
        .with_archive(bucket.clone(), &keys())
        .with_subject_key_vault(vault, &keys())
        .without_background()
        .build()
        .await
        .unwrap()
}

async fn memory() -> (AuditLog, Arc<EmbeddedVault>) {
    let vault = Arc::new(EmbeddedVault::memory().unwrap());
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    (log_over(store, vault.clone(), &Objects::memory()).await, vault)
}

/// Every record of the log, the oldest first.
pub(crate) async fn records(log: &AuditLog, query: Query) -> Vec<Record> {
    let mut query = query.with_order(Order::OldestFirst).with_limit(1000);
    let mut records = Vec::new();
    loop {
        let page = log.query(&query).await.unwrap();
        records.extend(page.records);
        match page.next {
            Some(next) => query = query.with_cursor(next),
            None => return records,
        }
    }
}

/// Entries of alice have even numbers, those of bob odd ones.
fn of_alice(record: &Record) -> bool {
    record.entry.resource.kind == "file"
        && record.entry.resource.id.parse::<u64>().unwrap().is_multiple_of(2)
}

async fn erases_a_subject(log: &AuditLog) {
    record(log, 0..10).await;
    log.seal_and_archive().await.unwrap();
    record(log, 10..20).await;
    let by_alice = Query::new().with_actor(alice());
    let before = records(log, by_alice.clone()).await;
    assert_eq!(before.len(), 10);
    assert!(before.iter().all(|record| record.is_readable && record.entry.actor == alice()));

    let erased = log.erase(&alice(), officer(), "request 7").await.unwrap();
    assert_eq!(erased.keys, 1);

    for record in records(log, Query::new()).await {
        let is_gone = of_alice(&record);
        assert_eq!(record.is_readable, !is_gone, "{record:?}");
        assert_eq!(record.entry.details.is_empty(), is_gone);
        assert_eq!(record.entry.actor.id.is_empty(), is_gone);
    }
    let after = records(log, by_alice.clone()).await;
    assert_eq!(after.len(), 10, "that there were entries is still known");
    assert!(after.iter().all(|record| !record.is_readable));
    let report = log.verify().await.unwrap();
    assert!(report.is_sound(), "{report:?}");

    record(log, 20..24).await;
    let later = records(log, by_alice.clone()).await;
    assert_eq!(later.iter().filter(|record| record.is_readable).count(), 2, "a new key");
    assert_eq!(log.erase(&alice(), officer(), "request 8").await.unwrap().keys, 1);
    assert_eq!(log.erase(&alice(), officer(), "request 8").await.unwrap().keys, 0);
    let nobody = Actor::user("nobody");
    assert_eq!(log.erase(&nobody, officer(), "request 9").await.unwrap().keys, 0);
    assert!(records(log, by_alice).await.iter().all(|record| !record.is_readable));

    log.seal_and_archive().await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
    let said = records(log, Query::new().with_action("audit.subject_erased")).await;
    assert_eq!(said.len(), 4);
    assert_eq!(
        (said[0].writer, said[0].sequence),
        (erased.receipt.writer, erased.receipt.sequence)
    );
    for record in &said {
        let entry = &record.entry;
        assert_eq!((entry.category, entry.outcome), (Category::Security, Outcome::Success));
        assert_eq!((entry.resource.kind.as_str(), &entry.actor), ("subject", &officer()));
        assert_eq!(entry.resource.id.len(), 32, "a pseudonym");
        assert!(!serde_json::to_string(entry).unwrap().contains("alice"));
    }
    assert_eq!(said[0].entry.details["reason"], "request 7");
    assert_eq!(said[0].entry.details["keys"], 1);
}

#[tokio::test]
async fn an_erased_subject_is_unreadable_in_a_file_and_its_archive() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Arc::new(EmbeddedVault::open(directory.path()).unwrap());
    let store = Arc::new(EmbeddedStore::open(directory.path()).unwrap());
    erases_a_subject(&log_over(store, vault, &Objects::memory()).await).await;
}

#[tokio::test]
async fn an_erased_subject_is_unreadable_in_redis_and_its_archive() {
    let Some(redis) = redis().await else { return };
    let vault = Arc::new(RedisVault::new(redis.clone()));
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    erases_a_subject(&log_over(store, vault, &Objects::memory()).await).await;
    redis.close().await;
}

/// Another process has the key in memory when its subject is erased.
#[tokio::test]
async fn what_is_sealed_under_an_erased_key_nobody_can_read() {
    let vault: Arc<dyn KeyVault> = Arc::new(EmbeddedVault::memory().unwrap());
    let [here, there] =
        [(); 2].map(|()| StoredSubjectKeys::new(Arc::clone(&vault), &keys()).unwrap());
    let held = there.current(&alice()).await.unwrap();
    assert_eq!(here.erase(&alice()).await.unwrap(), 1);
    let erased = Instant::now();
    // Within the window the key may still seal; what it sealed does not open, here or there.
    let still = there.current(&alice()).await.unwrap();
    if erased.elapsed() < Duration::from_millis(100) {
        assert_eq!(still.label(), held.label(), "the window is real");
    }
    assert!(here.find(held.handle(), held.label()).await.unwrap().is_none());
    eventually("the other process drops the key", Duration::from_secs(5), async || {
        there.current(&alice()).await.unwrap().label() != held.label()
    })
    .await;
    assert!(there.find(held.handle(), held.label()).await.unwrap().is_none());
    let next = there.current(&alice()).await.unwrap();
    assert_eq!(next.handle(), held.handle(), "a pseudonym stays");
    assert_eq!(here.current(&alice()).await.unwrap().label(), next.label());
}

#[tokio::test(start_paused = true)]
async fn a_process_drops_an_erased_key_within_a_second() {
    let vault: Arc<dyn KeyVault> = Arc::new(Lively::new(EmbeddedVault::memory().unwrap()));
    let [here, there] =
        [(); 2].map(|()| StoredSubjectKeys::new(Arc::clone(&vault), &keys()).unwrap());
    let held = there.current(&alice()).await.unwrap();
    let opened = there.find(held.handle(), held.label()).await.unwrap();
    assert!(opened.is_some());
    here.erase(&alice()).await.unwrap();
    tokio::time::advance(ERASED_WITHIN).await;
    assert!(there.find(held.handle(), held.label()).await.unwrap().is_none(), "nothing opens");
    assert_ne!(there.current(&alice()).await.unwrap().label(), held.label(), "nothing is sealed");
}

#[tokio::test]
async fn known_subjects_cost_no_round_trip() {
    let vault = Arc::new(Lively::new(EmbeddedVault::memory().unwrap()));
    let keys = StoredSubjectKeys::new(vault.clone(), &keys()).unwrap();
    keys.preflight().await.unwrap();
    keys.current(&alice()).await.unwrap();
    let before = vault.calls.load(Ordering::SeqCst);
    let begun = Instant::now();
    for _ in 0..10_000 {
        keys.current(&alice()).await.unwrap();
    }
    // Questions about erasures go beside it, two a second.
    let questions = u64::try_from(begun.elapsed().as_millis() / 500).unwrap() + 1;
    let calls = vault.calls.load(Ordering::SeqCst) - before;
    assert!(calls <= questions, "{calls} calls");
}

#[tokio::test]
async fn without_its_vault_a_process_seals_for_those_it_knows_and_opens_nothing() {
    let vault = Arc::new(Lively::new(EmbeddedVault::memory().unwrap()));
    let keys = StoredSubjectKeys::new(vault.clone(), &keys()).unwrap();
    let key = keys.current(&alice()).await.unwrap();
    // It is in memory, and still does not open anything.
    assert!(keys.find(key.handle(), key.label()).await.unwrap().is_some());
    vault.fail_from(0);
    tokio::time::sleep(ERASED_WITHIN).await;
    assert_eq!(keys.current(&alice()).await.unwrap().label(), key.label());
    let unopened = keys.find(key.handle(), key.label()).await.unwrap_err();
    assert_eq!(unopened.kind(), ErrorKind::Unavailable);
    let unknown = keys.current(&Actor::user("carol")).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unavailable);
    vault.fail_from(u64::MAX);
    eventually("the vault is asked again", Duration::from_secs(5), async || {
        keys.current(&Actor::user("carol")).await.is_ok()
    })
    .await;
    assert!(keys.find(key.handle(), key.label()).await.unwrap().is_some());
}

/// A promoted replica lacked the newest keys; a process that used one brings it back.
#[tokio::test(start_paused = true)]
async fn a_key_the_vault_lost_comes_back_under_its_label() {
    let vault = Arc::new(EmbeddedVault::memory().unwrap());
    let replica = Arc::new(EmbeddedVault::memory().unwrap());
    let switch = Arc::new(Lively::new_switching(vault, replica.clone()));
    let stored = StoredSubjectKeys::new(switch.clone(), &keys()).unwrap();
    let key = stored.current(&alice()).await.unwrap();
    switch.switch();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(stored.current(&alice()).await.unwrap().label(), key.label());
    let stands = replica.current(key.handle()).await.unwrap();
    assert_eq!(stands.map(|stands| stands.label).as_deref(), Some(key.label()));
    assert!(stored.find(key.handle(), key.label()).await.unwrap().is_some());
}

#[tokio::test]
async fn erasing_while_archiving_and_while_others_write_loses_no_entry() {
    let (log, _) = memory().await;
    record(&log, 0..50).await;
    let writers: Vec<_> = (1..5_u64)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move { record(&log, writer * 100..writer * 100 + 50).await })
        })
        .collect();
    let archives = tokio::spawn({
        let log = log.clone();
        async move {
            for _ in 0..5 {
                log.seal_and_archive().await.unwrap();
            }
        }
    });
    for n in 0..5 {
        log.erase(&alice(), officer(), &format!("request {n}")).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    archives.await.unwrap();
    record(&log, 1000..1002).await;
    log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    let records = records(&log, Query::new()).await;
    // An erasure leaves two.
    assert_eq!(records.len(), 50 + 4 * 50 + 2 * 5 + 2);
    for record in records.iter().filter(|record| record.entry.resource.kind == "file") {
        let number: u64 = record.entry.resource.id.parse().unwrap();
        if !of_alice(record) || number == 1000 {
            assert!(record.is_readable, "{number}");
        } else if number < 50 {
            assert!(!record.is_readable, "{number} was recorded before the erasures");
        }
    }
}

/// The vault of a directory, as soon as nobody else has it.
async fn opened(directory: &std::path::Path) -> Arc<EmbeddedVault> {
    let mut vault = None;
    eventually("the vault's file is free", Duration::from_secs(5), async || {
        vault = EmbeddedVault::open(directory).ok();
        vault.is_some()
    })
    .await;
    Arc::new(vault.unwrap())
}

async fn close(log: AuditLog, directory: &std::path::Path) {
    log.shutdown(Duration::from_secs(5)).await.unwrap();
    drop(log);
    drop(opened(directory).await);
}

#[tokio::test]
async fn a_backup_of_the_vault_brings_keys_back_and_they_are_erased_again() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let log = log_over(Arc::clone(&store), opened(directory.path()).await, &bucket).await;
    record(&log, 0..4).await;
    close(log, directory.path()).await;
    let [file, backup] = ["subject_keys.redb", "backup"].map(|name| directory.path().join(name));
    std::fs::copy(&file, &backup).unwrap();

    let log = log_over(Arc::clone(&store), opened(directory.path()).await, &bucket).await;
    let by_alice = || Query::new().with_actor(alice());
    let readable = async |log: &AuditLog| {
        records(log, by_alice()).await.iter().filter(|record| record.is_readable).count()
    };
    log.erase(&alice(), officer(), "request 7").await.unwrap();
    assert_eq!(readable(&log).await, 0);
    close(log, directory.path()).await;
    std::fs::copy(&backup, &file).unwrap();

    let log = log_over(Arc::clone(&store), opened(directory.path()).await, &bucket).await;
    assert_eq!(readable(&log).await, 2, "the danger is real");
    let since = watchdog_core::Timestamp::UNIX_EPOCH;
    assert_eq!(log.erase_again(since).await.unwrap(), 1);
    assert_eq!(readable(&log).await, 0);
    record(&log, 4..6).await;
    assert_eq!(log.erase_again(since).await.unwrap(), 0, "a key made since is none of it");
    assert_eq!(readable(&log).await, 1);
}

#[tokio::test]
async fn derived_keys_and_open_entries_cannot_be_erased() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let derived = crate::bench::log(store.clone(), &Objects::memory()).await;
    record(&derived, 0..1).await;
    let plain = AuditConfig { encryption_enabled: false, ..AuditConfig::default() };
    let plain = crate::bench::log_with(plain, store, &Objects::memory()).await;
    for log in [derived, plain] {
        let refused = log.erase(&alice(), officer(), "request 7").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Misuse);
        assert!(refused.to_string().contains("WATCHDOG_AUDIT_"), "{refused}");
    }
}

#[tokio::test]
async fn a_legal_hold_forbids_erasing_until_it_is_released() {
    let (log, vault) = memory().await;
    record(&log, 0..2).await;
    let hold = LegalHold::new("case-7", "litigation").with_subject(alice());
    log.hold(hold, officer()).await.unwrap();
    let held = log.erase(&alice(), officer(), "request 7").await.unwrap_err();
    assert_eq!(held.kind(), ErrorKind::Held);
    assert!(held.to_string().contains("case-7"), "{held}");
    let stands = vault.list(None, 10).await.unwrap().len();
    assert_eq!(log.erase(&Actor::user("bob"), officer(), "request 8").await.unwrap().keys, 1);
    assert_eq!(vault.list(None, 10).await.unwrap().len(), stands - 1, "bob's key alone is gone");
    log.release_hold("case-7", officer()).await.unwrap();
    assert_eq!(log.erase(&alice(), officer(), "request 7").await.unwrap().keys, 1);
    let said = records(&log, Query::new().with_action("audit.subject_erased")).await;
    let outcomes: Vec<_> = said.iter().map(|record| record.entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Denied, Outcome::Success, Outcome::Success]);
}

#[tokio::test]
async fn an_erasure_that_failed_is_recorded_as_failed() {
    let vault = Arc::new(Lively::new(EmbeddedVault::memory().unwrap()));
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log_over(store, vault.clone(), &Objects::memory()).await;
    record(&log, 0..1).await;
    log.record(entry(1)).await.unwrap();
    let desk = log.begin(Category::Security, officer(), "desk.opened", Resource::new("desk", "1"));
    desk.await.unwrap().succeed().await.unwrap();
    vault.fail_erase.store(1, Ordering::SeqCst);
    let failed = log.erase(&alice(), officer(), "request 7").await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert_eq!(log.erase(&alice(), officer(), "request 7").await.unwrap().keys, 1);
    let said = records(&log, Query::new().with_action("audit.subject_erased")).await;
    let outcomes: Vec<_> = said.iter().map(|record| record.entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failure, Outcome::Success]);
}

/// A vault that counts its calls, and fails or becomes another one when it is told to.
#[derive(Debug)]
pub(crate) struct Lively {
    vaults: [Arc<EmbeddedVault>; 2],
    index: AtomicU64,
    pub(crate) calls: AtomicU64,
    fails_from: AtomicU64,
    fail_erase: AtomicU64,
    /// An erasure is done, and nobody hears of it.
    pub(crate) hang_erase: AtomicU64,
    hangs: AtomicBool,
}

impl Lively {
    pub(crate) fn new(vault: EmbeddedVault) -> Self {
        let vault = Arc::new(vault);
        Self::new_switching(vault.clone(), vault)
    }

    pub(crate) fn new_switching(one: Arc<EmbeddedVault>, other: Arc<EmbeddedVault>) -> Self {
        Self {
            vaults: [one, other],
            index: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            fails_from: AtomicU64::new(u64::MAX),
            fail_erase: AtomicU64::new(0),
            hang_erase: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
        }
    }

    pub(crate) fn switch(&self) {
        self.index.store(1, Ordering::SeqCst);
    }

    /// Every call after so many more fails.
    pub(crate) fn fail_from(&self, more: u64) {
        let calls = self.calls.load(Ordering::SeqCst);
        self.fails_from.store(calls.saturating_add(more), Ordering::SeqCst);
    }

    /// Whether a call that comes now is ever answered.
    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    async fn vault(&self) -> watchdog_audit::Result<&EmbeddedVault> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call >= self.fails_from.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        Ok(&self.vaults[usize::try_from(self.index.load(Ordering::SeqCst)).unwrap()])
    }
}

fn unavailable() -> watchdog_audit::Error {
    watchdog_audit::Error::new(ErrorKind::Unavailable, "the vault is away")
}

#[async_trait::async_trait]
impl KeyVault for Lively {
    fn name(&self) -> &'static str {
        "lively"
    }

    async fn preflight(&self) -> watchdog_audit::Result<()> {
        self.vault().await?.preflight().await
    }

    async fn create(
        &self,
        handle: &watchdog_audit::SubjectHandle,
        label: &str,
        wrapped: &[u8],
    ) -> watchdog_audit::Result<watchdog_audit::WrappedKey> {
        self.vault().await?.create(handle, label, wrapped).await
    }

    async fn current(
        &self,
        handle: &watchdog_audit::SubjectHandle,
    ) -> watchdog_audit::Result<Option<watchdog_audit::WrappedKey>> {
        self.vault().await?.current(handle).await
    }

    async fn replace(
        &self,
        handle: &watchdog_audit::SubjectHandle,
        label: &str,
        old: &[u8],
        new: &[u8],
    ) -> watchdog_audit::Result<bool> {
        self.vault().await?.replace(handle, label, old, new).await
    }

    async fn erase(&self, handle: &watchdog_audit::SubjectHandle) -> watchdog_audit::Result<u64> {
        if self.fail_erase.swap(0, Ordering::SeqCst) > 0 {
            return Err(unavailable());
        }
        let destroyed = self.vault().await?.erase(handle).await;
        if self.hang_erase.swap(0, Ordering::SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
        destroyed
    }

    async fn generation(&self) -> watchdog_audit::Result<u64> {
        self.vault().await?.generation().await
    }

    async fn list(
        &self,
        after: Option<(watchdog_audit::SubjectHandle, String)>,
        limit: usize,
    ) -> watchdog_audit::Result<Vec<(watchdog_audit::SubjectHandle, watchdog_audit::WrappedKey)>>
    {
        self.vault().await?.list(after, limit).await
    }
}
