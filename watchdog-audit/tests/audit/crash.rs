//! A process that is killed in the middle of appending.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use watchdog_audit::EmbeddedStore;
use watchdog_storage::objects::Objects;

use crate::bench::{log, numbers, record_until_killed, run_and_kill};

/// The process that is killed: the test below runs this binary again, with this test only, and
/// tells it on its standard input where the store is. It prints what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the killed process of another test"]
async fn killed_process() {
    let mut told = String::new();
    std::io::stdin().read_line(&mut told).unwrap();
    let Some((round, directory)) = told.trim_end().split_once(' ') else { return };
    let round: u64 = round.parse().unwrap();
    let store = EmbeddedStore::open(Path::new(directory).join("store")).unwrap();
    let bucket = Objects::local(Path::new(directory).join("bucket")).unwrap();
    let log = log(Arc::new(store), &bucket).await;
    let mut tasks = record_until_killed(&log, round);
    tasks.push(tokio::spawn(async move {
        loop {
            log.seal_and_archive().await.unwrap();
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_and_is_archived_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 1..=5_u64 {
        let limit = 40 + usize::try_from(round).unwrap() * 37;
        let told = format!("{round} {}\n", directory.path().display());
        let lines = tokio::task::spawn_blocking(move || {
            run_and_kill("crash::killed_process", &told, limit, || {})
        });
        acknowledged.extend(lines.await.unwrap());
    }
    assert!(acknowledged.len() > 500);
    let store = Arc::new(EmbeddedStore::open(directory.path().join("store")).unwrap());
    let bucket = Objects::local(directory.path().join("bucket")).unwrap();
    let log = log(store, &bucket).await;
    log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.waiting), (None, 0));
    let found = numbers(&log).await;
    let unique: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(found.len(), unique.len(), "no entry stands twice");
    let lost: Vec<_> = acknowledged.difference(&unique).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
}
