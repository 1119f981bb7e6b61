//! Sessions beside their floors: a token checked without a store, an authenticated request beside
//! a raw `HMGET` of the same record, a rotation beside a raw script that reads and writes the same
//! bytes. All through the same client, in the same run; the ratios stand at the end.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench stops at what it did not expect, and prints what it found"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use tokio::runtime::Runtime;
use watchdog_core::KeyRing;
use watchdog_session::{
    Client, Issued, Location, Place, RedisStore, SessionConfig, SessionId, SessionParts, Sessions,
    Subject, TokenKeys,
};
use watchdog_storage::redis::{Arg, Key, Redis, RedisConfig, Script};
use watchdog_storage::testing::redis::shared;

/// Reads and writes as many bytes as a rotation does, and decides nothing.
static FLOOR: Script = Script::new(
    "bench.session.floor.v1",
    "local r = redis.call('HGET', KEYS[1], ARGV[1]) \
     redis.call('HSET', KEYS[1], ARGV[1], r) return { 'ok', 0, r }",
);

const TASKS: usize = 64;

struct Bench {
    runtime: Runtime,
    sessions: Sessions,
    redis: Redis,
    issued: Vec<Issued>,
    places: Vec<(Key, String)>,
}

fn client() -> Client {
    Client::new("192.0.2.1".parse().ok(), Some("Mozilla/5.0 Firefox/142.0".into()))
}

/// `None` where Redis is not installed.
fn bench() -> Option<Bench> {
    let server = shared()?;
    let runtime = Runtime::new().unwrap();
    let config = RedisConfig::from_url(&server.url()).unwrap();
    let redis = runtime.block_on(Redis::connect(&config)).unwrap();
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys)
        .store(Arc::new(RedisStore::new(redis.clone())))
        .config(SessionConfig { grace: Duration::ZERO, ..SessionConfig::default() })
        .build()
        .unwrap();
    let tokens = TokenKeys::new(&keys.secret).unwrap();
    let (mut issued, mut places) = (Vec::new(), Vec::new());
    for user in 0..TASKS {
        let subject = Subject::user(format!("user-{user}"));
        let one = runtime.block_on(sessions.issue(subject, &client())).unwrap();
        let place = tokens.session_parts(one.session_token.expose()).unwrap().place;
        let tag = place.location.bucket.to_string();
        let key = redis.keys().key("u", &tag, &[&place.location.user_text()]);
        places.push((key, format!("s:{}", place.session)));
        issued.push(one);
    }
    Some(Bench { runtime, sessions, redis, issued, places })
}

fn tokens(criterion: &mut Criterion) {
    let ring = KeyRing::ephemeral().unwrap();
    let keys = TokenKeys::new(&ring.secret).unwrap();
    let location = Location { bucket: 7, user: [1; 16] };
    let place = Place { location, session: SessionId::from_bytes([2; 16]) };
    let parts = SessionParts { place, secret: [3; 16] };
    let token = keys.session_token(&parts);
    let forged = format!("A{}", &token.expose()[1..]);
    let refresh = keys.first_refresh(place).unwrap();
    let mut group = criterion.benchmark_group("session/token");
    group.bench_function("mint", |b| b.iter(|| keys.session_token(black_box(&parts))));
    group.bench_function("check", |b| b.iter(|| keys.session_parts(black_box(token.expose()))));
    group.bench_function("check forged", |b| b.iter(|| keys.session_parts(black_box(&forged))));
    group.bench_function("successor", |b| b.iter(|| keys.successor(black_box(&refresh))));
    group.finish();

    let sessions = Sessions::builder(&ring).build().unwrap();
    let runtime = Runtime::new().unwrap();
    let issued = runtime.block_on(sessions.issue(Subject::user("alice"), &client())).unwrap();
    let access = issued.access_token.expose();
    let mut group = criterion.benchmark_group("session/access token");
    group.bench_function("check", |b| b.iter(|| sessions.authenticate_access(black_box(access))));
    group.finish();
}

