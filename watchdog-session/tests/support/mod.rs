//! What the tests on Redis share.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::sync::Arc;

use watchdog_core::KeyRing;
use watchdog_core::testing::RecordingSink;
use watchdog_session::{Client, Issued, RedisStore, SessionConfig, SessionId, Sessions, Subject};
use watchdog_storage::redis::{Redis, RedisConfig};

pub(crate) const FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";

pub(crate) struct Bench {
    pub(crate) sessions: Sessions,
    pub(crate) sink: RecordingSink,
}

pub(crate) fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some(FIREFOX.into()))
}

/// Sessions on a URL, with an audit sink that keeps what it gets. The keys have a prefix of their own:
/// whoever shares it and sweeps delivers the events of all.
pub(crate) async fn bench(url: &str, config: SessionConfig) -> Bench {
    let mut redis = RedisConfig::from_url(url).unwrap();
    redis.key_prefix = format!("t{}", SessionId::random().unwrap());
    let redis = Redis::connect(&redis).await.unwrap();
    let sink = RecordingSink::default();
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys)
        .config(config)
        .store(Arc::new(RedisStore::new(redis)))
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap();
    Bench { sessions, sink }
}

impl Bench {
    pub(crate) async fn issue(&self, user: &str) -> Issued {
        let subject = Subject::user(user).with_roles(["admin"]);
        self.sessions.issue(subject, &client()).await.unwrap()
    }

    /// What was reported about one session, oldest first.
    pub(crate) async fn actions_of(&self, session: SessionId) -> Vec<String> {
        self.sessions.deliver_events().await.unwrap();
        let id = session.to_string();
        let entries = self.sink.entries().into_iter();
        entries.filter(|entry| entry.resource.id == id).map(|entry| entry.action).collect()
    }
}
