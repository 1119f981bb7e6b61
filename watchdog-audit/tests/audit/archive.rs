//! The archive as others see it, and the life of what is archived.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::segment::{Expiry, SegmentId};
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, SegmentStore};
use watchdog_core::audit::{Actor, Category, Entry, Resource};
use watchdog_core::testing::ManualClock;
use watchdog_core::{Clock, RootKeys, Timestamp};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::{require, test_name};

use crate::bench::{
    assert_archived, assert_waiting_never_expires, clocked, clocked_with, entry, keys, log, memory,
    record,
};

const FIRST: SegmentId = SegmentId { partition: 0, number: 1 };

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[tokio::test]
async fn every_entry_is_archived_once_and_expires_only_then() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..100).await;
    assert_waiting_never_expires(store.as_ref()).await;
    let archived = log.seal_and_archive().await.unwrap();
    assert_eq!((archived.segments, archived.entries, archived.objects), (1, 100, 4));
    let Expiry::InMillis(left) = store.expiry(FIRST).await.unwrap() else { panic!("no life") };
    let ttl = u64::try_from(AuditConfig::default().ttl().as_millis()).unwrap();
    assert!(left <= ttl && left > ttl - 60_000);
    let again = log.seal_and_archive().await.unwrap();
    assert_eq!((again.segments, again.entries), (0, 0), "nothing is archived twice");
    assert_archived(&log, 0..100).await;
}

#[tokio::test]
async fn a_segment_leaves_the_store_when_its_last_entry_has_lived_the_ttl() {
    let clock = ManualClock::default();
    let store = EmbeddedStore::memory().unwrap().with_clock(Arc::new(clock.clone()));
    let store: Arc<dyn SegmentStore> = Arc::new(store);
    let config = AuditConfig {
        log_ttl_seconds: Some(3600),
        segment_max_age: Duration::from_secs(1800),
        ..AuditConfig::default()
    };
    let log = clocked_with(&config, Arc::clone(&store), &Objects::memory(), &clock).await;
    record(&log, 0..5).await;
    clock.advance(Duration::from_secs(600));
    record(&log, 5..10).await;
    clock.advance(Duration::from_secs(600));
    log.seal_and_archive().await.unwrap();
    assert_eq!(store.expiry(FIRST).await.unwrap(), Expiry::InMillis(3_000_000));
    clock.advance(Duration::from_millis(2_999_999));
    assert_eq!(store.sweep().await.unwrap(), 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert!(store.frames(FIRST, None, 10).await.unwrap().is_empty());
    assert_archived(&log, 0..10).await;
}

#[tokio::test]
async fn an_archiver_that_sleeps_for_a_year_loses_nothing() {
    let clock = ManualClock::default();
    let store = EmbeddedStore::memory().unwrap().with_clock(Arc::new(clock.clone()));
    let log = log(Arc::new(store.clone()), &Objects::memory()).await;
    record(&log, 0..10).await;
    clock.advance(Duration::from_secs(365 * 86_400));
    store.sweep().await.unwrap();
    assert_waiting_never_expires(&store).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..10).await;
}

#[tokio::test]
async fn without_an_archive_a_segment_gets_its_life_when_it_is_sealed() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let config = AuditConfig { segment_max_bytes: 1, ..AuditConfig::default() };
    let log = AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store.clone())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap();
    record(&log, 0..1).await;
    // The next entry is acknowledged after the full segment was sealed.
    record(&log, 1..2).await;
    assert!(matches!(store.expiry(FIRST).await.unwrap(), Expiry::InMillis(_)));
}

#[tokio::test]
async fn full_segments_are_sealed_while_entries_go_on() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let config = AuditConfig { segment_max_bytes: 2000, ..AuditConfig::default() };
    let log = crate::bench::log_with(config, store.clone(), &Objects::memory()).await;
    record(&log, 0..50).await;
    assert!(store.sealed(0).await.unwrap().len() > 5);
    assert!(log.archiver().unwrap().run_once().await.unwrap().segments > 5);
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..50).await;
}

