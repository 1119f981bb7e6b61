//! The audit log beside its floors, in one closed loop each, with the ratio in the same run.
//!
//! `cargo bench --bench audit_floor` prints one line for each; without `--bench` (as `cargo test`
//! runs it) everything happens once, with little. With `WD_TEST_LONG=1` the query runs over ten
//! million entries. A name after `--` runs that one alone: `caller`, `appends`, `idle`, `memory`,
//! `archiver`, `sealing`, `query`.
#![expect(clippy::unwrap_used, reason = "a bench states what it expects")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use tokio::runtime::Builder;
use uuid::Uuid;
use watchdog_audit::segment::SegmentId;
use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, MirrorLevel, Moment, Query, RedisStore, SegmentStore,
    Step,
};
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};
use watchdog_core::{RootKeys, Timestamp};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Key, Redis, RedisConfig, Script};
use watchdog_storage::testing::redis::RedisServer;

const TASKS: u64 = 64;

/// What a batch costs that is only stored: each line an entry of a stream, by one script; and, of
/// a frame alone, one entry.
static FLOOR: Script = Script::new(
    "bench.floor.v1",
    "for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'd', ARGV[i]) end return #ARGV",
);

/// How much is done: a lot for numbers, little to see that it works.
#[derive(Clone, Copy)]
struct Scale {
    is_bench: bool,
}

impl Scale {
    #[expect(clippy::disallowed_methods, reason = "a switch of the bench, not of the product")]
    fn new() -> (Self, bool) {
        let is_bench = std::env::args().any(|argument| argument == "--bench");
        let is_long = std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1");
        (Self { is_bench }, is_bench && is_long)
    }

    fn of(self, bench: u64, test: u64) -> u64 {
        if self.is_bench { bench } else { test }
    }
}

/// About 300 bytes as a line. Numbers 0, 1, 2, … are a second apart, by a thousand actors.
fn entry(n: u64) -> Entry {
    let at = Timestamp::new(1_767_225_600 + i64::try_from(n).unwrap(), 0).unwrap();
    let actor = Actor::user(format!("user-{:04}", n.wrapping_mul(7919) % 1000));
    let resource = Resource::new("session", format!("{:016x}", n.wrapping_mul(0x9e37_79b9)));
    Entry::new(Uuid::now_v7(), at, Category::Access, actor, "session.read", resource)
        .with_outcome(Outcome::Success)
}

async fn log(store: Arc<dyn SegmentStore>, bucket: &Objects, is_sealed: bool) -> AuditLog {
    log_of(&RootKeys::ephemeral().unwrap(), store, bucket, is_sealed).await
}

async fn log_of(
    keys: &RootKeys,
    store: Arc<dyn SegmentStore>,
    bucket: &Objects,
    is_sealed: bool,
) -> AuditLog {
    let config = AuditConfig {
        encryption_enabled: is_sealed,
        log_level: MirrorLevel::Off,
        spool_directory: std::env::temp_dir().join(format!("wd-bench-{}", Uuid::now_v7())),
        ..AuditConfig::default()
    };
    AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store)
        .with_archive(bucket.clone(), keys)
        .with_encryption(keys)
        .without_background()
        .build()
        .await
        .unwrap()
}

