//! The `audit` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::audit::Category;
use watchdog_core::config::{Check, Section, duration};

use crate::segment::SegmentLimits;

const DEFAULT_RETENTION_DAYS: u32 = 90;
pub(crate) const SECONDS_PER_DAY: u64 = 86_400;

/// The audit log: `WATCHDOG_AUDIT_*`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether anything is recorded.
    pub enabled: bool,
    /// Level at which each entry is mirrored into the service's own log, without personal fields.
    pub log_level: MirrorLevel,
    /// How long an entry stays in the store after it was recorded, in days (90 when neither this
    /// nor the seconds are set).
    #[schemars(range(min = 1, max = 36_500), extend("x-default" = DEFAULT_RETENTION_DAYS))]
    pub retention_days: Option<u32>,
    /// The same in seconds (7776000); either alone decides, both must agree.
    #[schemars(range(min = 1), extend("x-default" = 7_776_000))]
    pub log_ttl_seconds: Option<u64>,
    /// Whether actor id, client and details are sealed with AES-256-GCM, in the store and in the
    /// archive.
    pub encryption_enabled: bool,
    /// Where entries live until they are archived; `redis` when Redis is configured, `embedded`
    /// otherwise.
    pub store: Option<StoreKind>,
    /// How long the archive keeps entries, by category.
    pub retention: ArchiveRetention,
    /// A segment is sealed at this size, in bytes.
    #[schemars(range(min = 65_536, max = 67_108_864))]
    pub segment_max_bytes: u64,
    /// A segment is sealed at this age.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub segment_max_age: Duration,
    /// Directory for what the log keeps on this machine: the spool and the file of the embedded
    /// store.
    #[schemars(extend("format" = "path"))]
    pub spool_directory: PathBuf,
    /// Most bytes all spools in the directory take on disk together.
    #[schemars(range(min = 1_048_576))]
    pub spool_max_bytes: u64,
    /// When an entry counts as recorded.
    pub durability: Durability,
    /// Replicas that must have an entry with the durability `replicated`.
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u8,
    /// How long a replica may take before a caller is told that its entry is not yet replicated.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub replication_timeout: Duration,
    /// Whether an operation whose begin cannot be made durable is refused.
    pub fail_closed: bool,
    /// What becomes of an entry that finds the queue full, by category.
    pub full_queue: FullQueue,
    /// File with the Ed25519 key that signs manifests and checkpoints; derived from
    /// `WATCHDOG_SECRET_KEY` when it is not set.
    #[schemars(extend("format" = "path"))]
    pub signing_key_file: Option<PathBuf>,
    /// Where the data keys of subjects are kept; `derived` ones cannot be erased. Without it: where
    /// the entries are.
    pub subject_keys: Option<SubjectKeyPlace>,
    /// Whether archived entries are copied into Postgres.
    pub postgres_copy: bool,
    /// What the bucket does with old objects.
    pub lifecycle: LifecycleConfig,
    /// Partitions of the Redis store: 1 for a single server; for a Cluster 16 spread the load.
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: u16,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            log_level: MirrorLevel::Info,
            retention_days: None,
            log_ttl_seconds: None,
            encryption_enabled: true,
            store: None,
            retention: ArchiveRetention::default(),
            segment_max_bytes: 8 * 1024 * 1024,
            segment_max_age: Duration::from_secs(300),
            spool_directory: PathBuf::from(".watchdog/audit"),
            spool_max_bytes: 1024 * 1024 * 1024,
            durability: Durability::Store,
            replicas: 1,
            replication_timeout: Duration::from_secs(1),
            fail_closed: false,
            full_queue: FullQueue::default(),
            signing_key_file: None,
            subject_keys: None,
            postgres_copy: false,
            lifecycle: LifecycleConfig::default(),
            partitions: 1,
        }
    }
}

/// Where entries live until they are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Redis streams, shared by all processes.
    Redis,
    /// A local file of one process.
    Embedded,
}

