//! From the configuration to everything the service works with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{
    AuditLog, EmbeddedStore, PostgresCopy, PostgresVault, SegmentStore, SubjectKeySource,
    SubjectKeys,
};
use watchdog_core::KeyRing;
use watchdog_core::config::Environment;
use watchdog_health::{CheckSpec, Health, Impact, Probe};
use watchdog_session::web::{CookieSettings, WebSessions};
use watchdog_session::{MemoryStore, RedisStore, Revocations, SessionStore, Sessions};
use watchdog_storage::objects::Objects;
use watchdog_storage::postgres::Postgres;
use watchdog_storage::redis::Redis;

use crate::config::Configuration;

/// How long a request waits for a place in the audit log, and again for its acknowledgement.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Everything the service works with.
pub(crate) struct Backends {
    pub(crate) web: WebSessions,
    pub(crate) audit: AuditLog,
    pub(crate) subject_keys: Arc<dyn SubjectKeys>,
    pub(crate) objects: Objects,
    pub(crate) health: Health,
    redis: Option<Redis>,
    postgres: Option<Postgres>,
}

/// Connects what is configured and puts the rest into this process.
///
/// A configured server that cannot be reached is an error: a service that starts without its
/// session store serves nobody, and whoever starts it should know at once.
pub(crate) async fn connect(
    environment: Environment,
    configuration: Configuration,
) -> Result<Backends> {
    let (app, security, session, audit, storage, _, redis, db) = configuration;
    // Development keeps the keys it makes beside the local bucket: inside, they would be an object.
    let folder = (!environment.is_strict()).then(|| storage.local_path.with_file_name("keys"));
    let keys = security.key_ring(folder.as_deref())?;
    let redis = if redis.is_configured() { Some(Redis::connect(&redis).await?) } else { None };
    let postgres = if db.host.is_some() { Some(Postgres::connect(&db).await?) } else { None };
    let objects = Objects::from_config(&storage)?;

    let store: Arc<dyn SegmentStore> = match (audit.store_kind(redis.is_some()), &redis) {
        (watchdog_audit::StoreKind::Redis, Some(redis)) => {
            Arc::new(watchdog_audit::RedisStore::new(redis.clone(), audit.partitions))
        }
        (watchdog_audit::StoreKind::Redis, None) => return Err(without_redis("AUDIT")),
        _ => Arc::new(embedded(&audit.spool_directory)?),
    };
    // Kept, not derived: so they can be erased.
    let mut places = SubjectKeySource::new();
    if let Some(redis) = &redis {
        places = places.with_redis(redis.clone());
    }
    if let Some(postgres) = &postgres {
        places = places.with_postgres(Arc::new(PostgresVault::new(postgres.clone())));
    }
    let subject_keys = places.keys(&audit, &keys.encryption)?;
    let mut log = AuditLog::builder();
    if let Some(postgres) = &postgres {
        log = log.with_postgres_copy(PostgresCopy::new(postgres.clone()));
    }
    let audit = log
        .with_config(&audit)
        .with_shared_store(store)
        .with_subject_keys(Arc::clone(&subject_keys))
        .with_archive(objects.clone(), &keys.secret)
        .with_record_timeout(RECORD_TIMEOUT)
        .build()
        .await?;

    let (store, revocations): (Arc<dyn SessionStore>, _) =
        match (session.effective_store(redis.is_some()), &redis) {
            (watchdog_session::StoreKind::Redis, Some(redis)) => {
                // Lenient: health has to be shown to admins when Redis does not answer, and what is
                // known to be revoked stays refused.
                let revocations = Revocations::connect(redis).await.lenient();
                (Arc::new(RedisStore::new(redis.clone())), Some(revocations))
            }
            (watchdog_session::StoreKind::Redis, None) => return Err(without_redis("SESSION")),
            _ => (Arc::new(MemoryStore::new()), None),
        };
    let cookie = CookieSettings {
        name: security.auth_cookie_name.clone(),
        secure: security.auth_cookie_secure,
        domain: security.auth_cookie_domain.clone(),
        ..CookieSettings::default()
    };
    let mut sessions = sessions(&keys, &app.service_name)
        .config(session)
        .store(store)
        .audit(Arc::new(audit.clone()));
    if let Some(revocations) = revocations {
        sessions = sessions.revocations(revocations);
    }
    let sessions = sessions.build()?;
    let health = health(&app.service_name, &sessions, &audit, &objects, &redis, &postgres)?;
    let web = WebSessions::new(sessions, cookie)?;
    Ok(Backends { web, audit, subject_keys, objects, health, redis, postgres })
}

fn sessions<'a>(keys: &'a KeyRing, service: &str) -> watchdog_session::Builder<'a> {
    Sessions::builder(keys).issuer(service).audience(service)
}

fn embedded(directory: &Path) -> watchdog_audit::Result<EmbeddedStore> {
    EmbeddedStore::open(directory)
}

fn without_redis(section: &str) -> Box<dyn std::error::Error> {
    format!("WATCHDOG_{section}_STORE is redis and WATCHDOG_REDIS_URL is not set").into()
}

/// What each dependency means to this service: without sessions it serves nobody, without the
/// audit log it changes nothing; without objects or database some routes fail.
fn health(
    service: &str,
    sessions: &Sessions,
    audit: &AuditLog,
    objects: &Objects,
    redis: &Option<Redis>,
    postgres: &Option<Postgres>,
) -> watchdog_health::Result<Health> {
    let seconds = Duration::from_secs;
    let spec = |name: &str| CheckSpec::new(name).with_interval(seconds(2)).with_timeout(seconds(1));
    let slow = |name: &str| {
        let spec = CheckSpec::new(name).with_interval(seconds(10)).with_timeout(seconds(4));
        spec.with_impact(Impact::Degrading)
    };
    let both = [Probe::Readiness, Probe::Startup];
    let mut health = Health::builder()
        .with_service_id(service)
        .with_release_id(env!("CARGO_PKG_VERSION"))
        .check(spec("sessions").with_probes(both), Arc::new(sessions.health()))
        .check(spec("audit"), Arc::new(audit.health()))
        .check(slow("storage"), Arc::new(objects.health()));
    if let Some(redis) = redis {
        health = health.check(spec("redis").with_probes(both), Arc::new(redis.health()));
    }
    if let Some(postgres) = postgres {
        health = health.check(slow("db"), Arc::new(postgres.health()));
    }
    health.build()
}

impl Backends {
    /// Ends what runs in the background, in the order in which one part writes into another.
    pub(crate) async fn close(self) {
        let limit = Duration::from_secs(5);
        let events = self.web.sessions().deliver_events();
        match tokio::time::timeout(limit, events).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "session events stay in the store"),
            Err(_) => tracing::warn!("session events stay in the store"),
        }
        if let Err(error) = self.audit.shutdown(limit).await {
            tracing::error!(%error, "audit entries were lost");
        }
        if let Some(redis) = self.redis {
            redis.close().await;
        }
        if let Some(postgres) = self.postgres
            && tokio::time::timeout(limit, postgres.close()).await.is_err()
        {
            tracing::warn!("statements were still running on the database");
        }
    }
}
