//! Every vault keeps the contract; what is particular to each.

use std::sync::Arc;

use uuid::Uuid;
use watchdog_audit::testing::key_vault;
use watchdog_audit::{
    AuditConfig, EmbeddedVault, ErrorKind, KeyVault, RedisVault, StoredSubjectKeys, SubjectHandle,
    SubjectKeyPlace, SubjectKeySource, SubjectKeys,
};
use watchdog_core::audit::Actor;
use watchdog_core::config::Loader;
use watchdog_storage::redis::{Redis, RedisConfig, Ttl};
use watchdog_storage::testing::redis::{RedisServer, shared_cluster};
use watchdog_storage::testing::{require, test_name};

use crate::bench::{keys, redis};

#[tokio::test]
async fn a_file_conforms() {
    let directory = tempfile::tempdir().unwrap();
    key_vault(Arc::new(EmbeddedVault::open(directory.path()).unwrap())).await;
}

#[tokio::test]
async fn memory_conforms() {
    key_vault(Arc::new(EmbeddedVault::memory().unwrap())).await;
}

#[tokio::test]
async fn redis_conforms() {
    let Some(redis) = redis().await else { return };
    key_vault(Arc::new(RedisVault::new(redis.clone()))).await;
    redis.close().await;
}

#[tokio::test]
async fn a_cluster_conforms() {
    let Some(cluster) = shared_cluster() else { return };
    let mut config = RedisConfig::from_url(&cluster.url()).unwrap();
    config.key_prefix = format!("t{}", Uuid::now_v7().simple());
    let redis = Redis::connect(&config).await.unwrap();
    key_vault(Arc::new(RedisVault::new(redis.clone()))).await;
    redis.close().await;
}

fn handle(number: u8) -> SubjectHandle {
    SubjectHandle::from_bytes(&[number; 16])
}

#[tokio::test]
async fn a_file_remembers_keys_and_erased_labels_and_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let vault = EmbeddedVault::open(directory.path()).unwrap();
    let second = EmbeddedVault::open(directory.path()).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Config);
    vault.create(&handle(1), "a", b"one").await.unwrap();
    vault.create(&handle(2), "a", b"two").await.unwrap();
    vault.erase(&handle(1)).await.unwrap();
    drop(vault);
    let vault = EmbeddedVault::open(directory.path()).unwrap();
    assert_eq!(vault.list(None, 10).await.unwrap().len(), 1);
    assert_eq!(vault.generation().await.unwrap(), 1);
    let late = vault.create(&handle(1), "a", b"one").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn keys_in_redis_never_expire() {
    let Some(redis) = redis().await else { return };
    let vault = RedisVault::new(redis.clone());
    vault.create(&handle(0xab), "a", b"one").await.unwrap();
    vault.erase(&handle(0xab)).await.unwrap();
    vault.create(&handle(0xab), "b", b"two").await.unwrap();
    for (tag, part) in [("k2ae", "keys"), ("k", "generation")] {
        let key = redis.keys().key("a", tag, &[part]);
        assert_eq!(redis.pttl(&key).await.unwrap(), Ttl::Unbounded, "{}", key.as_str());
    }
    redis.close().await;
}

#[tokio::test]
async fn a_full_redis_still_takes_keys_and_one_that_evicts_them_is_refused() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory", "100mb"]);
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let vault = RedisVault::new(redis.clone());
    for policy in ["allkeys-lru", "allkeys-random"] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let refused = vault.preflight().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("noeviction"), "{refused}");
    }
    for policy in ["noeviction", "volatile-ttl"] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        vault.preflight().await.unwrap();
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = redis.set(&redis.keys().key("x", "x", &[]), "x".into(), None).await;
    full.unwrap_err();
    vault.create(&handle(1), "a", b"one").await.unwrap();
    assert!(vault.replace(&handle(1), "a", b"one", b"two").await.unwrap());
    assert_eq!(vault.erase(&handle(1)).await.unwrap(), 1);
    redis.close().await;
}