/// When an entry counts as recorded.
///
/// What becomes of an entry whose caller was told that it is recorded:
///
/// | what is lost | `store` on Redis | `store`, embedded | `replicated` | `spool` |
/// |---|---|---|---|---|
/// | the process (`kill -9`) | kept: Redis has it, or the spool, which the next process delivers | kept | kept | kept: the next process delivers it |
/// | the machine with its disk | kept, if Redis was up when it was recorded | lost, unless archived | kept | kept once Redis has it: milliseconds later while Redis is up |
/// | the Redis primary, and a replica is promoted | sent again within a second, if the process lives and less than 8 MiB were recorded since; else declared as lost | – | kept, if a replica that has it is promoted | sent again from the spool |
/// | Redis with all its replicas, or it is flushed | as above: the last 8 MiB of a process that lives; else lost, unless archived | – | as `store` | sent again from the spool |
/// | the disk of the machine alone | kept, if Redis was up when it was recorded | lost, unless archived | kept | kept once Redis has it |
///
/// Archived entries outlive all of it. `spool` keeps an entry on the disk until a signed manifest
/// covers it; without an archive, until the store has it, and then the rows on Redis are those of
/// `store`. What Redis has taken, it keeps as its own persistence says: with `appendfsync everysec`
/// a restart of its machine may cost a second, which the process sends again from memory.
///
/// The rows of `store` on Redis and of `replicated` hold for an idle process as well: after a second
/// without entries it asks whether Redis still has its newest, and once more when it ends. Where
/// Redis does not answer then, it leaves what it has in memory in the spool, for the next process.
///
/// Personal fields are sealed before an entry counts. An entry whose key cannot be had is neither
/// stored nor spooled; [`subjects`](crate::subjects) says what becomes of it.
///
/// The spool directory belongs to one log: a process delivers what others have left there to its own
/// store. Processes of one log may share it. A spool that was left for another store goes on where
/// the archive ends; one that only the other store can go on with stops the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "When an entry counts as recorded.")]
pub enum Durability {
    /// The store has acknowledged it; while the store is down, the spool on disk has.
    #[default]
    #[serde(alias = "redis", alias = "embedded")]
    Store,
    /// So many replicas of Redis have it, too. While Redis is down the spool keeps it, and its
    /// caller is told that it is not acknowledged.
    Replicated,
    /// It is synced to the spool on disk, which keeps it until it is archived.
    Spool,
}

/// What becomes of an entry that finds the queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// Its caller waits for a place, up to the record timeout.
    #[default]
    Wait,
    /// Its caller is told at once.
    Fail,
    /// It is dropped and counted, and the log says how many were.
    Drop,
}

/// What becomes of an entry that finds the queue full, by category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FullQueue {
    /// For `application` entries.
    pub application: OnFull,
    /// For `database` entries.
    pub database: OnFull,
    /// For `access` entries.
    pub access: OnFull,
    /// For `security` entries: never `drop`.
    pub security: OnFull,
}

impl FullQueue {
    /// What becomes of an entry of a category.
    pub fn of(&self, category: Category) -> OnFull {
        match category {
            Category::Application => self.application,
            Category::Database => self.database,
            Category::Access => self.access,
            _ => self.security,
        }
    }
}

/// Where the data keys of subjects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKeyPlace {
    /// Derived from `WATCHDOG_ENCRYPTION_KEY`: nothing is kept, nothing can be erased.
    Derived,
    /// A local file of one process.
    Embedded,
    /// Redis.
    Redis,
    /// Postgres.
    Postgres,
}

/// What the bucket does with old objects; 0 days is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LifecycleConfig {
    /// Whether the rules are written to the bucket; else they are compared with what is there.
    pub apply: bool,
    /// Objects move to Glacier after this many days.
    pub glacier_days: u32,
    /// Versions that were replaced or deleted are removed after this many days.
    pub noncurrent_days: u32,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self { apply: false, glacier_days: 30, noncurrent_days: 30 }
    }
}

/// Level at which entries are mirrored into the service's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MirrorLevel {
    /// Not mirrored.
    #[serde(alias = "off")]
    Off,
    /// As errors.
    #[serde(alias = "error")]
    Error,
    /// As warnings.
    #[serde(alias = "warn")]
    Warn,
    /// As information.
    #[serde(alias = "info")]
    Info,
    /// For debugging.
    #[serde(alias = "debug")]
    Debug,
    /// For tracing.
    #[serde(alias = "trace")]
    Trace,
}