fn on_redis(criterion: &mut Criterion) {
    let Some(bench) = bench() else { return };
    let (token, (key, field)) = (bench.issued[0].session_token.expose(), &bench.places[0]);
    let client = client();
    let fields: [&[u8]; 2] = [field.as_bytes(), b"e"];
    let mut group = criterion.benchmark_group("session/redis");
    group.bench_function("authenticate", |b| {
        b.to_async(&bench.runtime).iter(|| bench.sessions.authenticate(token, &client));
    });
    group.bench_function("floor: HMGET", |b| {
        b.to_async(&bench.runtime).iter(|| bench.redis.hmget(key, &fields));
    });
    let mut refresh = bench.issued[0].refresh_token.clone();
    group.bench_function("rotate", |b| {
        b.iter(|| {
            let call = bench.sessions.rotate(refresh.expose(), &client);
            refresh = bench.runtime.block_on(call).unwrap().refresh_token;
        });
    });
    group.bench_function("floor: script", |b| {
        let args = [Arg::from(&**field)];
        b.iter(|| bench.runtime.block_on(bench.redis.call(&FLOOR, &[key], &args)).unwrap());
    });
    group.finish();
}

/// Calls per second with 64 tasks, each making `calls`.
fn throughput<F>(runtime: &Runtime, calls: u32, work: impl Fn(usize, u32) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(work(task, calls))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    f64::from(calls) * TASKS as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Both in turn, so that what else the machine does meets both.
fn print_ratio(
    name: &str,
    rounds: u32,
    mut ours: impl FnMut() -> f64,
    mut floor: impl FnMut() -> f64,
) {
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    let ratios = (0..rounds).map(|_| {
        let (one, other) = (ours(), floor());
        slow.push(one);
        fast.push(other);
        one / other
    });
    let ratio = median(ratios.collect());
    println!(
        "{name}: {ratio:.2} x its floor ({:.0}/s beside {:.0}/s, {TASKS} tasks, median of {rounds})",
        median(slow),
        median(fast),
    );
}

fn ratios() {
    let Some(bench) = bench() else { return };
    let is_measuring = std::env::args().any(|argument| argument == "--bench");
    let (rounds, calls) = if is_measuring { (9, 400) } else { (1, 4) };
    let authenticate = || {
        throughput(&bench.runtime, calls, |task, calls| {
            let (sessions, token) =
                (bench.sessions.clone(), bench.issued[task].session_token.clone());
            async move {
                let client = client();
                for _ in 0..calls {
                    sessions.authenticate(token.expose(), &client).await.unwrap();
                }
            }
        })
    };
    let hmget = || {
        throughput(&bench.runtime, calls, |task, calls| {
            let (redis, (key, field)) = (bench.redis.clone(), bench.places[task].clone());
            async move {
                let fields: [&[u8]; 2] = [field.as_bytes(), b"e"];
                for _ in 0..calls {
                    redis.hmget(&key, &fields).await.unwrap();
                }
            }
        })
    };
    print_ratio("authenticate beside HMGET", rounds, authenticate, hmget);

    let refresh: Vec<_> = bench
        .issued
        .iter()
        .map(|issued| Arc::new(tokio::sync::Mutex::new(issued.refresh_token.clone())))
        .collect();
    let rotate = || {
        throughput(&bench.runtime, calls, |task, calls| {
            let (sessions, refresh) = (bench.sessions.clone(), Arc::clone(&refresh[task]));
            async move {
                let (client, mut token) = (client(), refresh.lock().await);
                for _ in 0..calls {
                    *token = sessions.rotate(token.expose(), &client).await.unwrap().refresh_token;
                }
            }
        })
    };
    let script = || {
        throughput(&bench.runtime, calls, |task, calls| {
            let (redis, (key, field)) = (bench.redis.clone(), bench.places[task].clone());
            async move {
                for _ in 0..calls {
                    redis.call(&FLOOR, &[&key], &[Arg::from(&*field)]).await.unwrap();
                }
            }
        })
    };
    print_ratio("rotate beside a script that reads and writes the record", rounds, rotate, script);
}

criterion_group!(benches, tokens, on_redis);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratios();
}
