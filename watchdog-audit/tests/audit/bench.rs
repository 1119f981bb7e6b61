//! What the tests share.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::task::JoinHandle;
use uuid::Uuid;
use watchdog_audit::segment::{Expiry, SegmentId};
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, Order, Query, SegmentStore};
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};
use watchdog_core::testing::ManualClock;
use watchdog_core::{RootKeys, Secret, Timestamp};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

/// The root keys of every test.
pub(crate) fn keys() -> RootKeys {
    RootKeys::new(&Secret::from("a secret of at least thirty-two bytes"), &[]).unwrap()
}

/// Entry number `n`: its time, category, actor and action follow from the number.
pub(crate) fn entry(n: u64) -> Entry {
    let category = Category::ALL[usize::try_from(n % 4).unwrap()];
    let seconds = 1_767_225_600 + i64::try_from(n).unwrap();
    Entry::new(
        Uuid::now_v7(),
        Timestamp::new(seconds, 0).unwrap(),
        category,
        Actor::user(if n.is_multiple_of(2) { "alice" } else { "bob" }),
        if n.is_multiple_of(3) { "file.read" } else { "file.written" },
        Resource::new("file", n.to_string()),
    )
    .with_outcome(Outcome::Success)
    .with_detail("size", n)
}

/// A directory in which nobody adopts what another test leaves.
pub(crate) fn own_directory() -> PathBuf {
    let own = format!("audit-{}", Uuid::now_v7().simple());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(own)
}

/// A log that does nothing unless it is asked to.
pub(crate) async fn log(store: Arc<dyn SegmentStore>, bucket: &Objects) -> AuditLog {
    log_with(AuditConfig::default(), store, bucket).await
}

/// The settings, with a directory of its own where none is said.
fn apart(mut config: AuditConfig) -> AuditConfig {
    if config.spool_directory == AuditConfig::default().spool_directory {
        config.spool_directory = own_directory();
    }
    config
}

pub(crate) async fn log_with(
    config: AuditConfig,
    store: Arc<dyn SegmentStore>,
    bucket: &Objects,
) -> AuditLog {
    let config = apart(config);
    AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store)
        .with_archive(bucket.clone(), &keys())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap()
}

/// A log of a bucket whose time is that of a clock, which does nothing unless it is asked to.
pub(crate) async fn clocked(
    store: Arc<dyn SegmentStore>,
    bucket: &Objects,
    clock: &ManualClock,
) -> AuditLog {
    clocked_with(&AuditConfig::default(), store, bucket, clock).await
}

pub(crate) async fn clocked_with(
    config: &AuditConfig,
    store: Arc<dyn SegmentStore>,
    bucket: &Objects,
    clock: &ManualClock,
) -> AuditLog {
    let config = apart(config.clone());
    AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store)
        .with_archive(bucket.clone(), &keys())
        .with_encryption(&keys())
        .with_clock(Arc::new(clock.clone()))
        .without_background()
        .build()
        .await
        .unwrap()
}

/// A store in memory.
pub(crate) fn memory() -> Arc<dyn SegmentStore> {
    Arc::new(EmbeddedStore::memory().unwrap())
}

/// Records the entries with these numbers, one after the other.
pub(crate) async fn record(log: &AuditLog, numbers: std::ops::Range<u64>) {
    for n in numbers {
        log.record(entry(n)).await.unwrap();
    }
}

/// Records without end, eight entries at a time, and prints the number of each when it is
/// acknowledged; no two rounds share one.
pub(crate) fn record_until_killed(log: &AuditLog, round: u64) -> Vec<JoinHandle<()>> {
    let tasks = (0..8).map(|task| {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let number = round * 1_000_000 + task * 100_000 + n;
                log.record(entry(number)).await.unwrap();
                // One write a line, past the capture of the harness.
                std::io::stdout().write_all(format!("acknowledged {number}\n").as_bytes()).unwrap();
                std::io::stdout().flush().unwrap();
            }
        })
    });
    tasks.collect()
}

/// Runs an ignored test of this binary as a process of its own, which is told a line, until it has
/// acknowledged `limit` entries; kills it, and answers them all. `halfway` is called when it has
/// acknowledged half of them.
pub(crate) fn run_and_kill(
    test: &str,
    told: &str,
    limit: usize,
    mut halfway: impl FnMut(),
) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    for acknowledged in 0..limit {
        if acknowledged == limit / 2 {
            halfway();
        }
        assert!(output.read_line(&mut text).unwrap() > 0, "the process ended by itself: {text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    // The last line may be cut.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let numbers = whole.lines().filter_map(|line| line.split("acknowledged ").nth(1));
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// The numbers of every entry a query finds, in its order: live and archived, page by page.
pub(crate) async fn numbers(log: &AuditLog) -> Vec<u64> {
    let mut query = Query::new().with_order(Order::OldestFirst).with_limit(1000);
    let mut numbers = Vec::new();
    loop {
        let page = log.query(&query).await.unwrap();
        let found = page.records.iter().filter(|record| record.entry.resource.kind == "file");
        numbers.extend(found.map(|record| record.entry.resource.id.parse::<u64>().unwrap()));
        match page.next {
            Some(cursor) => query = query.with_cursor(cursor),
            None => return numbers,
        }
    }
}

/// Asserts that the archive holds exactly these entries, each once, and verifies.
pub(crate) async fn assert_archived(log: &AuditLog, wanted: std::ops::Range<u64>) {
    let report = log.verify().await.unwrap();
    assert_eq!(report.fault, None);
    assert_eq!(report.waiting, 0, "everything is archived");
    assert_eq!(report.entries, wanted.end - wanted.start, "each entry stands once");
    assert_eq!(
        numbers(log).await.into_iter().collect::<BTreeSet<_>>(),
        wanted.collect::<BTreeSet<_>>()
    );
}

/// Asserts that no segment that waits for the gate has a life that ends.
pub(crate) async fn assert_waiting_never_expires(store: &dyn SegmentStore) {
    for partition in 0..store.partitions() {
        let held = store.partition(partition).await.unwrap();
        let mut waiting: Vec<_> =
            store.sealed(partition).await.unwrap().into_iter().map(|(number, _)| number).collect();
        if held.totals.frames > 0 {
            waiting.push(held.open);
        }
        for number in waiting {
            let segment = SegmentId { partition, number };
            assert_eq!(store.expiry(segment).await.unwrap(), Expiry::Never, "{segment}");
        }
    }
}

/// A client of the shared server with keys nobody else uses; `None` without a server.
pub(crate) async fn redis() -> Option<Redis> {
    let mut config = RedisConfig::from_url(&shared()?.url()).unwrap();
    config.key_prefix = format!("t{}", Uuid::now_v7().simple());
    Some(Redis::connect(&config).await.unwrap())
}
