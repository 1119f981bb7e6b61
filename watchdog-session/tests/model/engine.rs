//! The stores that are held against the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Runtime;
use watchdog_session::marker::Marker;
use watchdog_session::record::Millis;
use watchdog_session::{Location, MemoryStore, RedisStore, SessionStore};
use watchdog_storage::redis::Redis;
use watchdog_storage::testing::redis::{RedisServer, Reply};

/// What the test knows of the engine beyond the port.
pub(crate) trait Engine {
    /// A store that has not heard anything yet.
    fn store(&self, runtime: &Runtime) -> Arc<dyn SessionStore>;

    /// Revokes everybody in one bucket only, up to a time, and gives a store that knows it.
    fn stamp(&self, runtime: &Runtime, bucket: u16, up_to: Millis)
    -> Option<Arc<dyn SessionStore>>;

    /// The marks of a user.
    fn markers(&self, location: Location) -> Option<BTreeMap<Marker, Millis>>;
}

pub(crate) struct Memory;

impl Engine for Memory {
    fn store(&self, _: &Runtime) -> Arc<dyn SessionStore> {
        Arc::new(MemoryStore::new())
    }

    /// The memory store has one stamp for all, and sets it ahead.
    fn stamp(&self, _: &Runtime, _: u16, _: Millis) -> Option<Arc<dyn SessionStore>> {
        None
    }

    fn markers(&self, _: Location) -> Option<BTreeMap<Marker, Millis>> {
        None
    }
}

pub(crate) struct OnRedis<'a> {
    pub(crate) server: &'a RedisServer,
    pub(crate) redis: Redis,
}

impl OnRedis<'_> {
    fn key(&self, kind: &str, bucket: u16) -> String {
        self.redis.keys().key(kind, &bucket.to_string(), &[]).to_string()
    }
}

impl Engine for OnRedis<'_> {
    fn store(&self, _: &Runtime) -> Arc<dyn SessionStore> {
        Arc::new(RedisStore::new(self.redis.clone()))
    }

    fn stamp(
        &self,
        runtime: &Runtime,
        bucket: u16,
        up_to: Millis,
    ) -> Option<Arc<dyn SessionStore>> {
        self.server.command(&["SET", &self.key("g", bucket), &up_to.to_string()]);
        Some(self.store(runtime))
    }

    fn markers(&self, location: Location) -> Option<BTreeMap<Marker, Millis>> {
        let key = self.key("rv", location.bucket);
        let Reply::List(found) = self.server.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])
        else {
            return None;
        };
        let marks = found.chunks(2).filter_map(|pair| {
            let (user, marker) = Marker::parse(pair[0].text()).unwrap();
            (user == location.user).then(|| (marker, pair[1].text().parse().unwrap()))
        });
        Some(marks.collect())
    }
}
