//! What the tests of the copy share.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{AuditConfig, AuditLog, AuditLogBuilder, EmbeddedStore, PostgresCopy};
use watchdog_core::testing::ManualClock;
use watchdog_storage::objects::Objects;
use watchdog_storage::postgres::{DbConfig, Postgres};
use watchdog_storage::testing::postgres::PostgresServer;

use crate::bench::keys;

pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// A bucket and an empty database.
pub(super) struct Desk<'a> {
    pub(super) server: &'a PostgresServer,
    pub(super) database: DbConfig,
    pub(super) postgres: Postgres,
    pub(super) bucket: Objects,
}

impl<'a> Desk<'a> {
    pub(super) async fn on(server: &'a PostgresServer) -> Self {
        let database = server.create_database();
        let postgres = Postgres::connect(&database).await.unwrap();
        Self { server, database, postgres, bucket: Objects::memory() }
    }

    pub(super) fn config() -> AuditConfig {
        AuditConfig { postgres_copy: true, ..AuditConfig::default() }
    }

    pub(super) fn builder_of(
        &self,
        config: &AuditConfig,
        copy: Option<PostgresCopy>,
    ) -> AuditLogBuilder {
        let builder = AuditLog::builder()
            .with_config(config)
            .with_store(EmbeddedStore::memory().unwrap())
            .with_archive(self.bucket.clone(), &keys())
            .with_encryption(&keys());
        match copy {
            Some(copy) => builder.with_postgres_copy(copy),
            None => builder,
        }
    }

    /// A log of its own store, which looks every second when it `tends`. One that does not seals
    /// nothing until it is asked to, however long the test takes.
    pub(super) fn builder(&self, tends: bool) -> AuditLogBuilder {
        let copy = || Some(self.postgres.clone().into());
        if tends {
            let config = AuditConfig { segment_max_age: Duration::from_secs(5), ..Self::config() };
            return self.builder_of(&config, copy());
        }
        self.builder_of(&Self::config(), copy()).without_background()
    }

    pub(super) async fn log(&self) -> AuditLog {
        self.builder(false).build().await.unwrap()
    }

    pub(super) async fn log_in_clear(&self) -> AuditLog {
        let config = AuditConfig { encryption_enabled: false, ..Self::config() };
        let builder = self.builder_of(&config, Some(self.postgres.clone().into()));
        builder.without_background().build().await.unwrap()
    }

    pub(super) async fn log_at(&self, clock: &ManualClock) -> AuditLog {
        let clock = Arc::new(clock.clone());
        let store = EmbeddedStore::memory().unwrap().with_clock(clock.clone());
        self.builder(false).with_store(store).with_clock(clock).build().await.unwrap()
    }

    pub(super) fn sql(&self, sql: &str) -> String {
        self.server.execute(self.database.name.as_deref().unwrap(), sql)
    }

    pub(super) fn rows(&self) -> u64 {
        self.sql("SELECT count(*) FROM watchdog_audit").parse().unwrap()
    }

    /// As [`rows`](Self::rows), 0 before there is a table.
    pub(super) fn copied(&self) -> u64 {
        match self.sql("SELECT to_regclass('watchdog_audit_copied')").as_str() {
            "" => 0,
            _ => self.rows(),
        }
    }

    /// Names of the partitions of a category, without its name.
    pub(super) fn months(&self, category: &str) -> Vec<String> {
        let parent = format!("watchdog_audit_{category}");
        let sql = format!(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
             WHERE inhparent = '{parent}'::regclass ORDER BY relname"
        );
        let names = self.sql(&sql);
        names.lines().map(|name| name[parent.len() + 1..].to_owned()).collect()
    }

    /// Waits until a session of the database waits for a lock.
    pub(super) async fn until_a_session_waits(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waits = async || self.sql(sql) == "1";
        watchdog_storage::testing::eventually("a session waits for a lock", LIMIT, waits).await;
    }
}

/// Every line of the archive, sorted.
pub(super) async fn lines(bucket: &Objects) -> Vec<String> {
    let mut lines = Vec::new();
    for object in bucket.list("audit/v1/category=", None, 1000).await.unwrap().objects {
        let packed = bucket.get(&object.key).await.unwrap();
        let unpacked = zstd::decode_all(packed.as_ref()).unwrap();
        lines.extend(String::from_utf8(unpacked).unwrap().lines().map(str::to_owned));
    }
    lines.sort();
    lines
}