#[tokio::test]
async fn entries_of_two_days_stand_in_two_objects() {
    let clock = ManualClock::new("2026-01-01T23:59:59Z".parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let log = clocked(memory(), &Objects::local(directory.path()).unwrap(), &clock).await;
    let access = |clock: &ManualClock| {
        let resource = Resource::new("file", "7");
        let id = uuid::Uuid::now_v7();
        Entry::new(id, clock.now(), Category::Access, Actor::user("alice"), "file.read", resource)
    };
    log.record(access(&clock)).await.unwrap();
    clock.advance(Duration::from_secs(1));
    log.record(access(&clock)).await.unwrap();
    log.seal_and_archive().await.unwrap();
    for date in ["2026-01-01", "2026-01-02"] {
        let place = format!("audit/v1/category=access/date={date}/p=00000");
        assert_eq!(files(&directory.path().join(place)).len(), 1, "{date}");
    }
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_retired_signing_key_is_accepted_while_it_is_known() {
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let before = log(Arc::clone(&store), &bucket).await;
    record(&before, 0..3).await;
    before.seal_and_archive().await.unwrap();
    let other = RootKeys::ephemeral().unwrap();
    let after = AuditLog::builder()
        .with_shared_store(store)
        .with_archive(bucket, &other)
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap();
    let report = after.verify().await.unwrap();
    assert_eq!(report.fault.unwrap().kind, watchdog_audit::FaultKind::UnknownKey);
}

/// Python's own SHA-256 and Merkle tree, and the `zstd` program: none of our code.
const CHECK: &str = r#"
import base64, hashlib, json, pathlib, subprocess, sys
root = pathlib.Path(sys.argv[1])
def tree(leaves):
    if not leaves: return hashlib.sha256(b"").digest()
    if len(leaves) == 1: return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves): k *= 2
    return hashlib.sha256(b"\1" + tree(leaves[:k]) + tree(leaves[k:])).digest()
previous, seen, entries = "", {}, 0
for number, path in enumerate(sorted((root / "audit/v1/manifest").iterdir()), 1):
    body = path.read_bytes()
    manifest = json.loads(body.split(b"\n")[0])
    assert manifest["number"] == number and manifest["previous"] == previous
    previous = hashlib.sha256(body).hexdigest()
    for meta in manifest["objects"]:
        content = (root / meta["key"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == meta["sha256"]
        lines = subprocess.run(["zstd", "-dcq"], input=content, stdout=subprocess.PIPE,
                               check=True).stdout
        assert len(lines) == meta["raw_bytes"] and len(content) == meta["bytes"]
        lines = lines.split(b"\n")[:-1]
        code = ["application", "database", "access", "security"].index(meta["category"]) + 1
        leaves = [bytes([1, code]) + hashlib.sha256(line).digest() for line in lines]
        assert len(lines) == meta["entries"] and tree(leaves).hex() == meta["root"]
        for line in map(json.loads, lines):
            assert line["category"] == meta["category"]
            seen.setdefault(line["writer"], []).append(line["seq"])
    entries += manifest["entries"]
for numbers in seen.values():
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
print(entries, number)
"#;

#[tokio::test]
async fn python_and_zstd_find_every_entry_once_and_the_same_roots() {
    if !require("python3", &test_name()) || !require("zstd", &test_name()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let bucket = Objects::local(directory.path()).unwrap();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    for round in 0..5 {
        record(&log, round * 37..(round + 1) * 37).await;
        log.seal_and_archive().await.unwrap();
    }
    let mut python = Command::new("python3")
        .args(["-", &directory.path().to_string_lossy()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(CHECK.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "185 5");
}

#[tokio::test]
async fn verification_never_alarms_while_entries_come_and_are_archived() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let config = AuditConfig { segment_max_bytes: 4000, ..AuditConfig::default() };
    let log = crate::bench::log_with(config, store, &Objects::memory()).await;
    let recording = tokio::spawn({
        let log = log.clone();
        async move {
            for n in 0..400 {
                log.record(entry(n)).await.unwrap();
            }
        }
    });
    let archiving = tokio::spawn({
        let log = log.clone();
        async move {
            while log.seal_and_archive().await.unwrap().entries > 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let mut runs = 0;
    while !recording.is_finished() || runs < 50 {
        let report = log.verify().await.unwrap();
        assert_eq!(report.fault, None, "run {runs}");
        runs += 1;
    }
    recording.await.unwrap();
    archiving.await.unwrap();
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..400).await;
}

#[test]
fn dates_are_days_in_utc() {
    let instant: Timestamp = "2026-01-01T23:30:00-05:00".parse().unwrap();
    assert!(instant.to_string().starts_with("2026-01-02"));
}
