//! A primary dies or hangs, in a Cluster and under Sentinel: the client goes on by itself.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]
#![expect(clippy::print_stdout, reason = "the measured outage is worth reading")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use watchdog_storage::ErrorKind;
use watchdog_storage::redis::{Key, Redis, RedisConfig, Script};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisCluster, RedisSentinel, RedisServer, is_available};

/// Longest time without service after a primary died, of which the servers themselves take 2 to
/// 3 s to agree on a new one.
const OUTAGE: Duration = Duration::from_secs(12);

static COUNT: Script = Script::new("test.count.v1", "return redis.call('INCR', KEYS[1])");

async fn client(url: &str) -> (Redis, Key) {
    let redis = Redis::connect(&RedisConfig::from_url(url).unwrap()).await.unwrap();
    let key = redis.keys().key("count", "t", &[]);
    (redis, key)
}

/// Calls every few milliseconds until the script answered again, and then some more. Gives back
/// the outage, and how often each error came.
async fn watch_outage(redis: &Redis, key: &Key, killed: Instant) -> (Duration, Errors) {
    let mut errors = Errors::default();
    loop {
        match redis.call(&COUNT, &[key], &[]).await {
            Ok(answer) => {
                assert!(answer.integer().is_ok());
                break;
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                *errors.entry(format!("{:?}", error.kind())).or_default() += 1;
            }
        }
        assert!(killed.elapsed() < OUTAGE, "still not served: {errors:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let outage = killed.elapsed();
    for _ in 0..100 {
        redis.call(&COUNT, &[key], &[]).await.unwrap();
    }
    (outage, errors)
}

type Errors = BTreeMap<String, u32>;

#[tokio::test(flavor = "multi_thread")]
async fn cluster_primary_killed() {
    if !is_available() {
        return;
    }
    let mut cluster = RedisCluster::start();
    let (redis, key) = client(&cluster.url()).await;
    redis.call(&COUNT, &[&key], &[]).await.unwrap();
    let under_way: Vec<_> = (0..50).map(|_| call_until_it_fails(&redis, &key)).collect();
    let killed = cluster.kill_primary_of(key.slot());
    let results = outcomes(under_way).await;
    let (outage, errors) = watch_outage(&redis, &key, killed).await;
    println!("cluster: served again after {outage:?}; in flight {results:?}; meanwhile {errors:?}");
    // The replica that took over has no scripts: the fallback sent it in full.
    let primary = cluster.primary_of(key.slot()).unwrap();
    assert_fallback(primary);
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_primary_killed() {
    if !is_available() {
        return;
    }
    let mut deployment = RedisSentinel::start();
    let (redis, key) = client(&deployment.url()).await;
    redis.call(&COUNT, &[&key], &[]).await.unwrap();
    let under_way: Vec<_> = (0..50).map(|_| call_until_it_fails(&redis, &key)).collect();
    let killed = deployment.kill_primary();
    let results = outcomes(under_way).await;
    let (outage, errors) = watch_outage(&redis, &key, killed).await;
    println!(
        "sentinel: served again after {outage:?}; in flight {results:?}; meanwhile {errors:?}"
    );
    assert_fallback(deployment.primary());
}

/// A Cluster node that comes back without Cluster mode ends the client for good: another one
/// takes its place once the node is right again.
#[tokio::test]
async fn client_that_stopped_for_good_is_replaced() {
    if !is_available() {
        return;
    }
    let mut server = RedisServer::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-announce-ip",
        "127.0.0.1",
    ]);
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let ok = |server: &RedisServer| {
        server.command(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok")
    };
    watchdog_storage::testing::wait_until("the node serves", OUTAGE, || ok(&server));
    let url = server.url().replace("redis://", "redis-cluster://");
    let config = RedisConfig {
        reconnect_max: Duration::from_millis(200),
        ..RedisConfig::from_url(&url).unwrap()
    };
    let redis = Redis::connect(&config).await.unwrap();
    let key = redis.keys().key("k", "t", &[]);
    redis.get(&key).await.unwrap();
    server.restart_with(&["--cluster-enabled", "no"]);
    let error = redis.get(&key).await.unwrap_err();
    println!("without cluster mode: {error:?}");
    server.restart_with(&["--cluster-enabled", "yes"]);
    watchdog_storage::testing::wait_until("the node serves again", OUTAGE, || ok(&server));
    watchdog_storage::testing::eventually("another client serves", OUTAGE, async || {
        redis.get(&key).await.is_ok()
    })
    .await;
}

/// Keeps a few calls under way until the end, whatever becomes of them: the client's own check for
/// silent connections is put off by each.
struct Steady(Vec<JoinHandle<()>>);

impl Steady {
    fn start(redis: &Redis, key: &Key, callers: u32) -> Self {
        let one = |_| {
            let (redis, key) = (redis.clone(), key.clone());
            tokio::spawn(async move {
                loop {
                    let _ = redis.call(&COUNT, &[&key], &[]).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        };
        Self((0..callers).map(one).collect())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Calls another shard until the task is stopped; gives back how often it was not served.
fn watch_others(redis: &Redis, frozen: &Key, cluster: &RedisCluster) -> JoinHandle<u32> {
    let hangs = cluster.primary_of(frozen.slot()).unwrap().port();
    let key = (0..)
        .map(|index: u32| redis.keys().key("count", &index.to_string(), &[]))
        .find(|key| cluster.primary_of(key.slot()).unwrap().port() != hangs)
        .unwrap();
    let redis = redis.clone();
    tokio::spawn(async move {
        let (mut failed, start) = (0, Instant::now());
        while start.elapsed() < Duration::from_secs(4) {
            failed += u32::from(redis.call(&COUNT, &[&key], &[]).await.is_err());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        failed
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_primary_hangs() {
    if !is_available() {
        return;
    }
    let cluster = RedisCluster::start();
    // Else all nodes refuse for a moment, which has the client look for a new primary anyway.
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let (redis, key) = client(&cluster.url()).await;
    redis.call(&COUNT, &[&key], &[]).await.unwrap();
    let steady = Steady::start(&redis, &key, 10);
    let others = watch_others(&redis, &key, &cluster);
    let reconnections = redis.reconnections();
    cluster.primary_of(key.slot()).unwrap().pause();
    let (outage, errors) = watch_outage(&redis, &key, Instant::now()).await;
    drop(steady);
    let failed = others.await.unwrap();
    println!("cluster: served again after {outage:?}, meanwhile {errors:?}; others {failed}");
    assert!(failed <= 1, "{failed} calls to the other shards failed");
    assert!(*reconnections.borrow() >= 1, "who writes again has to be told");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_primary_hangs() {
    if !is_available() {
        return;
    }
    let deployment = RedisSentinel::start();
    let (redis, key) = client(&deployment.url()).await;
    redis.call(&COUNT, &[&key], &[]).await.unwrap();
    let steady = Steady::start(&redis, &key, 10);
    let reconnections = redis.reconnections();
    deployment.primary().pause();
    let (outage, errors) = watch_outage(&redis, &key, Instant::now()).await;
    drop(steady);
    println!("sentinel: served again after {outage:?}, meanwhile {errors:?}");
    assert!(*reconnections.borrow() >= 1, "who writes again has to be told");
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_server_hangs_and_thaws_or_is_restarted() {
    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let (redis, key) = client(&server.url()).await;
    redis.call(&COUNT, &[&key], &[]).await.unwrap();
    let _steady = Steady::start(&redis, &key, 10);
    for restart in [false, true] {
        server.pause();
        // Longer than it takes to give the connection up.
        tokio::time::sleep(Duration::from_millis(3500)).await;
        if restart {
            server.kill();
            server.restart();
        } else {
            server.resume();
        }
        let (outage, errors) = watch_outage(&redis, &key, Instant::now()).await;
        println!("restarted {restart}: served again after {outage:?}, meanwhile {errors:?}");
        assert!(outage < Duration::from_secs(5), "{outage:?}");
    }
}

/// A client of a server behind a proxy that holds back each answer, with steady calls; how many
/// connections it made, and how many calls were served in the end.
async fn connections_to_a_slow_server(delay: Duration, span: Duration) -> Option<(u64, u64)> {
    if !is_available() {
        return None;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let config = RedisConfig {
        command_timeout: Duration::from_millis(500),
        ..RedisConfig::from_url(&url).unwrap()
    };
    let redis = Redis::connect(&config).await.unwrap();
    let key = redis.keys().key("count", "t", &[]);
    redis.call(&COUNT, &[&key], &[]).await.unwrap();
    proxy.set(Fault::Delay { to_server: Duration::ZERO, to_client: delay });
    // The proxy holds back one answer after the other: one caller has exactly this delay.
    let _steady = Steady::start(&redis, &key, 1);
    tokio::time::sleep(span).await;
    Some((proxy.connections(), server.calls().get("evalsha").copied().unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_server_within_the_timeout_is_never_left() {
    let (delay, span) = (Duration::from_millis(450), Duration::from_secs(4));
    let Some((connections, calls)) = connections_to_a_slow_server(delay, span).await else {
        return;
    };
    println!("{connections} connections, {calls} calls");
    assert_eq!(connections, 1);
    assert!(calls >= 7, "{calls}");
}

/// Answers come, but always too late: another connection is tried, ever more rarely.
#[tokio::test(flavor = "multi_thread")]
async fn server_beyond_the_timeout_sees_no_storm_of_connections() {
    let (delay, span) = (Duration::from_millis(600), Duration::from_secs(7));
    let Some((connections, _)) = connections_to_a_slow_server(delay, span).await else { return };
    println!("{connections} connections");
    // The first one, and after 1.5 s at the earliest, 1 s, 2 s and 4 s more.
    assert!((2..=4).contains(&connections), "{connections}");
}

/// A client that starts while nobody serves the slots of the dead primary is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn connecting_during_a_takeover_is_worth_another_try() {
    if !is_available() {
        return;
    }
    let mut cluster = RedisCluster::start();
    let config = RedisConfig::from_url(&cluster.url()).unwrap();
    let killed = cluster.kill_primary_of(0);
    let mut errors = Errors::default();
    while let Err(error) = Redis::connect(&config).await {
        assert!(error.is_retryable(), "{error:?}");
        *errors.entry(format!("{:?}", error.kind())).or_default() += 1;
        assert!(killed.elapsed() < OUTAGE, "{errors:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("connected after {:?}, meanwhile {errors:?}", killed.elapsed());
    assert!(!errors.is_empty(), "the takeover was over before it began");
}

type Load = JoinHandle<(ErrorKind, Duration)>;

/// Keeps one call under way at any time; ends with the first that fails, and how long it took.
fn call_until_it_fails(redis: &Redis, key: &Key) -> Load {
    let (redis, key) = (redis.clone(), key.clone());
    tokio::spawn(async move {
        loop {
            let start = Instant::now();
            if let Err(error) = redis.call(&COUNT, &[&key], &[]).await {
                return (error.kind(), start.elapsed());
            }
        }
    })
}

/// How the calls ended that were under way: each within its timeout, none hangs.
async fn outcomes(load: Vec<Load>) -> Errors {
    let mut outcomes = Errors::default();
    for call in load {
        let (kind, took) = call.await.unwrap();
        assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::CommandTimeout), "{kind:?}");
        assert!(took < Duration::from_millis(1500), "a call took {took:?}");
        *outcomes.entry(format!("{kind:?}")).or_default() += 1;
    }
    outcomes
}

fn assert_fallback(primary: &RedisServer) {
    let calls = primary.calls();
    assert!(calls.get("eval").is_some_and(|&calls| calls >= 1), "{calls:?}");
    assert!(calls["evalsha"] > 100, "{calls:?}");
}
