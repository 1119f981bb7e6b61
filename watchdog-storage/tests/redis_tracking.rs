//! Being told of changes, against every kind of deployment.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]
#![expect(clippy::print_stdout, reason = "the measured times are worth reading")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use watchdog_core::Secret;
use watchdog_storage::redis::{Invalidations, Redis, RedisConfig, Script, Tracking};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{
    RedisCluster, RedisSentinel, RedisServer, is_available, shared, shared_cluster,
};

const SOON: Duration = Duration::from_secs(5);
/// Longest time until a promoted replica is tracked; the servers take 2 to 3 s to agree on it.
const OUTAGE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Changed(String),
    Lost,
    Restored,
}

/// Writes down what it is told, and when.
#[derive(Debug, Default)]
struct Listener(Mutex<Vec<(Told, Instant)>>);

impl Listener {
    fn add(&self, told: Told) {
        self.0.lock().unwrap().push((told, Instant::now()));
    }

    fn all(&self) -> Vec<Told> {
        self.0.lock().unwrap().iter().map(|(told, _)| told.clone()).collect()
    }

    /// Changes apart.
    fn turns(&self) -> Vec<Told> {
        self.all().into_iter().filter(|told| !matches!(told, Told::Changed(_))).collect()
    }

    fn last(&self, wanted: &Told) -> Option<Instant> {
        let told = self.0.lock().unwrap();
        told.iter().rev().find(|(told, _)| told == wanted).map(|(_, at)| *at)
    }

    fn heard(&self, key: &str) -> bool {
        self.all().contains(&Told::Changed(key.to_owned()))
    }

    fn is_standing(&self) -> bool {
        self.turns().last() == Some(&Told::Restored)
    }

    async fn until_standing(&self, limit: Duration) {
        eventually("tracking stands", limit, async || self.is_standing()).await;
    }

    async fn until_lost(&self, limit: Duration) {
        eventually("the loss is noticed", limit, async || !self.is_standing()).await;
    }

    async fn until_heard(&self, key: &str) {
        eventually("the change is told", SOON, async || self.heard(key)).await;
    }
}

impl Invalidations for Listener {
    fn changed(&self, key: &[u8]) {
        self.add(Told::Changed(String::from_utf8_lossy(key).into_owned()));
    }

    fn lost(&self) {
        self.add(Told::Lost);
    }

    fn restored(&self) {
        self.add(Told::Restored);
    }
}

fn config(url: &str) -> RedisConfig {
    RedisConfig::from_url(url).unwrap()
}

