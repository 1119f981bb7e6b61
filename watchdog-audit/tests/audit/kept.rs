//! What verification says of objects that expired, that nobody named, and of segments that vanished.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::segment::SegmentId;
use watchdog_audit::{AuditLog, EmbeddedStore, FaultKind, RedisStore, SegmentStore};
use watchdog_core::testing::ManualClock;
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::Script;

use crate::archive::files;
use crate::bench::{clocked, log, memory, record, redis};

fn object(directory: &Path, category: &str) -> PathBuf {
    files(&directory.join("audit/v1"))
        .into_iter()
        .find(|path| path.to_string_lossy().contains(&format!("category={category}")))
        .unwrap()
}

async fn fault(log: &AuditLog) -> Option<FaultKind> {
    log.verify().await.unwrap().fault.map(|fault| fault.kind)
}

#[tokio::test]
async fn an_object_may_be_gone_after_the_retention_of_its_category_and_not_before() {
    let clock = ManualClock::default();
    let directory = tempfile::tempdir().unwrap();
    let log = clocked(memory(), &Objects::local(directory.path()).unwrap(), &clock).await;
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();

    std::fs::remove_file(object(directory.path(), "application")).unwrap();
    clock.advance(Duration::from_secs(90 * 86_400));
    assert_eq!(fault(&log).await, Some(FaultKind::MissingObject));
    clock.advance(Duration::from_secs(1));
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.expired, report.objects, report.entries), (None, 1, 3, 6));
    std::fs::remove_file(object(directory.path(), "security")).unwrap();
    clock.advance(Duration::from_secs(3650 * 86_400));
    assert_eq!(fault(&log).await, Some(FaultKind::MissingObject), "security is kept for ever");
}

#[tokio::test]
async fn an_object_that_no_manifest_names_is_a_copy_or_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Objects::local(directory.path()).unwrap();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    let archived = object(directory.path(), "access");
    let (stem, _) = archived.to_str().unwrap().rsplit_once("jsonl.zst").unwrap();
    let (stem, _) = stem.trim_end_matches('.').rsplit_once('.').unwrap();
    let copy = PathBuf::from(format!("{stem}.ffffffffffffffff.jsonl.zst"));
    let lines = zstd::decode_all(std::fs::read(&archived).unwrap().as_slice()).unwrap();
    std::fs::write(&copy, zstd::encode_all(lines.as_slice(), 19).unwrap()).unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.unreferenced), (None, 1), "the same lines, packed otherwise");
    let half = &lines[..=lines.iter().position(|byte| *byte == b'\n').unwrap()];
    std::fs::write(&copy, zstd::encode_all(half, 3).unwrap()).unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.unreferenced), (None, 1), "nothing that is not archived");
    let forged = std::str::from_utf8(half).unwrap().replace("success", "failure");
    assert_ne!(forged.as_bytes(), half);
    std::fs::write(&copy, zstd::encode_all(forged.as_bytes(), 3).unwrap()).unwrap();
    let report = log.verify().await.unwrap();
    let found = report.fault.unwrap();
    assert_eq!(found.kind, FaultKind::UnknownObject);
    assert_eq!(directory.path().join(found.place), copy);
    std::fs::remove_file(&copy).unwrap();
    for name in ["seg=00000000000000000099.ffffffffffffffff.jsonl.zst", "readme.txt"] {
        let foreign = archived.with_file_name(name);
        std::fs::copy(&archived, &foreign).unwrap();
        assert_eq!(fault(&log).await, Some(FaultKind::UnknownObject), "{name}");
        std::fs::remove_file(&foreign).unwrap();
    }
    assert_eq!(fault(&log).await, None);
}

static FORGET: Script = Script::new("test.forget.v1", "return redis.call('HDEL', KEYS[1], '2')");

#[tokio::test]
async fn a_sealed_segment_the_store_forgot_is_missed() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    record(&log, 4..8).await;
    store.seal(SegmentId { partition: 0, number: 2 }, None).await.unwrap();
    assert_eq!(fault(&log).await, None);
    redis.call(&FORGET, &[&redis.keys().key("a", "0", &["s"])], &[]).await.unwrap();
    assert_eq!(fault(&log).await, Some(FaultKind::MissingSegment));
    redis.close().await;
}

#[tokio::test]
async fn the_last_frame_of_the_open_segment_is_missed() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..4).await;
    let frames = store.frames(SegmentId { partition: 0, number: 1 }, None, 10).await.unwrap();
    let last = frames.last().unwrap().0.to_string();
    redis.xdel(&redis.keys().key("a", "0", &["1"]), &[&last]).await.unwrap();
    assert_eq!(fault(&log).await, Some(FaultKind::AlteredSegment));
    redis.close().await;
}
