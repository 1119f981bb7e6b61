//! What the attack tests share: several processes on one Redis, and a look at its keys.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::collections::BTreeSet;
use std::sync::Arc;

use watchdog_core::KeyRing;
use watchdog_core::testing::RecordingSink;
use watchdog_session::{
    Client, Issued, Place, RedisStore, SessionConfig, SessionId, Sessions, Subject, TokenKeys,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::{Control, Reply};

pub(crate) const FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";

/// The client that nearly all calls come from.
pub(crate) fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some(FIREFOX.into()))
}

/// A deployment: keys, a key prefix, and a first process with an audit sink.
pub(crate) struct Rig {
    pub(crate) sessions: Sessions,
    pub(crate) store: Arc<RedisStore>,
    pub(crate) sink: RecordingSink,
    pub(crate) keys: KeyRing,
    pub(crate) tokens: TokenKeys,
    pub(crate) config: SessionConfig,
    pub(crate) prefix: String,
}

impl Rig {
    pub(crate) async fn start(url: &str, config: SessionConfig) -> Self {
        let prefix = format!("t{}", SessionId::random().unwrap());
        let store = Arc::new(connect(url, &prefix, |_| ()).await);
        let keys = KeyRing::ephemeral().unwrap();
        let sink = RecordingSink::default();
        let sessions = Sessions::builder(&keys)
            .config(config.clone())
            .store(Arc::clone(&store) as _)
            .audit(Arc::new(sink.clone()))
            .build()
            .unwrap();
        let tokens = TokenKeys::new(&keys.secret).unwrap();
        Self { sessions, store, sink, keys, tokens, config, prefix }
    }

    /// Another process of the deployment, on its own connection, without audit sink.
    pub(crate) async fn peer(&self, url: &str, set: impl FnOnce(&mut RedisConfig)) -> Sessions {
        self.try_peer(url, set).await.unwrap()
    }

    pub(crate) async fn try_peer(
        &self,
        url: &str,
        set: impl FnOnce(&mut RedisConfig),
    ) -> watchdog_storage::Result<Sessions> {
        let mut config = RedisConfig::from_url(url).unwrap();
        config.key_prefix.clone_from(&self.prefix);
        set(&mut config);
        let store = Arc::new(RedisStore::new(Redis::connect(&config).await?));
        let builder = Sessions::builder(&self.keys).config(self.config.clone());
        Ok(builder.store(store).build().unwrap())
    }

    pub(crate) async fn issue(&self, user: &str) -> Issued {
        self.sessions.issue(Subject::user(user).with_roles(["admin"]), &client()).await.unwrap()
    }

    /// Where the session of a session token lives.
    pub(crate) fn place(&self, issued: &Issued) -> Place {
        self.tokens.session_parts(issued.session_token.expose()).unwrap().place
    }

    /// The hash with all sessions of the user.
    pub(crate) fn users_key(&self, place: Place) -> String {
        let location = place.location;
        format!("{}:u:{{{}}}:{}", self.prefix, location.bucket, location.user_text())
    }

    /// What was reported about one session, oldest first.
    pub(crate) async fn actions_of(&self, session: SessionId) -> Vec<String> {
        self.sessions.deliver_events().await.unwrap();
        let id = session.to_string();
        let entries = self.sink.entries().into_iter();
        entries.filter(|entry| entry.resource.id == id).map(|entry| entry.action).collect()
    }
}

/// A store on a connection of its own.
pub(crate) async fn connect(
    url: &str,
    prefix: &str,
    set: impl FnOnce(&mut RedisConfig),
) -> RedisStore {
    let mut config = RedisConfig::from_url(url).unwrap();
    prefix.clone_into(&mut config.key_prefix);
    set(&mut config);
    RedisStore::new(Redis::connect(&config).await.unwrap())
}

/// The ids of the sessions a hash holds.
pub(crate) fn sessions_in(control: &mut Control, key: &str) -> BTreeSet<String> {
    let Reply::List(fields) = control.command(&["HKEYS", key]).unwrap() else {
        return BTreeSet::new();
    };
    fields.iter().filter_map(|field| field.text().strip_prefix("s:")).map(str::to_owned).collect()
}

/// Numbers at random, from a seed that a failure shows.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides` (xorshift64, Marsaglia 2003).
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Whether the long forms of the tests are wanted.
#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
pub(crate) fn is_long() -> bool {
    std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1")
}