/// Records entries on [`TASKS`] tasks; each waits for its receipt before the next. The entries are
/// there before.
async fn record(log: &AuditLog, range: Range<u64>) -> Duration {
    let each = usize::try_from(TASKS).unwrap();
    let own = |task| (range.start + task..range.end).step_by(each).map(entry);
    let entries: Vec<Vec<_>> = (0..TASKS).map(|task| own(task).collect()).collect();
    let begun = Instant::now();
    let tasks: Vec<_> = entries
        .into_iter()
        .map(|entries| {
            let log = log.clone();
            tokio::spawn(async move {
                for entry in entries {
                    black_box(log.record(entry).await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed()
}

async fn connect(server: &RedisServer, prefix: &str) -> Redis {
    let mut config = RedisConfig::from_url(&server.url()).unwrap();
    config.key_prefix = prefix.into();
    Redis::connect(&config).await.unwrap()
}

/// Every stored frame, encoded, with how many entries it has.
async fn frames(store: &dyn SegmentStore) -> Vec<(Bytes, u64)> {
    let mut found = Vec::new();
    for number in 1..=store.partition(0).await.unwrap().open {
        let segment = SegmentId { partition: 0, number };
        let mut after = None;
        loop {
            let page = store.frames(segment, after, 64).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            found.extend(page.iter().map(|(_, frame)| (frame.encode().into(), frame.count())));
        }
    }
    found
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Acknowledged appends of 64 tasks beside the same lines in the same batches by the shortest script
/// there is, one batch after the other through the same client.
async fn appends(server: &RedisServer, scale: Scale) {
    let count = scale.of(128_000, 640);
    let redis = connect(server, "append").await;
    let floor_key = redis.keys().key("floor", "0", &[]);
    let [mut ours, mut floor, mut alone, mut sealed] = [f64::MIN; 4];
    for round in 0..scale.of(3, 1) {
        for is_sealed in [false, true] {
            let client = connect(server, &format!("append{round}{is_sealed}")).await;
            let store: Arc<dyn SegmentStore> = Arc::new(RedisStore::new(client, 1));
            let log = log(Arc::clone(&store), &Objects::memory(), is_sealed).await;
            let took = record(&log, 0..count).await;
            if is_sealed {
                sealed = sealed.max(rate(count, took));
                continue;
            }
            ours = ours.max(rate(count, took));
            let frames = frames(store.as_ref()).await;
            let begun = Instant::now();
            for (frame, _) in &frames {
                // A frame is a header of 64 bytes and lines.
                let lines = frame[64..].split_inclusive(|byte| *byte == b'\n');
                let lines: Vec<_> = lines.map(Into::into).collect();
                black_box(redis.call(&FLOOR, &[&floor_key], &lines).await.unwrap());
            }
            floor = floor.max(rate(count, begun.elapsed()));
            redis.del(&floor_key).await.unwrap();
            let begun = Instant::now();
            for (frame, _) in &frames {
                let arg = frame.as_ref().into();
                black_box(redis.call(&FLOOR, &[&floor_key], &[arg]).await.unwrap());
            }
            alone = alone.max(rate(count, begun.elapsed()));
            println!("  {} entries a frame", count / frames.len() as u64);
            redis.del(&floor_key).await.unwrap();
        }
        server.command(&["FLUSHALL"]);
    }
    println!(
        "append, {TASKS} tasks: raw script {floor:.0}/s; record {ours:.0}/s, ratio {:.2} (goal 0.7); \
         with sealed fields {sealed:.0}/s, ratio {:.2}; frames alone by a script {alone:.0}/s",
        ours / floor,
        sealed / floor
    );
}

/// What `record` costs its caller before the entry is in the queue.
fn caller(scale: Scale) {
    let count = scale.of(8000, 100);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut best = Duration::MAX;
    for _ in 0..scale.of(20, 1) {
        runtime.block_on(async {
            let store = Arc::new(EmbeddedStore::memory().unwrap());
            let log = log(store, &Objects::memory(), false).await;
            let entries: Vec<_> = (0..count).map(entry).collect();
            let mut context = Context::from_waker(Waker::noop());
            // Nobody takes anything out of the queue meanwhile: this thread does not yield.
            let begun = Instant::now();
            for entry in entries {
                assert!(pin!(log.record(entry)).poll(&mut context).is_pending());
            }
            best = best.min(begun.elapsed());
        });
    }
    let each = best / u32::try_from(count).unwrap();
    println!("record up to the queue: {} ns (goal 1500 ns)", each.as_nanos());
}

fn percentiles(mut took: Vec<Duration>) -> [Duration; 2] {
    took.sort_unstable();
    [50, 99].map(|percent| took[(took.len() - 1) * percent / 100])
}

/// One acknowledged append at a time beside one raw `XADD` at a time, in turn.
async fn idle(server: &RedisServer, scale: Scale) {
    let redis = connect(server, "idle").await;
    let log = log(Arc::new(RedisStore::new(redis.clone(), 1)), &Objects::memory(), false).await;
    let key = redis.keys().key("floor", "0", &[]);
    let line = Bytes::from(vec![b'x'; 300]);
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for n in 0..scale.of(10_000, 20) {
        let begun = Instant::now();
        black_box(redis.xadd(&key, &[("d", line.clone())]).await.unwrap());
        floor.push(begun.elapsed());
        let entry = entry(n);
        let begun = Instant::now();
        black_box(log.record(entry).await.unwrap());
        ours.push(begun.elapsed());
    }
    let (ours, floor) = (percentiles(ours), percentiles(floor));
    println!(
        "one append when idle: XADD p50 {:?} p99 {:?}; record p50 {:?} p99 {:?}, p99 ratio {:.2} (goal 2)",
        floor[0],
        floor[1],
        ours[0],
        ours[1],
        ours[1].as_secs_f64() / floor[1].as_secs_f64()
    );
}

/// Records many entries, of which few are in memory at once.
async fn record_many(log: &AuditLog, count: u64) {
    for from in (0..count).step_by(20_000) {
        record(log, from..(from + 20_000).min(count)).await;
    }
}

/// Bytes of Redis for each entry beside one entry a stream entry.
async fn memory(server: &RedisServer, scale: Scale) {
    let count = scale.of(64_000, 1280);
    let redis = connect(server, "memory").await;
    let store: Arc<dyn SegmentStore> = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(Arc::clone(&store), &Objects::memory(), false).await;
    record(&log, 0..count).await;
    let usage = |key: &Key| -> u64 {
        let reply = server.command(&["MEMORY", "USAGE", key.as_str(), "SAMPLES", "0"]);
        match reply {
            watchdog_storage::testing::redis::Reply::Text(text) => text.parse().unwrap(),
            _ => 0,
        }
    };
    let open = store.partition(0).await.unwrap().open;
    let ours: u64 =
        (1..=open).map(|number| usage(&redis.keys().key("a", "0", &[&number.to_string()]))).sum();
    let key = redis.keys().key("floor", "0", &[]);
    let mut lines = 0;
    for (frame, entries) in frames(store.as_ref()).await {
        // A frame is a header of 64 bytes and lines.
        for line in frame[64..].split_inclusive(|byte| *byte == b'\n') {
            lines += line.len() as u64;
            redis.xadd(&key, &[("d", frame.slice_ref(line))]).await.unwrap();
        }
        black_box(entries);
    }
    let floor = usage(&key);
    println!(
        "redis, lines of {} bytes: {} bytes an entry; one entry a stream entry {}, ratio {:.2} (goal 1.25)",
        lines / count,
        ours / count,
        floor / count,
        rate(ours, Duration::from_secs(1)) / rate(floor, Duration::from_secs(1))
    );
}

/// The most memory this process ever had, in MiB; 0 where the system does not tell.
fn greatest_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<u64> =
        line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kibibytes.unwrap_or(0) / 1024
}

/// The archiver beside reading, zstd at level 3 and SHA-256 of the same bytes; into memory, as the
/// floor stores nothing, and onto the disk, where every object is synced.
async fn archiver(server: &RedisServer, scale: Scale) {
    for (times, is_disk) in [(1, false), (4, false), (4, true)] {
        let count = scale.of(100_000, 320) * times;
        let redis = connect(server, &format!("archive{times}{is_disk}")).await;
        let store: Arc<dyn SegmentStore> = Arc::new(RedisStore::new(redis.clone(), 1));
        let directory = tempfile::tempdir().unwrap();
        let bucket = match is_disk {
            true => Objects::local(directory.path()).unwrap(),
            false => Objects::memory(),
        };
        let log = log(Arc::clone(&store), &bucket, false).await;
        record_many(&log, count).await;
        let open = store.partition(0).await.unwrap().open;
        let (mut plain, mut packed) = (0, 0);
        let begun = Instant::now();
        for number in 1..=open {
            let key = redis.keys().key("a", "0", &[&number.to_string()]);
            let mut lines = Vec::new();
            let mut from = "-".to_owned();
            loop {
                let page = redis.xrange(&key, &from, "+", 64).await.unwrap();
                let Some(last) = page.last() else { break };
                from = format!("({}", last.id);
                for entry in &page {
                    lines.extend_from_slice(&entry.fields[0].1[64..]);
                }
            }
            let content = zstd::bulk::compress(&lines, 3).unwrap();
            black_box(digest::digest(&digest::SHA256, &content));
            black_box(digest::digest(&digest::SHA256, &lines));
            plain += lines.len() as u64;
            packed += content.len() as u64;
        }
        let floor = begun.elapsed();
        let steps = Mutex::new(Steps::default());
        let begun = Instant::now();
        let archiver = log.archiver().unwrap();
        let tell = |step: &Step, moment: Moment| steps.lock().unwrap().tell(step, moment);
        let archived = archiver.run_observed(&tell).await.unwrap();
        let ours = begun.elapsed();
        assert_eq!(archived.entries, count);
        println!("  {}", steps.into_inner().unwrap().told(ours));
        let objects = stored(&bucket).await;
        println!(
            "archiver, {count} entries, {} MB, into {}: floor {:.0}/s; {:.0}/s, ratio {:.2} (goal 0.6); most \
             memory so far {} MiB; archive {objects} bytes, plain zstd {packed}, ratio {:.3} (goal 1.1)",
            plain / 1_000_000,
            if is_disk { "files" } else { "memory" },
            rate(count, floor),
            rate(count, ours),
            floor.as_secs_f64() / ours.as_secs_f64(),
            greatest_memory(),
            rate(objects, floor) / rate(packed, floor),
        );
        server.command(&["FLUSHALL"]);
    }
}

/// How long the archiver was in which step.
#[derive(Default)]
struct Steps {
    begun: Option<Instant>,
    took: BTreeMap<&'static str, Duration>,
}

impl Steps {
    fn tell(&mut self, step: &Step, moment: Moment) -> ControlFlow<()> {
        let name = match step {
            Step::Pack(_) => "packing",
            Step::Object(_) => "objects",
            Step::Manifest(_) => "manifests",
            Step::Tiles(_) => "tiles",
            Step::Checkpoint(_) => "checkpoints",
            Step::Gate(_) => "gate",
            _ => "else",
        };
        match (moment, self.begun.take()) {
            (Moment::Before, _) => self.begun = Some(Instant::now()),
            (Moment::After, Some(begun)) => *self.took.entry(name).or_default() += begun.elapsed(),
            (Moment::After, None) => {}
        }
        ControlFlow::Continue(())
    }

    fn told(&self, whole: Duration) -> String {
        let known: Duration = self.took.values().sum();
        let steps = self.took.iter().map(|(name, took)| format!("{name} {} ms", took.as_millis()));
        let steps = steps.collect::<Vec<_>>().join(", ");
        format!("{steps}, between them {} ms", whole.saturating_sub(known).as_millis())
    }
}

/// Bytes of all objects with entries.
async fn stored(bucket: &Objects) -> u64 {
    let mut sum = 0;
    let mut after = None;
    loop {
        let page = bucket.list("audit/v1/category=", after.as_deref(), 1000).await.unwrap();
        sum += page.objects.iter().map(|object| object.size).sum::<u64>();
        after = page.next;
        if after.is_none() {
            return sum;
        }
    }
}

/// The price of sealed fields in the archive.
async fn sealing(scale: Scale) {
    let count = scale.of(64_000, 320);
    let mut sizes = Vec::new();
    for is_sealed in [false, true] {
        let bucket = Objects::memory();
        let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket, is_sealed).await;
        record(&log, 0..count).await;
        log.seal_and_archive().await.unwrap();
        sizes.push(stored(&bucket).await);
    }
    println!(
        "archive: {} bytes an entry; with sealed fields {}, ratio {:.2}",
        sizes[0] / count,
        sizes[1] / count,
        rate(sizes[1], Duration::from_secs(1)) / rate(sizes[0], Duration::from_secs(1))
    );
}

/// One actor in one hour, over an archive of many.
async fn query(scale: Scale, is_long: bool) {
    let count = if is_long { 10_000_000 } else { scale.of(100_000, 640) };
    let directory = tempfile::tempdir().unwrap();
    let bucket = Objects::local(directory.path()).unwrap();
    let keys = RootKeys::ephemeral().unwrap();
    let fresh = || Arc::new(EmbeddedStore::memory().unwrap());
    let mut log = log_of(&keys, fresh(), &bucket, false).await;
    let step = 100_000.min(count);
    for from in (0..count).step_by(usize::try_from(step).unwrap()) {
        if from % 500_000 == 0 {
            // What is archived stays in the store for 90 days: another one, so that it fits.
            log = log_of(&keys, fresh(), &bucket, false).await;
        }
        record(&log, from..(from + step).min(count)).await;
        log.seal_and_archive().await.unwrap();
    }
    let middle = entry(count / 2);
    let hour = Duration::from_secs(3600);
    let asked = Query::new()
        .with_actor(middle.actor.clone())
        .with_from(middle.occurred_at)
        .with_to(middle.occurred_at.checked_add(hour).unwrap())
        .with_limit(1000);
    let mut best = Duration::MAX;
    let mut told = String::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let page = log.query(&asked).await.unwrap();
        best = best.min(begun.elapsed());
        assert!(!page.records.is_empty());
        told = format!(
            "{} records, {} of {} objects read",
            page.records.len(),
            page.objects_read,
            page.objects_total
        );
    }
    println!("query of one actor in one hour over {count} entries: {best:?}, {told} (goal 1 s)");
}

/// Whether a measurement is asked for: all are, unless some are named.
fn is_asked(name: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let Some(first) = named.next() else { return true };
    first == name || named.any(|argument| argument == name)
}

fn main() {
    let (scale, is_long) = Scale::new();
    if is_asked("caller") {
        caller(scale);
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if watchdog_storage::testing::redis::is_available() {
            let server = RedisServer::start();
            if is_asked("appends") {
                appends(&server, scale).await;
            }
            if is_asked("idle") {
                idle(&server, scale).await;
            }
            if is_asked("memory") {
                memory(&server, scale).await;
            }
            if is_asked("archiver") {
                archiver(&server, scale).await;
            }
        }
        if is_asked("sealing") {
            sealing(scale).await;
        }
        if is_asked("query") {
            query(scale, is_long).await;
        }
    });
}
