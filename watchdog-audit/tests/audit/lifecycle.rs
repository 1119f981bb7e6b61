//! The lifecycle of the bucket, over the wire: planned, applied, read back, compared.

use std::sync::Arc;

use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, LegalHold, LifecycleConfig,
    LifecycleFindingKind as Kind,
};
use watchdog_core::Secret;
use watchdog_core::audit::{Actor, Category};
use watchdog_core::testing::ManualClock;
use watchdog_storage::objects::{
    Expiration, LifecycleRule, Objects, S3Config, StorageConfig, StorageType, Versioning,
};
use watchdog_storage::testing::s3::{Fault, S3Server};

use crate::bench::{clocked_with, keys, log_with, memory, record};

async fn server() -> (S3Server, Objects) {
    let server = S3Server::start().await.unwrap();
    let bucket = Objects::from_config(&server.config()).unwrap();
    (server, bucket)
}

async fn log(bucket: &Objects, apply: bool) -> AuditLog {
    let lifecycle = LifecycleConfig { apply, ..LifecycleConfig::default() };
    let config = AuditConfig { lifecycle, ..AuditConfig::default() };
    log_with(config, Arc::new(EmbeddedStore::memory().unwrap()), bucket).await
}

/// What is found, without what the defaults mean.
async fn kinds(log: &AuditLog) -> Vec<Kind> {
    let findings = log.check_lifecycle().await.unwrap();
    let kinds = findings.iter().map(|finding| finding.kind);
    kinds.filter(|kind| *kind != Kind::StoreOutlivesArchive).collect()
}

#[tokio::test]
async fn the_plan_is_applied_and_read_back_and_others_rules_stay() {
    let (_server, bucket) = server().await;
    let settings = bucket.settings();
    let theirs = LifecycleRule::new("theirs", "logs/").with_expiration_days(1);
    settings.set_lifecycle(std::slice::from_ref(&theirs)).await.unwrap();
    let log = log(&bucket, false).await;
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    let mut missing = vec![Kind::MissingRule; 4];
    missing.extend([Kind::VersioningOff, Kind::EncryptionOff]);
    assert_eq!(kinds(&log).await, missing);
    assert_eq!(settings.lifecycle().await.unwrap().len(), 1, "a look changes nothing");

    let left = log.apply_lifecycle().await.unwrap();
    assert!(left.iter().all(|left| left.kind == Kind::StoreOutlivesArchive), "{left:?}");
    let found = settings.lifecycle().await.unwrap();
    assert_eq!(found.len(), 5);
    assert!(found.iter().any(|rule| rule.is_same(&theirs)));
    for planned in log.lifecycle_plan().await.unwrap() {
        assert!(found.iter().any(|rule| rule.is_same(&planned)), "{planned:?}");
    }
    assert_eq!(settings.versioning().await.unwrap(), Versioning::Enabled);
    assert_eq!(settings.default_encryption().await.unwrap().unwrap().algorithm, "AES256");
    assert!(log.verify().await.unwrap().is_sound());

    // Somebody changes the bucket.
    let mut rules = found;
    rules.retain(|rule| rule.id() != "watchdog-audit-security");
    rules.push(LifecycleRule::new("cleanup", "audit/").with_expiration_days(365));
    settings.set_lifecycle(&rules).await.unwrap();
    assert_eq!(kinds(&log).await, [Kind::MissingRule, Kind::ForeignExpiry]);
    log.apply_lifecycle().await.unwrap();
    assert_eq!(kinds(&log).await, [Kind::ForeignExpiry], "others' rules are named and kept");
}

#[tokio::test]
async fn a_hold_takes_the_expiry_out_of_the_bucket_at_once() {
    let (_server, bucket) = server().await;
    let log = log(&bucket, true).await;
    log.apply_lifecycle().await.unwrap();
    let access = async || {
        let rules = bucket.settings().lifecycle().await.unwrap();
        let rule = rules.into_iter().find(|rule| rule.id() == "watchdog-audit-access").unwrap();
        (rule.expiration().cloned(), rule.noncurrent_days())
    };
    let expires = (Some(Expiration::Days(365)), Some(30));
    assert_eq!(access().await, expires);
    let hold = LegalHold::new("case-1", "litigation").with_category(Category::Access);
    log.hold(hold, Actor::user("clerk")).await.unwrap();
    assert_eq!(access().await, (None, None));
    assert!(kinds(&log).await.is_empty());
    log.release_hold("case-1", Actor::user("clerk")).await.unwrap();
    assert_eq!(access().await, expires);
}

#[tokio::test]
async fn a_hold_that_the_bucket_does_not_know_is_a_harmful_finding() {
    let (_server, bucket) = server().await;
    log(&bucket, true).await.apply_lifecycle().await.unwrap();
    let log = log(&bucket, false).await;
    assert!(kinds(&log).await.is_empty());
    log.hold(LegalHold::new("case-1", ""), Actor::user("clerk")).await.unwrap();
    let findings = log.check_lifecycle().await.unwrap();
    // Security has no expiry, but old versions of it go.
    assert_eq!(findings.iter().filter(|finding| finding.is_harmful()).count(), 4);
}