async fn tracked(config: &RedisConfig, kinds: &[&str]) -> (Redis, Tracking, Arc<Listener>) {
    let redis = Redis::connect(config).await.unwrap();
    let prefixes: Vec<String> = kinds.iter().map(|kind| redis.keys().prefix_of(kind)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let listener = Arc::new(Listener::default());
    let to: Arc<dyn Invalidations> = Arc::clone(&listener) as _;
    let tracking = redis.track(&prefixes, to);
    listener.until_standing(SOON).await;
    assert!(tracking.confirmed_at().is_some());
    (redis, tracking, listener)
}

/// Writes a key of kind `k` and waits until its change is told.
async fn hears(redis: &Redis, listener: &Listener, tag: &str) {
    let key = redis.keys().key("k", tag, &[]);
    eventually("a write", OUTAGE, async || redis.set(&key, Bytes::from("x"), None).await.is_ok())
        .await;
    listener.until_heard(key.as_str()).await;
}

#[tokio::test]
async fn writes_scripts_removals_and_expiry_are_told_under_the_prefixes_only() {
    static INCR: Script = Script::new("test.tracked.v1", "return redis.call('INCR', KEYS[1])");
    let Some(server) = shared() else { return };
    let prefix = format!("t{}", server.port());
    let config = RedisConfig { key_prefix: prefix, ..config(&server.url()) };
    let (redis, tracking, listener) = tracked(&config, &["k", "l"]).await;
    let key = |kind: &str, tag: &str| redis.keys().key(kind, tag, &[]);
    redis.call(&INCR, &[&key("k", "script")], &[]).await.unwrap();
    redis.set(&key("other", "1"), Bytes::from("x"), None).await.unwrap();
    redis.set(&key("kk", "1"), Bytes::from("x"), None).await.unwrap();
    let short = Some(Duration::from_millis(1));
    redis.set(&key("l", "short"), Bytes::from("x"), short).await.unwrap();
    redis.del(&key("k", "script")).await.unwrap();
    redis.set(&key("l", "last"), Bytes::from("x"), None).await.unwrap();
    listener.until_heard(key("l", "last").as_str()).await;
    let count = |wanted: &str| {
        let wanted = Told::Changed(wanted.to_owned());
        listener.all().into_iter().filter(|told| *told == wanted).count()
    };
    assert_eq!(count(key("k", "script").as_str()), 2);
    // Once written, once expired, whenever the server gets to it.
    eventually("it expires", SOON, async || count(key("l", "short").as_str()) == 2).await;
    for other in ["other", "kk"] {
        assert_eq!(count(key(other, "1").as_str()), 0);
    }
    assert_eq!(listener.turns(), [Told::Restored]);
    drop(tracking);
    assert_eq!(listener.turns(), [Told::Restored, Told::Lost]);
}

/// What `confirmed_at` promises: a change made before that instant has been told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_was_told() {
    let Some(server) = shared() else { return };
    let prefix = format!("c{}", server.port());
    let config = RedisConfig { key_prefix: prefix, ..config(&server.url()) };
    let (redis, tracking, listener) = tracked(&config, &["k"]).await;
    let mut worst = Duration::ZERO;
    for round in 0..8 {
        let key = redis.keys().key("k", &round.to_string(), &[]);
        redis.set(&key, Bytes::from("x"), None).await.unwrap();
        let written = Instant::now();
        while tracking.confirmed_at().unwrap() < written {
            worst = worst.max(tracking.confirmed_at().unwrap().elapsed());
            tokio::task::yield_now().await;
        }
        assert!(listener.heard(key.as_str()), "round {round}");
    }
    println!("confirmed at most {worst:?} back");
    assert!(worst < Duration::from_millis(1500), "{worst:?}");
}

#[tokio::test]
async fn a_burst_of_changes_is_told_whole() {
    static MANY: Script = Script::new(
        "test.many.v1",
        "for i = 1, 20000 do redis.call('SET', KEYS[1] .. ':' .. i, 'x', 'PX', 60000) end return 1",
    );
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let (redis, _tracking, listener) = tracked(&config(&server.url()), &["k"]).await;
    let key = redis.keys().key("k", "burst", &[]);
    redis.call(&MANY, &[&key], &[]).await.unwrap();
    // All of them arrive in one push.
    eventually("all are told", SOON, async || listener.all().len() >= 20_001).await;
    for last in [1, 20_000] {
        assert!(listener.heard(&format!("{key}:{last}")));
    }
    assert_eq!(listener.turns(), [Told::Restored]);
}

#[tokio::test]
async fn a_flush_is_a_loss_that_is_over_at_once() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let (_redis, tracking, listener) = tracked(&config(&server.url()), &["k"]).await;
    for command in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"]] {
        server.command(command);
    }
    let expected =
        [Told::Restored, Told::Lost, Told::Restored, Told::Lost, Told::Restored].to_vec();
    eventually("both flushes are told", SOON, async || listener.turns() == expected).await;
    assert!(tracking.confirmed_at().is_some());
}

