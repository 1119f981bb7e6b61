//! Which keys the configuration asks for.

use std::sync::Arc;

use watchdog_core::RootKeys;
#[cfg(feature = "redis")]
use watchdog_storage::redis::Redis;

use crate::config::{AuditConfig, SubjectKeyPlace};
use crate::error::{Error, ErrorKind, Result};
use crate::personal::SubjectKeys;
#[cfg(feature = "embedded")]
use crate::subjects::EmbeddedVault;
#[cfg(feature = "redis")]
use crate::subjects::RedisVault;
use crate::subjects::{DerivedSubjectKeys, KeyVault, StoredSubjectKeys};

/// The places that subject keys may be kept in, of which the configuration chooses one.
///
/// ```
/// # use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, SubjectKeyPlace, SubjectKeySource};
/// # use watchdog_core::RootKeys;
/// # fn main() -> watchdog_audit::Result<()> {
/// # let root = RootKeys::ephemeral()?;
/// # let config = AuditConfig {
/// #     subject_keys: Some(SubjectKeyPlace::Derived),
/// #     ..AuditConfig::default()
/// # };
/// let source = SubjectKeySource::new(); // .with_redis(redis).with_postgres(vault)
/// let keys = source.keys(&config, &root)?;
/// let builder = AuditLog::builder().with_config(&config).with_subject_keys(keys);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct SubjectKeySource {
    #[cfg(feature = "redis")]
    redis: Option<Redis>,
    postgres: Option<Arc<dyn KeyVault>>,
}

impl SubjectKeySource {
    /// No connections: a local file, or derived keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Redis is there.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn with_redis(mut self, redis: Redis) -> Self {
        self.redis = Some(redis);
        self
    }

    /// Postgres is there, with this vault.
    #[must_use]
    pub fn with_postgres(mut self, vault: Arc<dyn KeyVault>) -> Self {
        self.postgres = Some(vault);
        self
    }

    /// The keys of the place that the configuration chooses; without a choice, of where the entries
    /// are. A local file is in the log's directory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the place is not there or its file cannot be used;
    /// [`ErrorKind::Key`] when the root keys cannot be used.
    pub fn keys(
        &self,
        config: &AuditConfig,
        encryption: &RootKeys,
    ) -> Result<Arc<dyn SubjectKeys>> {
        let vault = match config.subject_key_place(self.has_redis()) {
            SubjectKeyPlace::Derived => return Ok(Arc::new(DerivedSubjectKeys::new(encryption)?)),
            SubjectKeyPlace::Embedded => Self::embedded(config)?,
            SubjectKeyPlace::Redis => self.redis()?,
            SubjectKeyPlace::Postgres => {
                self.postgres.clone().ok_or_else(|| absent("postgres", "Postgres"))?
            }
        };
        Ok(Arc::new(StoredSubjectKeys::new(vault, encryption)?))
    }

    #[cfg(feature = "redis")]
    fn has_redis(&self) -> bool {
        self.redis.is_some()
    }

    #[cfg(not(feature = "redis"))]
    fn has_redis(&self) -> bool {
        false
    }

    #[cfg(feature = "redis")]
    fn redis(&self) -> Result<Arc<dyn KeyVault>> {
        let redis = self.redis.clone().ok_or_else(|| absent("redis", "Redis"))?;
        Ok(Arc::new(RedisVault::new(redis)))
    }

    #[cfg(not(feature = "redis"))]
    fn redis(&self) -> Result<Arc<dyn KeyVault>> {
        Err(absent("redis", "Redis"))
    }

    #[cfg(feature = "embedded")]
    fn embedded(config: &AuditConfig) -> Result<Arc<dyn KeyVault>> {
        Ok(Arc::new(EmbeddedVault::open(&config.spool_directory)?))
    }

    #[cfg(not(feature = "embedded"))]
    fn embedded(_: &AuditConfig) -> Result<Arc<dyn KeyVault>> {
        Err(absent("embedded", "the feature `embedded`"))
    }
}

fn absent(place: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format_args!(
            "subject keys are to be kept in {what}, which is not there: configure it, or set \
             WATCHDOG_AUDIT_SUBJECT_KEYS to something else than {place}"
        ),
    )
}
