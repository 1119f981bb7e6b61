//! What each operation costs, by the servers' own statistics: one script or one plain read.
//!
//! `commandstats` counts what scripts call as well, so a script is told by its `evalsha`, and a
//! plain read by there being none.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use watchdog_core::{Clock, KeyRing, SystemClock};
use watchdog_session::{
    Changes, Client, RedisStore, Regeneration, RevokeReason, SessionConfig, SessionId, Sessions,
    Subject,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{RedisServer, is_available, shared_cluster};

fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some("curl/8.5.0".into()))
}

struct Bench<'a> {
    nodes: Vec<&'a RedisServer>,
    sessions: Sessions,
}

impl<'a> Bench<'a> {
    /// Without audit sink, so that only the operations themselves count. Every script is known to
    /// every node.
    async fn new(url: &str, nodes: Vec<&'a RedisServer>, config: SessionConfig) -> Self {
        let mut redis = RedisConfig::from_url(url).unwrap();
        redis.key_prefix = format!("t{}", SessionId::random().unwrap());
        let redis = Redis::connect(&redis).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sessions = Sessions::builder(&KeyRing::ephemeral().unwrap())
            .config(config)
            .store(Arc::new(RedisStore::with_clock(redis, clock)))
            .build()
            .unwrap();
        let bench = Self { nodes, sessions };
        let warm = if bench.nodes.len() == 1 { 1 } else { 30 };
        for user in 0..warm {
            bench.every_operation(&format!("warm-{user}"), false).await;
        }
        bench
    }

    fn calls(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for node in &self.nodes {
            for (name, calls) in node.calls() {
                *all.entry(name).or_insert(0) += calls;
            }
        }
        all
    }

    /// Does something, and when it is `counted` holds the commands that it took against those
    /// `wanted`. What nodes of a cluster say to each other does not count.
    async fn cost<T>(
        &self,
        counted: bool,
        wanted: &[(&str, u64)],
        work: impl Future<Output = watchdog_session::Result<T>>,
    ) -> T {
        let before = if counted { self.calls() } else { BTreeMap::new() };
        let answer = work.await.unwrap();
        if counted {
            let after = self.calls();
            for name in ["eval", "evalsha", "hmget", "hgetall", "get", "script|load"] {
                let calls = after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
                let is_script = wanted.iter().any(|(name, _)| *name == "evalsha");
                let of = wanted.iter().find(|(wanted, _)| *wanted == name);
                if of.is_none() && is_script && name != "eval" && name != "script|load" {
                    continue; // by the script
                }
                assert_eq!(calls, of.map_or(0, |(_, calls)| *calls), "{name}, {wanted:?}");
            }
        }
        answer
    }

    async fn every_operation(&self, user: &str, counted: bool) {
        const SCRIPT: &[(&str, u64)] = &[("evalsha", 1)];
        let (sessions, client) = (&self.sessions, client());
        let login = || sessions.issue(Subject::user(user), &client);
        let issued = self.cost(counted, SCRIPT, login()).await;
        let token = issued.session_token.expose();
        // The first read of a bucket asks for the stamp that revokes everybody as well, and so does
        // the first one a second later.
        sessions.authenticate(token, &client).await.unwrap();
        let session =
            self.cost(counted, &[("hmget", 1)], sessions.authenticate(token, &client)).await;
        let refresh = issued.refresh_token.expose();
        self.cost(counted, SCRIPT, sessions.rotate(refresh, &client)).await;
        self.cost(counted, SCRIPT, sessions.insert(&session, "a", &1)).await;
        self.cost(counted, &[("hgetall", 1)], sessions.attributes(&session)).await;
        let update = sessions.update(&session, "a", |n: Option<u32>| n.map(|n| n + 1));
        if counted {
            let before = self.calls();
            update.await.unwrap();
            let after = self.calls();
            assert_eq!(after["hgetall"] - before["hgetall"], 1);
            assert_eq!(after["evalsha"] - before["evalsha"], 1);
        } else {
            update.await.unwrap();
        }
        let changes = Changes::new().insert("b", "x").unwrap();
        self.cost(counted, SCRIPT, sessions.replace(&session, 2, changes)).await;
        self.cost(counted, SCRIPT, sessions.remove(&session, "a")).await;
        self.cost(counted, SCRIPT, sessions.clear(&session)).await;
        let change = Regeneration::privilege_change();
        let issued =
            self.cost(counted, SCRIPT, sessions.regenerate(&session, change, &client)).await;
        self.cost(counted, &[("hgetall", 1)], sessions.list(user)).await;
        let session = &issued.session;
        login().await.unwrap();
        let reason = RevokeReason::User;
        let others = sessions.revoke_others(session, reason, &client);
        assert_eq!(self.cost(counted, SCRIPT, others).await, 1);
        assert!(self.cost(counted, SCRIPT, sessions.revoke(session, reason)).await);
        let last = login().await.unwrap();
        let by_id = sessions.revoke_by_id(user, last.session.id(), reason, &client);
        assert!(self.cost(counted, SCRIPT, by_id).await);
        login().await.unwrap();
        assert_eq!(self.cost(counted, SCRIPT, sessions.revoke_all(user, reason, &client)).await, 1);
    }

    async fn a_touch_is_one_script_and_a_throttled_one_is_none(&self) {
        let client = client();
        let issued = self.sessions.issue(Subject::user("touch"), &client).await.unwrap();
        let token = issued.session_token.expose();
        let before = self.calls()["evalsha"];
        // The idle timeout is a second, and use is noted twice in it.
        eventually("use is noted", Duration::from_secs(5), async || {
            self.sessions.authenticate(token, &client).await.unwrap();
            self.calls()["evalsha"] > before
        })
        .await;
        assert_eq!(self.calls()["evalsha"], before + 1);
    }

    async fn a_token_that_was_never_issued_costs_nothing(&self) {
        let before = self.calls();
        for token in ["", "x", &"A".repeat(95), &"A".repeat(122)] {
            self.sessions.authenticate(token, &client()).await.unwrap_err();
            self.sessions.rotate(token, &client()).await.unwrap_err();
        }
        let mut after = self.calls();
        for (name, calls) in &mut after {
            *calls -= before.get(name).copied().unwrap_or(0);
        }
        for name in ["evalsha", "eval", "hmget", "hgetall", "get"] {
            assert_eq!(after.get(name).unwrap_or(&0), &0, "{name}");
        }
    }

    async fn everything(&self) {
        for user in 0..5 {
            self.every_operation(&format!("user-{user}"), true).await;
        }
        self.a_token_that_was_never_issued_costs_nothing().await;
    }
}

fn short() -> SessionConfig {
    let second = Duration::from_secs(1);
    SessionConfig {
        timeout: second,
        grace: Duration::ZERO,
        access_token_lifetime: second,
        ..SessionConfig::default()
    }
}

#[tokio::test]
async fn each_operation_costs_one_round_trip() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let bench = Bench::new(&server.url(), vec![&server], SessionConfig::default()).await;
    bench.everything().await;
    let bench = Bench::new(&server.url(), vec![&server], short()).await;
    bench.a_touch_is_one_script_and_a_throttled_one_is_none().await;
}

#[tokio::test]
async fn each_operation_costs_one_round_trip_on_a_cluster() {
    let Some(cluster) = shared_cluster() else { return };
    let nodes = cluster.nodes().iter().take(3).collect();
    let bench = Bench::new(&cluster.url(), nodes, SessionConfig::default()).await;
    bench.everything().await;
}
