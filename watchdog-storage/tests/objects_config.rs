//! The `storage` section as variables fill it.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::Duration;

use watchdog_core::config::{ConfigError, Loaded, Loader};
use watchdog_storage::objects::{StorageConfig, StorageType};

fn load(variables: &[(&str, &str)]) -> Result<StorageConfig, ConfigError> {
    Loader::from_vars(variables.iter().copied()).load().map(Loaded::into_inner)
}

fn wrong(variables: &[(&str, &str)]) -> Vec<Vec<String>> {
    let error = load(variables).unwrap_err();
    error.problems().iter().map(|problem| problem.variables().to_vec()).collect()
}

#[test]
fn every_variable_arrives_where_it_belongs() {
    let config = load(&[
        ("WATCHDOG_STORAGE_TYPE", "s3"),
        ("WATCHDOG_STORAGE_LOCAL_PATH", "/srv/objects"),
        ("WATCHDOG_S3_ENDPOINT", "minio:9000"),
        ("WATCHDOG_S3_REGION", "eu-central-1"),
        ("WATCHDOG_S3_BUCKET", "my-bucket"),
        ("WATCHDOG_S3_ACCESS_KEY", "0012"),
        ("WATCHDOG_S3_SECRET_KEY", "007,=+/"),
        ("WATCHDOG_S3_SECURE", "false"),
        ("WATCHDOG_S3_REQUEST_TIMEOUT", "30s"),
    ])
    .unwrap();
    assert_eq!(config.kind, StorageType::S3);
    assert_eq!(config.local_path.to_str(), Some("/srv/objects"));
    assert_eq!(config.s3.endpoint.as_deref(), Some("minio:9000"));
    assert_eq!(config.s3.region, "eu-central-1");
    assert_eq!(config.s3.bucket.as_deref(), Some("my-bucket"));
    assert_eq!(config.s3.access_key.unwrap().expose(), "0012");
    assert_eq!(config.s3.secret_key.unwrap().expose(), "007,=+/");
    assert!(!config.s3.secure);
    assert_eq!(config.s3.request_timeout, Duration::from_secs(30));
}

#[test]
fn with_no_variable_it_is_a_local_directory() {
    assert_eq!(load(&[]).unwrap().kind, StorageType::Local);
}

#[test]
fn a_problem_names_its_variables() {
    let endpoint = ("WATCHDOG_S3_ENDPOINT", "http://minio:9000");
    let s3 = ("WATCHDOG_STORAGE_TYPE", "s3");
    let bucket = ("WATCHDOG_S3_BUCKET", "my-bucket");
    assert_eq!(wrong(&[s3]), [["WATCHDOG_S3_BUCKET"]]);
    assert_eq!(
        wrong(&[s3, bucket, endpoint, ("WATCHDOG_S3_SECURE", "true")]),
        [["WATCHDOG_S3_ENDPOINT", "WATCHDOG_S3_SECURE"]]
    );
    load(&[s3, bucket, endpoint]).unwrap();
}

#[test]
fn memory_is_refused_where_it_is_strict() {
    let memory = ("WATCHDOG_STORAGE_TYPE", "memory");
    load(&[memory]).unwrap();
    assert_eq!(wrong(&[memory, ("WATCHDOG_ENV", "production")]), [["WATCHDOG_STORAGE_TYPE"]]);
    assert_eq!(wrong(&[memory, ("WATCHDOG_ENV", "staging")]), [["WATCHDOG_STORAGE_TYPE"]]);
}
