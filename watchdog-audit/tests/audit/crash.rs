//! A process that is killed in the middle of appending.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use watchdog_audit::EmbeddedStore;
use watchdog_storage::objects::Objects;

use crate::bench::{entry, log, numbers};

const ROUND: u64 = 1_000_000;

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
    let mut tasks = Vec::new();
    for task in 0..8 {
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            for n in 0.. {
                let number = round * ROUND + task * 100_000 + n;
                log.record(entry(number)).await.unwrap();
                // One write a line, past the capture of the harness.
                std::io::stdout().write_all(format!("acknowledged {number}\n").as_bytes()).unwrap();
                std::io::stdout().flush().unwrap();
            }
        }));
    }
    tasks.push(tokio::spawn(async move {
        loop {
            log.seal_and_archive().await.unwrap();
        }
    }));
    for task in tasks {
        task.await.unwrap();
    }
}

/// Runs the process until it has acknowledged `limit` entries, kills it, and answers them all.
fn run_and_kill(directory: &Path, round: u64, limit: usize) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::killed_process", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = format!("{round} {}\n", directory.display());
    child.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let mut acknowledged = 0;
    while acknowledged < limit {
        assert!(output.read_line(&mut text).unwrap() > 0, "the process ended by itself: {text}");
        acknowledged += 1;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    // The last line may be cut.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let numbers = whole.lines().filter_map(|line| line.split("acknowledged ").nth(1));
    numbers.map(|number| number.parse().unwrap()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_and_is_archived_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 1..=5_u64 {
        let limit = 40 + usize::try_from(round).unwrap() * 37;
        let path = directory.path().to_owned();
        let lines = tokio::task::spawn_blocking(move || run_and_kill(&path, round, limit));
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