#[tokio::test]
async fn a_store_without_lifecycle_rules_is_told() {
    let (server, bucket) = server().await;
    server.deny_settings();
    for bucket in [bucket, Objects::memory()] {
        let log = log(&bucket, true).await;
        assert_eq!(kinds(&log).await, [Kind::Unsupported]);
        log.apply_lifecycle().await.unwrap();
        log.hold(LegalHold::new("case-1", ""), Actor::user("clerk")).await.unwrap();
    }
}

#[tokio::test]
async fn a_bucket_that_takes_the_rules_and_forgets_them_is_found_out() {
    let (server, bucket) = server().await;
    let log = log(&bucket, true).await;
    server.fail_next(Fault::NotStored, 3);
    let left = log.apply_lifecycle().await.unwrap();
    assert_eq!(left.iter().filter(|left| left.kind == Kind::MissingRule).count(), 4);
}

#[tokio::test]
async fn the_background_applies_the_plan_by_itself() {
    let (_server, bucket) = server().await;
    let lifecycle = LifecycleConfig { apply: true, ..LifecycleConfig::default() };
    let log = AuditLog::builder()
        .with_config(&AuditConfig { lifecycle, ..AuditConfig::default() })
        .with_store(EmbeddedStore::memory().unwrap())
        .with_archive(bucket.clone(), &crate::bench::keys())
        .with_encryption(&crate::bench::keys())
        .build()
        .await
        .unwrap();
    let limit = std::time::Duration::from_secs(10);
    watchdog_storage::testing::eventually("the rules are there", limit, async || {
        bucket.settings().lifecycle().await.unwrap().len() == 4
    })
    .await;
    log.shutdown(limit).await.unwrap();
}

#[tokio::test]
async fn what_lies_in_glacier_is_counted_and_the_rest_is_verified() {
    let (server, bucket) = server().await;
    let clock = ManualClock::default();
    let log = AuditLog::builder()
        .with_store(EmbeddedStore::memory().unwrap())
        .with_archive(bucket.clone(), &keys())
        .with_encryption(&keys())
        .with_clock(Arc::new(clock.clone()))
        .without_background()
        .build()
        .await
        .unwrap();
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    let security = bucket.list("audit/v1/category=security/", None, 1).await.unwrap();
    server.freeze(&security.objects[0].key);
    let error = log.verify().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Frozen, "by the plan it cannot be there yet: {error}");
    clock.advance(std::time::Duration::from_secs(30 * 86_400));
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.frozen, report.entries), (None, 1, 6));
    // Of 30 days of retention nothing moves.
    let database = bucket.list("audit/v1/category=database/", None, 1).await.unwrap();
    server.freeze(&database.objects[0].key);
    assert_eq!(log.verify().await.unwrap_err().kind(), ErrorKind::Frozen);
    let query = log.query(&watchdog_audit::Query::new()).await;
    assert_eq!(query.unwrap_err().kind(), ErrorKind::Frozen, "what is not read is not left out");
}

/// Against a store that carries rules out, where a day passes in seconds: Ceph RGW with
/// `rgw lc debug interval`. `WD_TEST_S3=http://127.0.0.1:17480`, keys `ak` and `sk`, an empty bucket
/// `audit-lc`.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
async fn what_a_store_expires_by_the_plan_is_explained_and_the_rest_stays() {
    let Some(endpoint) = std::env::var_os("WD_TEST_S3") else { return };
    let s3 = S3Config {
        endpoint: endpoint.into_string().ok(),
        bucket: Some("audit-lc".into()),
        access_key: Some(Secret::from("ak")),
        secret_key: Some(Secret::from("sk")),
        ..S3Config::default()
    };
    let config = StorageConfig { kind: StorageType::S3, s3, ..StorageConfig::default() };
    let bucket = Objects::from_config(&config).unwrap();
    let lifecycle = LifecycleConfig { apply: true, glacier_days: 0, ..LifecycleConfig::default() };
    let retention = watchdog_audit::ArchiveRetention {
        application_days: 0,
        database_days: 2,
        access_days: 2,
        security_days: 0,
    };
    let clock = ManualClock::default();
    let log = clocked_with(
        &AuditConfig { lifecycle, retention, ..AuditConfig::default() },
        memory(),
        &bucket,
        &clock,
    )
    .await;
    let hold = LegalHold::new("case-1", "litigation").with_category(Category::Access);
    log.hold(hold, Actor::user("clerk")).await.unwrap();
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    let count = async |prefix: &str| bucket.list(prefix, None, 100).await.unwrap().objects.len();
    let gone = "audit/v1/category=database/";
    assert_eq!(count(gone).await, 1);
    let limit = std::time::Duration::from_secs(120);
    watchdog_storage::testing::eventually("the object expires", limit, async || {
        count(gone).await == 0
    })
    .await;
    // Five more of the store's days: what is to stay is still there.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    for kept in ["application", "access", "security"] {
        assert_eq!(count(&format!("audit/v1/category={kept}/")).await, 1, "{kept}");
    }
    for kept in ["audit/v1/manifest/", "audit/v1/holds/", "audit/v1/keys/", "audit/v1/epoch/"] {
        assert_eq!(count(kept).await, 1, "{kept}");
    }
    let early = log.verify().await.unwrap().fault.unwrap();
    assert_eq!(early.kind, watchdog_audit::FaultKind::MissingObject, "two days have not passed");
    clock.advance(std::time::Duration::from_secs(3 * 86_400));
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.expired), (None, 1));
}
