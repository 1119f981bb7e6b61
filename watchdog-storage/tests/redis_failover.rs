//! A primary dies, in a Cluster and under Sentinel: the client goes on by itself.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]
#![expect(clippy::print_stdout, reason = "the measured outage is worth reading")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use watchdog_storage::ErrorKind;
use watchdog_storage::redis::{Key, Redis, RedisConfig, Script};
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
