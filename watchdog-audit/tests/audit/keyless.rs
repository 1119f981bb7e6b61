//! Entries whose subject key cannot be had: nobody is told that they are recorded, nothing of them is
//! on a disk, others go on, and those that nobody waits for are kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::subjects::ERASED_WITHIN;
use watchdog_audit::{AuditConfig, AuditLog, Durability, EmbeddedVault, ErrorKind, Query};
use watchdog_core::HealthCheck as _;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};
use watchdog_core::health::Status;
use watchdog_storage::testing::eventually;

use crate::archive::files;
use crate::bench::{entry, keys, numbers};
use crate::erase::{Lively, records};
use crate::faulty::Faulty;
use crate::spool::{SOON, drained, store};

fn carol() -> Actor {
    Actor::user("carol-of-the-archive")
}

fn of_carol(n: u64) -> Entry {
    Entry { actor: carol(), ..entry(n) }
}

struct Bench {
    log: AuditLog,
    vault: Arc<Lively>,
    store: Arc<Faulty>,
    directory: tempfile::TempDir,
}

async fn bench(fail_closed: bool) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (vault, store) = (Arc::new(Lively::new(EmbeddedVault::memory().unwrap())), store());
    let config =
        AuditConfig { fail_closed, ..crate::spool::config(directory.path(), Durability::Store) };
    let log = AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store.clone())
        .with_subject_key_vault(vault.clone(), &keys())
        .with_record_timeout(Duration::from_millis(300))
        .without_background()
        .build()
        .await
        .unwrap();
    Bench { log, vault, store, directory }
}

fn is_on_disk(directory: &Path, text: &str) -> bool {
    files(directory).iter().any(|path| {
        let content = std::fs::read(path).unwrap();
        content.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_vault_that_hangs_holds_up_those_alone_who_need_it() {
    let Bench { log, vault, .. } = bench(false).await;
    log.record(entry(0)).await.unwrap();
    vault.hang(true);
    tokio::time::sleep(ERASED_WITHIN).await;
    let refused = tokio::spawn({
        let log = log.clone();
        async move { log.record(of_carol(1)).await }
    });
    // The first question finds out that the vault is away; until then everybody waits for it.
    eventually("alice has a key", SOON, async || log.record(entry(2)).await.is_ok()).await;
    let begun = std::time::Instant::now();
    for n in 2..10 {
        log.record(entry(n * 2)).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let error = refused.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("vault of subject keys"), "{error}");
    assert_eq!(log.health().check().await.status, Status::Warn);
    vault.hang(false);
    eventually("carol has a key", SOON, async || log.record(of_carol(1)).await.is_ok()).await;
    assert_eq!(log.health().check().await.status, Status::Pass);
}

#[tokio::test]
async fn an_entry_nobody_waits_for_is_kept_until_the_vault_answers() {
    let Bench { log, vault, .. } = bench(false).await;
    log.record(entry(0)).await.unwrap();
    vault.fail_from(0);
    let report = Resource::new("report", "1");
    drop(log.begin(Category::Access, carol(), "report.read", report).await.unwrap());
    // It takes as long as anybody would have waited for it.
    let error = log.record(of_carol(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    log.record(entry(2)).await.unwrap();
    vault.fail_from(u64::MAX);
    let query = || Query::new().with_action("report.read");
    eventually("it is recorded", SOON, async || records(&log, query()).await.len() == 1).await;
    let kept = records(&log, query()).await.remove(0);
    assert_eq!((&kept.entry.actor, kept.entry.outcome), (&carol(), Outcome::Unknown));
    assert_eq!(numbers(&log).await, [0, 2], "what was refused is not there");
    log.shutdown(SOON).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_says_that_an_entry_without_a_key_is_left() {
    let Bench { log, vault, .. } = bench(false).await;
    vault.fail_from(0);
    let report = Resource::new("report", "1");
    drop(log.begin(Category::Access, carol(), "report.read", report).await.unwrap());
    let error = log.shutdown(Duration::from_millis(200)).await.unwrap_err();
    assert!(error.to_string().starts_with("1 audit entries"), "{error}");
}

#[tokio::test]
async fn nothing_personal_reaches_the_disk_while_the_vault_is_away() {
    let Bench { log, vault, store, directory } = bench(false).await;
    log.record(entry(0)).await.unwrap();
    vault.fail_from(0);
    store.take_down(true);
    log.record(entry(2).with_detail("note", "very private")).await.unwrap();
    log.record(of_carol(1)).await.unwrap_err();
    let spool = log.spool().unwrap();
    assert_eq!(spool.entries, 1, "the one whose key is known");
    for text in ["carol-of-the-archive", "very private"] {
        assert!(!is_on_disk(directory.path(), text), "{text}");
    }
    vault.fail_from(u64::MAX);
    store.take_down(false);
    drained(&log).await;
    assert_eq!(numbers(&log).await, [0, 2]);
}

#[tokio::test]
async fn an_operation_whose_begin_cannot_be_sealed_is_refused() {
    let Bench { log, vault, .. } = bench(true).await;
    log.record(entry(0)).await.unwrap();
    vault.fail_from(0);
    let report = || Resource::new("report", "1");
    let error = log.begin(Category::Access, carol(), "report.read", report()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("vault of subject keys"), "{cause}");
    let known = Actor::user("alice");
    let operation = log.begin(Category::Access, known, "report.read", report()).await.unwrap();
    operation.succeed().await.unwrap();
}
