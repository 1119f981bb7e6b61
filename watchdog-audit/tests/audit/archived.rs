//! The walk over the archive.

use std::collections::BTreeSet;
use std::sync::Arc;

use watchdog_audit::{ArchivePlace, ArchiveRange, EmbeddedStore, ErrorKind};
use watchdog_core::audit::Category;
use watchdog_storage::objects::Objects;

use crate::bench::{log, record};

async fn walked(
    log: &watchdog_audit::AuditLog,
    range: ArchiveRange,
) -> Vec<(ArchivePlace, Category, Vec<u64>)> {
    let mut walk = log.archived(range).await.unwrap();
    let mut found = Vec::new();
    while let Some(batch) = walk.next().await.unwrap() {
        let numbers: Vec<u64> = batch.lines().map(|line| line.unwrap().sequence).collect();
        assert_eq!(numbers.len() as u64, batch.object().entries);
        found.push((batch.place(), batch.object().category, numbers));
    }
    assert_eq!(walk.progress().done, walk.progress().total);
    assert_eq!(walk.progress().total, found.len() as u64);
    found
}

#[tokio::test]
async fn a_walk_sees_every_archived_entry_once_and_goes_on_where_it_ended() {
    let bucket = Objects::memory();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    record(&log, 0..20).await;
    log.seal_and_archive().await.unwrap();
    record(&log, 20..30).await;
    log.seal_and_archive().await.unwrap();
    record(&log, 30..32).await;

    let all = walked(&log, ArchiveRange::new()).await;
    let numbers: Vec<u64> = all.iter().flat_map(|(_, _, numbers)| numbers.clone()).collect();
    assert_eq!(numbers.len(), 30);
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), (1..=30).collect());
    assert!(all.is_sorted_by_key(|(place, _, _)| *place));

    let (place, _, _) = all[2];
    assert_eq!(walked(&log, ArchiveRange::new().with_after(place)).await, all[3..]);
    let access = walked(&log, ArchiveRange::new().with_category(Category::Access)).await;
    let wanted: Vec<_> =
        all.iter().filter(|(_, category, _)| *category == Category::Access).cloned().collect();
    assert_eq!(access, wanted);
}

#[tokio::test]
async fn an_altered_object_is_not_handed_out_and_a_missing_one_is_counted() {
    let bucket = Objects::memory();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    record(&log, 0..20).await;
    log.seal_and_archive().await.unwrap();
    let mut keys = Vec::new();
    let mut walk = log.archived(ArchiveRange::new()).await.unwrap();
    while let Some(batch) = walk.next().await.unwrap() {
        keys.push(batch.object().key.clone());
    }

    let kept = bucket.get(&keys[0]).await.unwrap();
    bucket.put(&keys[0], "other".into()).await.unwrap();
    let mut walk = log.archived(ArchiveRange::new()).await.unwrap();
    assert_eq!(walk.next().await.unwrap_err().kind(), ErrorKind::Corrupt);
    // The walk stays before it.
    bucket.put(&keys[0], kept).await.unwrap();
    assert_eq!(walk.next().await.unwrap().unwrap().object().key, keys[0]);

    bucket.delete(&keys[1]).await.unwrap();
    let mut left = 0;
    while walk.next().await.unwrap().is_some() {
        left += 1;
    }
    assert_eq!((left, walk.missing()), (keys.len() - 2, 1));
}
