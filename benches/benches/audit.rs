//! Acknowledged audit appends beside their floor: the same bytes by raw pipelined `XADD`.
//!
//! Sixty-four tasks record at once. The log numbers, seals, batches and acknowledges; the floor
//! only sends. At the end the ratio of both, measured in one run, is printed.
#![expect(clippy::unwrap_used, reason = "a bench states what it expects")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use uuid::Uuid;
use watchdog_audit::segment::SegmentId;
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, MirrorLevel, RedisStore, SegmentStore};
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};
use watchdog_core::{Clock as _, RootKeys, SystemClock};
use watchdog_storage::redis::{Key, Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

const TASKS: u64 = 64;

fn entry() -> Entry {
    let now = SystemClock.now();
    let (actor, resource) = (Actor::user("alice"), Resource::new("session", "0123456789abcdef"));
    Entry::new(Uuid::now_v7(), now, Category::Access, actor, "session.authenticated", resource)
        .with_outcome(Outcome::Success)
        .with_client(Client::new(Some([192, 0, 2, 7].into()), Some("bench".into())))
}

async fn log(store: Arc<dyn SegmentStore>, is_sealed: bool) -> AuditLog {
    let config = AuditConfig {
        encryption_enabled: is_sealed,
        log_level: MirrorLevel::Off,
        ..AuditConfig::default()
    };
    AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store)
        .with_encryption(&RootKeys::ephemeral().unwrap())
        .without_background()
        .build()
        .await
        .unwrap()
}

/// Runs `one` `count` times on [`TASKS`] tasks and answers how long that took.
async fn together<F>(count: u64, one: impl Fn() -> F + Clone + Send + 'static) -> Duration
where
    F: Future<Output = ()> + Send,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let one = one.clone();
            let share = count / TASKS + u64::from(task < count % TASKS);
            tokio::spawn(async move {
                for _ in 0..share {
                    one().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed()
}

async fn recorded(log: AuditLog, count: u64) -> Duration {
    together(count, move || {
        let log = log.clone();
        async move {
            black_box(log.record(entry()).await.unwrap());
        }
    })
    .await
}

async fn added(redis: Redis, key: Key, line: Bytes, count: u64) -> Duration {
    together(count, move || {
        let (redis, key, line) = (redis.clone(), key.clone(), line.clone());
        async move {
            black_box(redis.xadd(&key, &[("d", line)]).await.unwrap());
        }
    })
    .await
}

/// The bytes of one stored line.
async fn stored_line(log: &AuditLog) -> Bytes {
    let receipt = log.record(entry()).await.unwrap();
    let segment = SegmentId { partition: receipt.partition, number: 1 };
    let frames = log.store().frames(segment, None, 1).await.unwrap();
    Bytes::copy_from_slice(frames[0].1.lines().next().unwrap())
}

fn on_redis(criterion: &mut Criterion) {
    let Some(server) = shared() else { return };
    let runtime = Runtime::new().unwrap();
    let connect = |prefix: &str| {
        let mut config = RedisConfig::from_url(&server.url()).unwrap();
        config.key_prefix = prefix.into();
        runtime.block_on(Redis::connect(&config)).unwrap()
    };
    let redis = connect("floor");
    let make = |prefix: &str, is_sealed| {
        runtime.block_on(log(Arc::new(RedisStore::new(connect(prefix), 1)), is_sealed))
    };
    let (sealed, plain) = (make("sealed", true), make("plain", false));
    let line = runtime.block_on(stored_line(&plain));
    let key = redis.keys().key("bench", "0", &[]);

    let mut group = criterion.benchmark_group("audit/redis");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    group.bench_function("floor_xadd", |bencher| {
        bencher
            .to_async(&runtime)
            .iter_custom(|count| added(redis.clone(), key.clone(), line.clone(), count));
    });
    for (name, log) in [("record_plain", &plain), ("record_sealed", &sealed)] {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_custom(|count| recorded(log.clone(), count));
        });
    }
    group.finish();
    runtime.block_on(ratio(&redis, &key, &line, &plain, &sealed));
}

/// Alternates floor and log, and prints the ratio of the best rounds.
async fn ratio(redis: &Redis, key: &Key, line: &Bytes, plain: &AuditLog, sealed: &AuditLog) {
    const COUNT: u64 = 6400;
    let mut best = [Duration::MAX; 3];
    for _ in 0..5 {
        let round = [
            added(redis.clone(), key.clone(), line.clone(), COUNT).await,
            recorded(plain.clone(), COUNT).await,
            recorded(sealed.clone(), COUNT).await,
        ];
        redis.del(key).await.unwrap();
        for (best, took) in best.iter_mut().zip(round) {
            *best = took.min(*best);
        }
    }
    let rate = best.map(|took| f64::from(u32::try_from(COUNT).unwrap()) / took.as_secs_f64());
    println!(
        "audit append on redis, {TASKS} tasks, {} bytes a line: raw XADD {:.0}/s; record {:.0}/s, \
         ratio {:.2}; record with sealed fields {:.0}/s, ratio {:.2}",
        line.len(),
        rate[0],
        rate[1],
        rate[1] / rate[0],
        rate[2],
        rate[2] / rate[0],
    );
}

fn on_a_file(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let log = runtime.block_on(log(Arc::new(store), true));
    let mut group = criterion.benchmark_group("audit/embedded");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    group.bench_function("record_sealed", |bencher| {
        bencher.to_async(&runtime).iter_custom(|count| recorded(log.clone(), count));
    });
    group.finish();
}

criterion_group!(benches, on_redis, on_a_file);
criterion_main!(benches);