/// How long the archive keeps entries, by category, in days; 0 keeps them for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveRetention {
    /// Days that `application` entries are kept in the archive; 0 for ever.
    pub application_days: u32,
    /// Days that `database` entries are kept in the archive; 0 for ever.
    pub database_days: u32,
    /// Days that `access` entries are kept in the archive; 0 for ever.
    pub access_days: u32,
    /// Days that `security` entries are kept in the archive; 0 for ever.
    pub security_days: u32,
}

impl Default for ArchiveRetention {
    fn default() -> Self {
        Self { application_days: 90, database_days: 30, access_days: 365, security_days: 0 }
    }
}

impl ArchiveRetention {
    /// How long a category is kept, `None` for ever.
    pub fn of(&self, category: Category) -> Option<Duration> {
        let days = match category {
            Category::Application => self.application_days,
            Category::Database => self.database_days,
            Category::Access => self.access_days,
            // A category this version does not know is kept as long as anything is.
            _ => self.security_days,
        };
        (days > 0).then(|| Duration::from_secs(u64::from(days) * SECONDS_PER_DAY))
    }
}

impl AuditConfig {
    /// How long an entry stays in the store after it was recorded.
    pub fn ttl(&self) -> Duration {
        let days = self.retention_days.unwrap_or(DEFAULT_RETENTION_DAYS);
        let seconds = self.log_ttl_seconds.unwrap_or(u64::from(days) * SECONDS_PER_DAY);
        Duration::from_secs(seconds)
    }

    /// When a segment is sealed.
    pub fn limits(&self) -> SegmentLimits {
        SegmentLimits { max_bytes: self.segment_max_bytes, max_age: self.segment_max_age }
    }

    /// The store that was chosen, or the one that follows from whether Redis is configured.
    pub fn store_kind(&self, redis_is_configured: bool) -> StoreKind {
        let default = if redis_is_configured { StoreKind::Redis } else { StoreKind::Embedded };
        self.store.unwrap_or(default)
    }
}

impl AuditConfig {
    /// Where data keys of subjects were chosen to be, or where the entries are.
    pub fn subject_key_place(&self, redis_is_configured: bool) -> SubjectKeyPlace {
        self.subject_keys.unwrap_or_else(|| match self.store_kind(redis_is_configured) {
            StoreKind::Redis => SubjectKeyPlace::Redis,
            StoreKind::Embedded => SubjectKeyPlace::Embedded,
        })
    }

    fn check_subject_keys(&self, check: &mut Check<'_>) {
        if !self.encryption_enabled {
            return;
        }
        let (variable, hint) = match self.subject_keys {
            Some(SubjectKeyPlace::Redis) => (
                "WATCHDOG_REDIS_URL",
                "set WATCHDOG_REDIS_URL, or WATCHDOG_AUDIT_SUBJECT_KEYS=embedded or postgres",
            ),
            Some(SubjectKeyPlace::Postgres) => (
                "WATCHDOG_DB_HOST",
                "set WATCHDOG_DB_HOST, or WATCHDOG_AUDIT_SUBJECT_KEYS=embedded or redis",
            ),
            _ => return,
        };
        if !check.is_variable_set(variable) {
            check.problem(&["subject_keys"], "a place for subject keys that is configured", hint);
        }
    }
}

/// Whether the two statements of one quantity agree; each may be missing.
fn retention_agrees(days: Option<u32>, seconds: Option<u64>) -> bool {
    match (days, seconds) {
        (Some(days), Some(seconds)) => u64::from(days) * SECONDS_PER_DAY == seconds,
        _ => true,
    }
}

impl Section for AuditConfig {
    const NAME: &'static str = "audit";
    const PREFIX: &'static str = "WATCHDOG_AUDIT";

