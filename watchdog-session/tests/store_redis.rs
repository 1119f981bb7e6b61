//! The conformance suite on Redis.

#![expect(clippy::unwrap_used, reason = "a server that is there and cannot be used is a failure")]

use std::sync::Arc;

use watchdog_session::{RedisStore, SessionStore};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

async fn store() -> Option<Arc<dyn SessionStore>> {
    let config = RedisConfig::from_url(&shared()?.url()).unwrap();
    Some(Arc::new(RedisStore::new(Redis::connect(&config).await.unwrap())))
}

watchdog_session::session_store_tests!(store());