#[tokio::test]
async fn tls_and_a_user_with_a_password() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_tls();
    let (url, authority) = server.tls_url();
    let config = RedisConfig { tls_ca: Some(authority.to_owned()), ..config(&url) };
    let (redis, _tracking, listener) = tracked(&config, &["k"]).await;
    hears(&redis, &listener, "tls").await;
    server.command(&["ACL", "SETUSER", "default", ">secret", "resetpass", ">pass"]);
    let login = RedisConfig { password: Some(Secret::from("pass")), ..config };
    let (redis, _second, listener) = tracked(&login, &["k"]).await;
    hears(&redis, &listener, "password").await;

    let server = RedisServer::start_with_user("watchdog", "right");
    let user = RedisConfig {
        username: Some("watchdog".to_owned()),
        password: Some(Secret::from("right")),
        db: 3,
        ..RedisConfig::from_url(&server.url()).unwrap()
    };
    let (redis, _third, listener) = tracked(&user, &["k"]).await;
    hears(&redis, &listener, "user").await;
}

#[tokio::test]
async fn a_cut_connection_is_noticed_and_made_again() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let (redis, tracking, listener) = tracked(&config(&url), &["k"]).await;
    let cut = Instant::now();
    proxy.set(Fault::Cut);
    listener.until_lost(SOON).await;
    println!("cut noticed after {:?}", listener.last(&Told::Lost).unwrap() - cut);
    assert_eq!(tracking.confirmed_at(), None);
    // Nobody hears of it: that is what the loss says.
    server.command(&["SET", redis.keys().key("k", "missed", &[]).as_str(), "x"]);
    proxy.set(Fault::Forward);
    listener.until_standing(SOON).await;
    assert!(!listener.heard(redis.keys().key("k", "missed", &[]).as_str()));
    hears(&redis, &listener, "again").await;
    assert_eq!(listener.turns(), [Told::Restored, Told::Lost, Told::Restored]);
}

#[tokio::test]
async fn a_frozen_server_is_noticed_within_one_and_a_half_seconds() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let (redis, tracking, listener) = tracked(&config(&server.url()), &["k"]).await;
    let frozen = Instant::now();
    server.pause();
    listener.until_lost(SOON).await;
    let after = listener.last(&Told::Lost).unwrap() - frozen;
    println!("frozen server noticed after {after:?}");
    assert!(after < Duration::from_millis(1500), "{after:?}");
    assert_eq!(tracking.confirmed_at(), None);
    server.resume();
    listener.until_standing(SOON).await;
    hears(&redis, &listener, "thawed").await;
}

#[tokio::test]
async fn a_demoted_primary_is_noticed() {
    if !is_available() {
        return;
    }
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let (redis, _tracking, listener) = tracked(&config(&server.url()), &["k"]).await;
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    listener.until_lost(SOON).await;
    server.command(&["REPLICAOF", "NO", "ONE"]);
    listener.until_standing(SOON).await;
    hears(&redis, &listener, "promoted").await;
}

#[tokio::test]
async fn a_restarted_server_is_tracked_again() {
    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let (redis, _tracking, listener) = tracked(&config(&server.url()), &["k"]).await;
    server.restart();
    // The test itself kept the loss from being noticed until now.
    let expected = [Told::Restored, Told::Lost, Told::Restored].to_vec();
    eventually("it is tracked again", SOON, async || listener.turns() == expected).await;
    hears(&redis, &listener, "restarted").await;
    assert_eq!(listener.turns(), expected);
}