    fn check(&self, check: &mut Check<'_>) {
        if !retention_agrees(self.retention_days, self.log_ttl_seconds) {
            check.problem(
                &["retention_days", "log_ttl_seconds"],
                "the same retention in days and in seconds",
                "set only one of the two; either alone decides",
            );
        }
        if self.ttl().is_zero() {
            check.problem(&["log_ttl_seconds"], "at least one second", "90 days are 7776000");
        }
        if self.segment_max_age.is_zero() || self.segment_max_age >= self.ttl() {
            check.problem(
                &["segment_max_age"],
                "more than nothing and less than the retention",
                "5min is the default: a segment is archived after it is sealed",
            );
        }
        self.check_subject_keys(check);
        crate::retention::check(self, check);
        if self.full_queue.security == OnFull::Drop {
            check.problem(
                &["full_queue", "security"],
                "wait or fail",
                "entries of the category security are never dropped",
            );
        }
        if self.postgres_copy && !check.is_variable_set("WATCHDOG_DB_HOST") {
            check.problem(
                &["postgres_copy"],
                "a configured Postgres for the copy of archived entries",
                "set WATCHDOG_DB_HOST, or WATCHDOG_AUDIT_POSTGRES_COPY=false",
            );
        }
        if self.durability == Durability::Replicated
            && self.store_kind(check.is_variable_set("WATCHDOG_REDIS_URL")) == StoreKind::Embedded
        {
            check.problem(
                &["durability", "store"],
                "the store `redis` for the durability `replicated`",
                "the embedded store has no replicas: set WATCHDOG_AUDIT_DURABILITY=store, or \
                 configure WATCHDOG_REDIS_URL",
            );
        }
        if self.durability == Durability::Replicated && self.replication_timeout.is_zero() {
            check.problem(
                &["replication_timeout"],
                "more than nothing for the durability `replicated`",
                "1s is the default",
            );
        }
        if self.store == Some(StoreKind::Redis) && !check.is_variable_set("WATCHDOG_REDIS_URL") {
            check.problem(
                &["store"],
                "a configured Redis for the store `redis`",
                "set WATCHDOG_REDIS_URL, or WATCHDOG_AUDIT_STORE=embedded",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(days: Option<u32>, seconds: Option<u64>) -> AuditConfig {
        AuditConfig { retention_days: days, log_ttl_seconds: seconds, ..AuditConfig::default() }
    }

    #[test]
    fn either_statement_of_the_retention_decides() {
        assert_eq!(config(None, None).ttl().as_secs(), 7_776_000);
        assert_eq!(config(Some(1), None).ttl().as_secs(), 86_400);
        assert_eq!(config(None, Some(5)).ttl().as_secs(), 5);
        assert_eq!(config(Some(90), Some(7_776_000)).ttl().as_secs(), 7_776_000);
    }

    #[test]
    fn both_statements_must_agree() {
        assert!(retention_agrees(Some(90), Some(7_776_000)));
        assert!(!retention_agrees(Some(30), Some(7_776_000)));
        assert!(retention_agrees(Some(30), None));
        assert!(retention_agrees(None, Some(1)));
    }

    #[test]
    fn security_is_kept_for_ever_by_default() {
        let retention = ArchiveRetention::default();
        assert_eq!(retention.of(Category::Security), None);
        assert_eq!(retention.of(Category::Database), Some(Duration::from_secs(30 * 86_400)));
    }

    #[test]
    fn subject_keys_are_where_the_entries_are_unless_it_is_chosen() {
        let place = |config: AuditConfig, has_redis| config.subject_key_place(has_redis);
        assert_eq!(place(config(None, None), true), SubjectKeyPlace::Redis);
        assert_eq!(place(config(None, None), false), SubjectKeyPlace::Embedded);
        let local = AuditConfig { store: Some(StoreKind::Embedded), ..config(None, None) };
        assert_eq!(place(local, true), SubjectKeyPlace::Embedded);
        let chosen = Some(SubjectKeyPlace::Postgres);
        let chosen = AuditConfig { subject_keys: chosen, ..config(None, None) };
        assert_eq!(place(chosen, true), SubjectKeyPlace::Postgres);
    }

    #[test]
    fn the_store_follows_from_redis_unless_it_is_chosen() {
        assert_eq!(config(None, None).store_kind(true), StoreKind::Redis);
        assert_eq!(config(None, None).store_kind(false), StoreKind::Embedded);
        let chosen = AuditConfig { store: Some(StoreKind::Embedded), ..config(None, None) };
        assert_eq!(chosen.store_kind(true), StoreKind::Embedded);
    }
}
