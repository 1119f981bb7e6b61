//! The settings of a bucket, over the wire.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::Duration;

use watchdog_core::Secret;
use watchdog_storage::ErrorKind;
use watchdog_storage::objects::{
    BucketSettings, Budget, DefaultEncryption, Expiration, LifecycleRule, Objects, S3Config,
    StorageConfig, StorageType, Versioning,
};
use watchdog_storage::testing::s3::{Fault, S3Server};

async fn server() -> (S3Server, BucketSettings) {
    let server = S3Server::start().await.unwrap();
    let settings = Objects::from_config(&server.config()).unwrap().settings();
    (server, settings)
}

fn rules() -> Vec<LifecycleRule> {
    vec![
        LifecycleRule::new("one", "a/b=c/")
            .with_transition(30, "GLACIER")
            .with_expiration_days(365)
            .with_noncurrent_days(30),
        LifecycleRule::new("two", "").with_abort_multipart_days(7),
    ]
}

/// What every store that has settings does.
async fn keeps_settings(settings: &BucketSettings) {
    settings.set_lifecycle(&[]).await.unwrap();
    assert!(settings.lifecycle().await.unwrap().is_empty());
    settings.set_lifecycle(&rules()).await.unwrap();
    let found = settings.lifecycle().await.unwrap();
    assert_eq!(found.len(), 2);
    for rule in rules() {
        let same = found.iter().find(|found| found.id() == rule.id()).unwrap();
        assert!(same.is_same(&rule), "{same:?} is not {rule:?}");
    }
    // What was read is written back with one more.
    let mut more = found;
    more.push(LifecycleRule::new("three", "c/").with_expiration_days(3));
    settings.set_lifecycle(&more).await.unwrap();
    let found = settings.lifecycle().await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().any(|found| found.expiration() == Some(&Expiration::Days(3))));
    let never = LifecycleRule::new("zero", "").with_expiration_days(0);
    settings.set_lifecycle(&[never]).await.unwrap_err();
    assert_eq!(settings.lifecycle().await.unwrap().len(), 3, "a refusal changes nothing");
    settings.set_lifecycle(&[]).await.unwrap();
    assert!(settings.lifecycle().await.unwrap().is_empty());

    assert_eq!(settings.versioning().await.unwrap(), Versioning::Off);
    settings.enable_versioning().await.unwrap();
    assert_eq!(settings.versioning().await.unwrap(), Versioning::Enabled);
    assert_eq!(settings.object_lock().await.unwrap(), None);
}

#[tokio::test]
async fn settings_are_written_and_read_back() {
    let (_server, settings) = server().await;
    keeps_settings(&settings).await;
    assert_eq!(settings.default_encryption().await.unwrap(), None);
    settings.encrypt_by_default().await.unwrap();
    let aes = DefaultEncryption { algorithm: "AES256".into() };
    assert_eq!(settings.default_encryption().await.unwrap(), Some(aes));
}

/// Against a store of one's own: `WD_TEST_S3=http://127.0.0.1:17480`, keys `ak` and `sk`, a bucket
/// `settings` without versioning.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
async fn settings_are_written_and_read_back_elsewhere() {
    let Ok(endpoint) = std::env::var("WD_TEST_S3") else { return };
    let s3 = S3Config {
        endpoint: Some(endpoint),
        bucket: Some("settings".into()),
        access_key: Some(Secret::from("ak")),
        secret_key: Some(Secret::from("sk")),
        ..S3Config::default()
    };
    let config = StorageConfig { kind: StorageType::S3, s3, ..StorageConfig::default() };
    keeps_settings(&Objects::from_config(&config).unwrap().settings()).await;
}

#[tokio::test]
async fn settings_go_over_tls_with_an_authority_of_ones_own() {
    let server = S3Server::start_tls().await.unwrap();
    let settings = Objects::from_config(&server.config()).unwrap().settings();
    settings.set_lifecycle(&rules()).await.unwrap();
    assert_eq!(settings.lifecycle().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_without_settings_says_what_that_means() {
    let (server, settings) = server().await;
    server.deny_settings();
    let error = settings.lifecycle().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    let text = "this store (s3) has no API for lifecycle rules: nothing expires or moves by itself";
    assert_eq!(error.to_string(), text);
    for error in [
        settings.set_lifecycle(&rules()).await.unwrap_err(),
        settings.versioning().await.unwrap_err(),
        settings.default_encryption().await.unwrap_err(),
        settings.object_lock().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Misuse, "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    for objects in [Objects::memory(), Objects::local(directory.path()).unwrap()] {
        let error = objects.settings().versioning().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse);
        assert!(error.to_string().contains("what is overwritten or deleted is gone"), "{error}");
    }
}

#[tokio::test]
async fn a_call_is_tried_again_and_a_wrong_secret_is_not() {
    let (server, settings) = server().await;
    server.fail_next(Fault::Status(503), 1);
    server.fail_next(Fault::LoseReply, 1);
    settings.set_lifecycle(&rules()).await.unwrap();
    assert_eq!(server.requests(), 3);
    assert_eq!(settings.lifecycle().await.unwrap().len(), 2);

    let mut config = server.config();
    config.s3.secret_key = Some(Secret::from("wrong-secret"));
    let before = server.requests();
    let stranger = Objects::from_config(&config).unwrap().settings();
    let error = stranger.lifecycle().await.unwrap_err();
    assert_eq!((error.kind(), server.requests() - before), (ErrorKind::Denied, 1));
    assert!(!format!("{error:?}").contains("wrong-secret"));
}

#[tokio::test]
async fn a_store_that_hangs_or_is_gone_is_an_error_in_time() {
    let (server, _) = server().await;
    let mut config = server.config();
    config.s3.request_timeout = Duration::from_millis(200);
    let objects = Objects::from_config(&config).unwrap().with_budget(Budget::Probe);
    server.fail_next(Fault::Slow(Duration::from_secs(60)), 1);
    let error = objects.settings().lifecycle().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandTimeout, "{error}");
    drop(server);
    let error = objects.settings().lifecycle().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}