#[tokio::test]
async fn every_shard_of_a_cluster_is_tracked() {
    let Some(cluster) = shared_cluster() else { return };
    let (redis, _tracking, listener) = tracked(&config(&cluster.url()), &["k"]).await;
    let mut shards = [false; 3];
    for tag in 0..12 {
        let tag = tag.to_string();
        hears(&redis, &listener, &tag).await;
        shards[usize::from(redis.keys().key("k", &tag, &[]).slot()) * 3 / 16_384] = true;
    }
    assert_eq!(shards, [true; 3]);
    assert_eq!(listener.turns(), [Told::Restored]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cluster_primary_is_followed_by_its_replica() {
    if !is_available() {
        return;
    }
    let mut cluster = RedisCluster::start();
    let (redis, _tracking, listener) = tracked(&config(&cluster.url()), &["k"]).await;
    hears(&redis, &listener, "before").await;
    let killed = cluster.kill_primary_of(redis.keys().key("k", "before", &[]).slot());
    listener.until_lost(SOON).await;
    listener.until_standing(OUTAGE).await;
    let standing = listener.last(&Told::Restored).unwrap() - killed;
    println!("cluster: restored after {standing:?}");
    for tag in 0..12 {
        hears(&redis, &listener, &tag.to_string()).await;
    }
    assert!(listener.is_standing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_under_sentinel_is_followed_by_the_promoted_one() {
    if !is_available() {
        return;
    }
    let mut deployment = RedisSentinel::start();
    let (redis, _tracking, listener) = tracked(&config(&deployment.url()), &["k"]).await;
    hears(&redis, &listener, "before").await;
    let killed = deployment.kill_primary();
    listener.until_lost(SOON).await;
    listener.until_standing(OUTAGE).await;
    let standing = listener.last(&Told::Restored).unwrap() - killed;
    println!("sentinel: restored after {standing:?}");
    hears(&redis, &listener, "after").await;
}

#[tokio::test]
async fn dropping_it_closes_the_connections() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let (redis, tracking, listener) = tracked(&config(&server.url()), &["k"]).await;
    let connections = || {
        let list = server.command(&["CLIENT", "LIST"]);
        list.text().matches("name=watchdog-tracking").count()
    };
    assert_eq!(connections(), 1);
    drop(tracking);
    eventually("the connection closes", SOON, async || connections() == 0).await;
    redis.set(&redis.keys().key("k", "t", &[]), Bytes::from("x"), None).await.unwrap();
    assert_eq!(listener.all(), [Told::Restored, Told::Lost]);
}

/// Panics at the first change.
#[derive(Debug, Default)]
struct Clumsy {
    listener: Listener,
    has_fallen: std::sync::atomic::AtomicBool,
}

impl Invalidations for Clumsy {
    fn changed(&self, key: &[u8]) {
        self.listener.changed(key);
        let before = self.has_fallen.swap(true, std::sync::atomic::Ordering::Relaxed);
        assert!(before, "on purpose");
    }

    fn lost(&self) {
        self.listener.lost();
    }

    fn restored(&self) {
        self.listener.restored();
    }
}

#[tokio::test]
async fn a_listener_that_panics_loses_its_connection_and_gets_another_one() {
    let Some(server) = shared() else { return };
    let prefix = format!("p{}", server.port());
    let config = RedisConfig { key_prefix: prefix, ..config(&server.url()) };
    let redis = Redis::connect(&config).await.unwrap();
    let clumsy = Arc::new(Clumsy::default());
    let to: Arc<dyn Invalidations> = Arc::clone(&clumsy) as _;
    let _tracking = redis.track(&[&redis.keys().prefix_of("k")], to);
    clumsy.listener.until_standing(SOON).await;
    hears(&redis, &clumsy.listener, "first").await;
    let turns = [Told::Restored, Told::Lost, Told::Restored];
    eventually("it stands again", SOON, async || clumsy.listener.turns() == turns).await;
    hears(&redis, &clumsy.listener, "second").await;
}

/// A Cluster node that does not say its address is the one that was asked.
#[tokio::test]
async fn nodes_are_found_that_keep_their_address_to_themselves() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-preferred-endpoint-type",
        "unknown-endpoint",
    ]);
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("the node serves", SOON, async || {
        server.command(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok")
    })
    .await;
    let url = server.url().replace("redis://", "redis-cluster://");
    let (redis, _tracking, listener) = tracked(&config(&url), &["k"]).await;
    hears(&redis, &listener, "t").await;
}
