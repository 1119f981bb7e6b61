//! The conformance suite on Redis Cluster.

#![expect(clippy::unwrap_used, reason = "a server that is there and cannot be used is a failure")]

use std::sync::Arc;

use watchdog_session::{RedisStore, SessionStore};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared_cluster;

async fn store() -> Option<Arc<dyn SessionStore>> {
    let config = RedisConfig::from_url(&shared_cluster()?.url()).unwrap();
    Some(Arc::new(RedisStore::new(Redis::connect(&config).await.unwrap())))
}

watchdog_session::session_store_tests!(store());

#[tokio::test]
async fn each_operation_is_one_command_on_one_shard() {
    use watchdog_core::KeyRing;
    use watchdog_session::{Client, Sessions, Subject};

    let Some(cluster) = shared_cluster() else { return };
    let Some(store) = store().await else { return };
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys).store(store).build().unwrap();
    let client = Client::unknown();
    // Users of all shards, so that every shard knows the scripts.
    for user in 0..50 {
        let user = Subject::user(format!("warm-{user}"));
        let issued = sessions.issue(user, &client).await.unwrap();
        sessions.rotate(issued.refresh_token.expose(), &client).await.unwrap();
    }
    for user in 0..10 {
        let user = Subject::user(format!("user-{user}"));
        let issued = sessions.issue(user, &client).await.unwrap();
        let session = sessions.authenticate(issued.session_token.expose(), &client).await.unwrap();
        let rotated = sessions.rotate(issued.refresh_token.expose(), &client).await.unwrap();
        assert_eq!(session.id(), rotated.session.id());
    }
    // A command sent to the wrong shard, and a second try, would show as an error there.
    for node in cluster.nodes() {
        let stats = node.command(&["INFO", "errorstats"]);
        for error in ["MOVED", "ASK", "CROSSSLOT", "NOSCRIPT"] {
            let line = stats.text().lines().find(|line| line.contains(&format!("_{error}:")));
            // Each shard may have learnt each script once, from an EVAL after a NOSCRIPT.
            let allowed = if error == "NOSCRIPT" { 100 } else { 0 };
            let count = line.and_then(|line| line.split("count=").nth(1));
            let count: u32 = count.map_or(0, |count| count.trim().parse().unwrap());
            assert!(count <= allowed, "{error} on {}: {count}", node.port());
        }
    }
}
