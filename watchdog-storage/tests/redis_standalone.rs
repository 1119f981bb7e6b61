//! The seam against one server.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::time::Duration;

use bytes::Bytes;
use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::ErrorKind;
use watchdog_storage::redis::{Key, Redis, RedisConfig, Script, StreamEntry, Ttl, Value};
use watchdog_storage::testing::redis::{RedisServer, is_available, shared};

/// A client of the shared server, and a key nobody else uses.
async fn client(test: &str) -> Option<(Redis, Key)> {
    let server = shared()?;
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let key = redis.keys().key("t", test, &[]);
    Some((redis, key))
}

/// Sets up data: the seam itself writes by scripts only.
async fn lua(redis: &Redis, key: &Key, source: &'static str) -> Value {
    redis.call(&Script::new("test.setup.v1", source), &[key], &[]).await.unwrap()
}

#[tokio::test]
async fn strings_hashes_and_times_to_live() {
    let Some((redis, key)) = client("hashes").await else { return };
    redis.ping().await.unwrap();
    assert_eq!(redis.get(&key).await.unwrap(), None);
    assert_eq!(redis.hgetall(&key).await.unwrap(), []);
    assert_eq!(redis.pttl(&key).await.unwrap(), Ttl::Missing);
    lua(&redis, &key, "return redis.call('HSET', KEYS[1], 'a', '1', 'b', string.char(0, 255))")
        .await;
    let fields = redis.hmget(&key, &[b"b", b"missing", b"a"]).await.unwrap();
    let b = Bytes::from_static(&[0, 255]);
    assert_eq!(fields, [Some(b.clone()), None, Some(Bytes::from("1"))]);
    let mut all = redis.hgetall(&key).await.unwrap();
    all.sort();
    assert_eq!(all, [(Bytes::from("a"), Bytes::from("1")), (Bytes::from("b"), b)]);
    assert_eq!(redis.pttl(&key).await.unwrap(), Ttl::Unbounded);
    lua(&redis, &key, "return redis.call('PEXPIRE', KEYS[1], 60000)").await;
    let Ttl::Millis(millis) = redis.pttl(&key).await.unwrap() else { panic!("no time to live") };
    assert!((1..=60_000).contains(&millis));
    assert!(redis.del(&key).await.unwrap());
    assert!(!redis.del(&key).await.unwrap());
    lua(&redis, &key, "return redis.call('SET', KEYS[1], 'x')").await;
    assert_eq!(redis.get(&key).await.unwrap(), Some(Bytes::from("x")));
    redis.close().await;
}

#[tokio::test]
async fn sorted_sets() {
    let Some((redis, key)) = client("sorted").await else { return };
    assert_eq!(redis.zrevrange(&key, 10).await.unwrap(), []);
    lua(
        &redis,
        &key,
        "return redis.call('ZADD', KEYS[1], 1, 'one', 1763735000123, 'late', -7.5, 'low')",
    )
    .await;
    let all = [("late", 1_763_735_000_123), ("one", 1), ("low", -7)];
    let all = all.map(|(member, score)| (Bytes::from(member), score));
    assert_eq!(redis.zrevrange(&key, 10).await.unwrap(), all);
    assert_eq!(redis.zrevrange(&key, 1).await.unwrap(), all[..1]);
    assert_eq!(redis.zrevrange(&key, 0).await.unwrap(), []);
}

#[tokio::test]
async fn streams() {
    let Some((redis, key)) = client("streams").await else { return };
    assert_eq!(redis.xlen(&key).await.unwrap(), 0);
    assert_eq!(redis.xrange(&key, "-", "+", 10).await.unwrap(), []);
    for source in [
        "return redis.call('XADD', KEYS[1], '1-1', 'k', 'v', 'l', 'w')",
        "return redis.call('XADD', KEYS[1], '1-2', 'k', 'v')",
    ] {
        lua(&redis, &key, source).await;
    }
    let first = StreamEntry {
        id: "1-1".to_owned(),
        fields: vec![(Bytes::from("k"), Bytes::from("v")), (Bytes::from("l"), Bytes::from("w"))],
    };
    assert_eq!(redis.xrange(&key, "-", "+", 1).await.unwrap(), [first]);
    assert_eq!(redis.xrange(&key, "1-2", "+", 10).await.unwrap().len(), 1);
    assert_eq!(redis.xlen(&key).await.unwrap(), 2);
    assert_eq!(redis.xdel(&key, &["1-1", "9-9"]).await.unwrap(), 1);
    assert_eq!(redis.xlen(&key).await.unwrap(), 1);
}

#[tokio::test]
async fn scripts_take_and_give_every_type() {
    static ECHO: Script =
        Script::new("test.echo.v1", "return {KEYS[1], ARGV[1], ARGV[2] + 1, false, {}, 'ok'}");
    let Some((redis, key)) = client("scripts").await else { return };
    let answer = redis.call(&ECHO, &[&key], &[(&b"\0\xff"[..]).into(), 41.into()]).await.unwrap();
    let expected = Value::Array(vec![
        Value::Bytes(Bytes::copy_from_slice(key.as_str().as_bytes())),
        Value::Bytes(Bytes::from_static(b"\0\xff")),
        Value::Integer(42),
        Value::Nil,
        Value::Array(vec![]),
        Value::Bytes(Bytes::from("ok")),
    ]);
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn keys_of_two_tags_are_refused_before_anything_is_sent() {
    static ONE: Script = Script::new("test.misuse.v1", "return 1");
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let (a, b) = (redis.keys().key("k", "a", &[]), redis.keys().key("k", "b", &[]));
    let error = redis.call(&ONE, &[&a, &b], &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    assert_eq!(redis.call(&ONE, &[], &[]).await.unwrap_err().kind(), ErrorKind::Misuse);
    assert!(!server.calls().contains_key("evalsha"));
}

#[tokio::test]
async fn a_forgotten_script_is_sent_in_full_once() {
    static FORGOTTEN: Script =
        Script::new("test.forgotten.v1", "return redis.call('INCR', KEYS[1])");
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let key = redis.keys().key("k", "a", &[]);
    for expected in 1..=3 {
        let count = redis.call(&FORGOTTEN, &[&key], &[]).await.unwrap();
        assert_eq!(count, Value::Integer(expected));
    }
    assert_eq!(server.calls()["eval"], 1);
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(redis.call(&FORGOTTEN, &[&key], &[]).await.unwrap(), Value::Integer(4));
    let calls = server.calls();
    assert_eq!((calls["eval"], calls["evalsha"]), (2, 4));
}

#[tokio::test]
async fn health_reports_the_round_trip_and_the_eviction_policy() {
    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    assert_eq!(redis.maxmemory_policy().await.unwrap().as_deref(), Some("noeviction"));
    let report = redis.health().check().await;
    assert_eq!(report.status, Status::Pass);
    assert!(report.observations["round_trip_ms"] > 0.0);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let report = redis.health().check().await;
    assert_eq!(report.status, Status::Warn);
    assert!(report.output.unwrap().contains("allkeys-lru"));
    let health = redis.health();
    server.kill();
    let report = tokio::time::timeout(Duration::from_secs(3), health.check()).await.unwrap();
    assert_eq!(report.status, Status::Fail);
}
