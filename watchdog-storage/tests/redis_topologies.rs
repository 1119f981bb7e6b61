//! The seam against every kind of deployment: TLS, users, databases, Cluster, Sentinel.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use watchdog_core::Secret;
use watchdog_storage::ErrorKind;
use watchdog_storage::redis::{Redis, RedisConfig, Script, Value};
use watchdog_storage::testing::redis::{RedisSentinel, RedisServer, is_available, shared_cluster};

static WRITE: Script = Script::new("test.write.v1", "return redis.call('SET', KEYS[1], ARGV[1])");

fn config(url: &str) -> RedisConfig {
    RedisConfig::from_url(url).unwrap()
}

/// Writes by script and reads by command: whether the deployment serves.
async fn round_trip(redis: &Redis, tag: &str) {
    let key = redis.keys().key("round", tag, &["trip"]);
    redis.call(&WRITE, &[&key], &["there".into()]).await.unwrap();
    assert_eq!(redis.get(&key).await.unwrap(), Some(Bytes::from("there")));
}

#[tokio::test]
async fn tls_with_an_own_authority() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_tls();
    let (url, authority) = server.tls_url();
    let trusting = RedisConfig { tls_ca: Some(authority.to_owned()), ..config(&url) };
    round_trip(&Redis::connect(&trusting).await.unwrap(), "tls").await;
    // The same through the switch instead of the scheme.
    let plain = url.replace("rediss://", "redis://");
    let switched = RedisConfig { ssl: Some(true), tls_ca: trusting.tls_ca, ..config(&plain) };
    round_trip(&Redis::connect(&switched).await.unwrap(), "tls").await;
}

#[tokio::test]
async fn tls_refuses_another_authority_and_another_name() {
    if !is_available() {
        return;
    }
    let (server, other) = (RedisServer::start_tls(), RedisServer::start_tls());
    let (url, authority) = server.tls_url();
    let (_, wrong) = other.tls_url();
    for (url, authority) in [
        (url.clone(), wrong),
        // The certificate names localhost and 127.0.0.1.
        (url.replace("localhost", "127.0.0.2"), authority),
    ] {
        let config = RedisConfig { tls_ca: Some(authority.to_owned()), ..config(&url) };
        let error = Redis::connect(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    }
    // Without the file the authorities of the system are trusted, and ours is none of them.
    let error = Redis::connect(&config(&url)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_a_configuration_error() {
    let missing = RedisConfig {
        tls_ca: Some("/nonexistent/ca.pem".into()),
        ..config("rediss://localhost:1")
    };
    assert_eq!(Redis::connect(&missing).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn user_and_password_of_the_access_control_list() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with_user("watch@dog", "p:a/s@s%");
    let in_url = server.url().replace("127", "watch%40dog:p%3Aa%2Fs%40s%25@127");
    round_trip(&Redis::connect(&config(&in_url)).await.unwrap(), "acl").await;
    let beside = RedisConfig {
        username: Some("watch@dog".to_owned()),
        password: Some(Secret::from("p:a/s@s%")),
        ..config(&server.url())
    };
    round_trip(&Redis::connect(&beside).await.unwrap(), "acl").await;
}

#[tokio::test]
async fn a_wrong_password_is_denied_at_once() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with_user("watchdog", "right");
    for password in [Some(Secret::from("wrong")), None] {
        let username = password.is_some().then(|| "watchdog".to_owned());
        let config = RedisConfig { username, password, ..config(&server.url()) };
        let start = Instant::now();
        let error = Redis::connect(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
        assert!(!format!("{error:?}").contains("wrong"));
    }
}

#[tokio::test]
async fn a_command_the_user_may_not_run_is_denied() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect(&config(&server.url())).await.unwrap();
    let key = redis.keys().key("k", "t", &[]);
    server.command(&["ACL", "SETUSER", "default", "-get"]);
    assert_eq!(redis.get(&key).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn the_database_number() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let third = Redis::connect(&config(&format!("{}/3", server.url()))).await.unwrap();
    let field = RedisConfig { db: 3, ..config(&server.url()) };
    let same = Redis::connect(&field).await.unwrap();
    let zero = Redis::connect(&config(&server.url())).await.unwrap();
    let key = third.keys().key("k", "t", &[]);
    third.set(&key, Bytes::from("three"), None).await.unwrap();
    assert_eq!(same.get(&key).await.unwrap(), Some(Bytes::from("three")));
    assert_eq!(zero.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_pool_of_several_clients() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let pool = RedisConfig { pool_size: 3, ..config(&server.url()) };
    let redis = Redis::connect(&pool).await.unwrap();
    for _ in 0..6 {
        round_trip(&redis, "pool").await;
    }
    let clients =
        |server: &RedisServer| server.command(&["CLIENT", "LIST"]).text().matches("resp=3").count();
    assert_eq!(clients(&server), 3);
    // The last clone closes what nobody closed.
    drop(redis);
    watchdog_storage::testing::eventually(
        "the connections close",
        Duration::from_secs(5),
        async || clients(&server) == 0,
    )
    .await;
}

#[tokio::test]
async fn cluster_serves_every_slot_range_and_agrees_on_slots() {
    let Some(cluster) = shared_cluster() else { return };
    let redis = Redis::connect(&config(&cluster.url())).await.unwrap();
    let mut ranges = [0_u32; 3];
    for tag in 0..60 {
        let tag = tag.to_string();
        round_trip(&redis, &tag).await;
        let key = redis.keys().key("round", &tag, &["trip"]);
        let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", key.as_str()]);
        assert_eq!(slot.text(), key.slot().to_string());
        ranges[usize::from(key.slot()) * 3 / 16_384] += 1;
    }
    assert!(ranges.iter().all(|&count| count > 5), "{ranges:?}");
}

#[tokio::test]
async fn keys_of_one_tag_go_into_one_script_on_a_cluster() {
    static TWO: Script = Script::new(
        "test.two.v1",
        "redis.call('SET', KEYS[1], 1) return redis.call('INCR', KEYS[2])",
    );
    let Some(cluster) = shared_cluster() else { return };
    let redis = Redis::connect(&config(&cluster.url())).await.unwrap();
    for tag in ["", "a", "}{", "{x}", "é"] {
        let (a, b) = (redis.keys().key("a", tag, &["1"]), redis.keys().key("b", tag, &[]));
        redis.del(&b).await.unwrap();
        let answer = redis.call(&TWO, &[&a, &b], &[]).await.unwrap();
        assert_eq!(answer, Value::Integer(1), "tag {tag:?}");
    }
}

#[tokio::test]
async fn sentinel_leads_to_the_primary() {
    if !is_available() {
        return;
    }
    let deployment = RedisSentinel::start();
    let redis = Redis::connect(&config(&deployment.url())).await.unwrap();
    round_trip(&redis, "sentinel").await;
    assert!(deployment.primary().calls().contains_key("evalsha"));
}

#[tokio::test]
async fn nothing_listening_is_unavailable_at_once() {
    let port = watchdog_storage::testing::free_port();
    let start = Instant::now();
    for scheme in ["redis", "redis-cluster", "redis-sentinel"] {
        let error =
            Redis::connect(&config(&format!("{scheme}://127.0.0.1:{port}"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{scheme}: {error}");
        assert!(error.is_retryable());
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}
