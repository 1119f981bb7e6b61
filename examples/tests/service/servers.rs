//! Redis, PostgreSQL and S3 of a test's own.

use std::collections::BTreeMap;

use watchdog_storage::postgres::DbConfig;
use watchdog_storage::testing::postgres;
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::s3::{self, S3Server};

/// Real servers, gone when it is dropped.
pub(crate) struct RealServers {
    redis: RedisServer,
    db: DbConfig,
    pub(crate) s3: S3Server,
}

impl RealServers {
    /// `None` where PostgreSQL is not installed. Redis has to be.
    pub(crate) async fn start() -> Option<Self> {
        let db = postgres::shared()?.create_database();
        Some(Self { redis: RedisServer::start(), db, s3: S3Server::start().await.unwrap() })
    }

    /// What a user sets to work on them.
    pub(crate) fn variables(&self) -> BTreeMap<&'static str, String> {
        let text = |value: &Option<String>| value.clone().unwrap();
        BTreeMap::from([
            ("WATCHDOG_REDIS_URL", self.redis.url()),
            ("WATCHDOG_DB_HOST", text(&self.db.host)),
            ("WATCHDOG_DB_PORT", self.db.port.to_string()),
            ("WATCHDOG_DB_NAME", text(&self.db.name)),
            ("WATCHDOG_DB_USER", text(&self.db.user)),
            ("WATCHDOG_DB_SSL", "false".to_owned()),
            ("WATCHDOG_STORAGE_TYPE", "s3".to_owned()),
            ("WATCHDOG_S3_ENDPOINT", self.s3.address().to_string()),
            ("WATCHDOG_S3_BUCKET", s3::BUCKET.to_owned()),
            ("WATCHDOG_S3_ACCESS_KEY", s3::ACCESS_KEY.to_owned()),
            ("WATCHDOG_S3_SECRET_KEY", s3::SECRET_KEY.to_owned()),
            ("WATCHDOG_S3_SECURE", "false".to_owned()),
        ])
    }
}