/// Processes that meet a subject at once, each with a connection of its own.
#[tokio::test]
async fn processes_that_race_for_a_first_entry_share_one_key() {
    let Some(first) = redis().await else { return };
    let prefix = first.keys().prefix_of("a");
    let prefix = prefix.split(':').next().unwrap();
    let start = Arc::new(tokio::sync::Barrier::new(8));
    let mut processes = Vec::new();
    for _ in 0..8 {
        let server = watchdog_storage::testing::redis::shared().unwrap();
        let mut config = RedisConfig::from_url(&server.url()).unwrap();
        config.key_prefix = prefix.to_owned();
        let redis = Redis::connect(&config).await.unwrap();
        let start = Arc::clone(&start);
        processes.push(tokio::spawn(async move {
            let vault = Arc::new(RedisVault::new(redis.clone()));
            let stored = StoredSubjectKeys::new(vault, &keys()).unwrap();
            start.wait().await;
            // The key of handles is raced for as well.
            let mut names = Vec::new();
            for subject in ["alice", "bob"].map(Actor::user) {
                let key = stored.current(&subject).await.unwrap();
                names.push((key.handle().clone(), key.label().to_owned()));
            }
            redis.close().await;
            names
        }));
    }
    let mut seen = Vec::new();
    for process in processes {
        seen.push(process.await.unwrap());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let vault = RedisVault::new(first.clone());
    assert_eq!(vault.list(None, 10).await.unwrap().len(), 3, "two subjects and the handles' key");
    first.close().await;
}

#[test]
fn a_place_that_is_not_configured_is_named_with_the_way_to_mend_it() {
    let load = |vars: &[(&str, &str)]| Loader::from_vars(vars.to_vec()).load::<AuditConfig>();
    for (place, variable) in [("redis", "WATCHDOG_REDIS_URL"), ("postgres", "WATCHDOG_DB_HOST")] {
        let chosen = ("WATCHDOG_AUDIT_SUBJECT_KEYS", place);
        let refused = load(&[chosen]).unwrap_err().to_string();
        assert!(refused.contains(chosen.0) && refused.contains(variable), "{refused}");
        load(&[chosen, (variable, "redis://127.0.0.1:1")]).unwrap();
        load(&[chosen, ("WATCHDOG_AUDIT_ENCRYPTION_ENABLED", "false")]).unwrap();
    }
    for place in ["derived", "embedded"] {
        load(&[("WATCHDOG_AUDIT_SUBJECT_KEYS", place)]).unwrap();
    }
}

#[tokio::test]
async fn the_configuration_chooses_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let config = |place| AuditConfig {
        subject_keys: place,
        spool_directory: directory.path().to_owned(),
        ..AuditConfig::default()
    };
    let nowhere = SubjectKeySource::new();
    for place in [SubjectKeyPlace::Redis, SubjectKeyPlace::Postgres] {
        let absent = nowhere.keys(&config(Some(place)), &keys()).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::Config);
        assert!(absent.to_string().contains("WATCHDOG_AUDIT_SUBJECT_KEYS"), "{absent}");
    }
    let derived = nowhere.keys(&config(Some(SubjectKeyPlace::Derived)), &keys()).unwrap();
    assert_eq!(derived.erase(&Actor::user("alice")).await.unwrap_err().kind(), ErrorKind::Misuse);
    let local = nowhere.keys(&config(None), &keys()).unwrap();
    local.current(&Actor::user("alice")).await.unwrap();
    assert!(directory.path().join("subject_keys.redb").exists());
    assert_eq!(local.erase(&Actor::user("alice")).await.unwrap(), 1);
    let vault = Arc::new(EmbeddedVault::memory().unwrap());
    let shared = nowhere.clone().with_postgres(vault.clone());
    let keys = shared.keys(&config(Some(SubjectKeyPlace::Postgres)), &keys()).unwrap();
    keys.current(&Actor::user("alice")).await.unwrap();
    assert_eq!(vault.list(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn where_redis_is_the_store_it_keeps_the_keys() {
    let Some(redis) = redis().await else { return };
    let source = SubjectKeySource::new().with_redis(redis.clone());
    let stored = source.keys(&AuditConfig::default(), &keys()).unwrap();
    stored.current(&Actor::user("alice")).await.unwrap();
    assert_eq!(RedisVault::new(redis.clone()).list(None, 10).await.unwrap().len(), 2);
    redis.close().await;
}
