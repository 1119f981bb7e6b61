//! What the tests on Redis share.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::collections::BTreeMap;
use std::sync::Arc;

use watchdog_core::RootKeys;
use watchdog_core::testing::RecordingSink;
use watchdog_session::{Client, Issued, RedisStore, SessionConfig, Sessions, Subject};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::RedisServer;

pub(crate) const FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";

pub(crate) struct Bench {
    pub(crate) sessions: Sessions,
    pub(crate) sink: RecordingSink,
    pub(crate) redis: Redis,
}

pub(crate) fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some(FIREFOX.into()))
}

/// Sessions on a URL, with an audit sink that keeps what it gets.
pub(crate) async fn bench(url: &str, config: SessionConfig) -> Bench {
    let redis = Redis::connect(&RedisConfig::from_url(url).unwrap()).await.unwrap();
    let sink = RecordingSink::default();
    let roots = [(); 3].map(|()| RootKeys::ephemeral().unwrap());
    let sessions = Sessions::builder(&roots[0], &roots[1], &roots[2])
        .config(config)
        .store(Arc::new(RedisStore::new(redis.clone())))
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap();
    Bench { sessions, sink, redis }
}

impl Bench {
    pub(crate) async fn issue(&self, user: &str) -> Issued {
        let subject = Subject::user(user).with_roles(["admin"]);
        self.sessions.issue(subject, &client()).await.unwrap()
    }

    /// What was reported about one session, oldest first.
    pub(crate) async fn actions(&self, issued: &Issued) -> Vec<String> {
        self.sessions.deliver_events().await.unwrap();
        let id = issued.session.id().to_string();
        let entries = self.sink.entries().into_iter();
        entries.filter(|entry| entry.resource.id == id).map(|entry| entry.action).collect()
    }
}

/// Commands that a piece of work costs, by the server's own statistics.
pub(crate) async fn cost(server: &RedisServer, work: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let before = server.calls();
    work.await;
    let mut after = server.calls();
    for (name, calls) in &mut after {
        *calls -= before.get(name).copied().unwrap_or(0);
    }
    // The statistics themselves.
    after.remove("info");
    after.retain(|_, calls| *calls > 0);
    after
}
