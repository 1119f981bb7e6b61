//! What can go wrong between `Objects` and an S3 store.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use watchdog_core::health::Status;
use watchdog_core::{HealthCheck as _, Secret};
use watchdog_storage::objects::{Budget, Objects, Put, StorageConfig};
use watchdog_storage::testing::s3::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use watchdog_storage::{Error, ErrorKind};

const KEY: &str = "folder/object";

fn content() -> Bytes {
    Bytes::from_static(b"a content that is long enough to be cut in half")
}

async fn server() -> (S3Server, Objects) {
    let server = S3Server::start().await.unwrap();
    let objects = Objects::from_config(&server.config()).unwrap();
    (server, objects)
}

fn with(server: &S3Server, change: impl FnOnce(&mut StorageConfig)) -> Objects {
    let mut config = server.config();
    change(&mut config);
    Objects::from_config(&config).unwrap()
}

/// The error and all that is behind it, as a log would print it.
fn in_full(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error} {error:?} {source}")
}

#[tokio::test]
async fn a_wrong_secret_is_denied_and_no_secret_is_told() {
    let server = S3Server::start().await.unwrap();
    let wrong = with(&server, |config| config.s3.secret_key = Some(Secret::from("wrong-secret")));
    let stranger = with(&server, |config| config.s3.access_key = Some(Secret::from("stranger")));
    for objects in [wrong, stranger] {
        let errors = [
            objects.put(KEY, content()).await.unwrap_err(),
            objects.get(KEY).await.unwrap_err(),
            objects.list("", None, 1).await.unwrap_err(),
            objects.put_if_absent(KEY, content()).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
            assert!(!error.is_retryable());
            let text = in_full(&error);
            for secret in [ACCESS_KEY, SECRET_KEY, "wrong-secret", "stranger"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        assert_eq!(objects.health().check().await.status, Status::Fail);
    }
}

#[tokio::test]
async fn neither_objects_nor_settings_show_a_secret() {
    let (server, objects) = server().await;
    let config = server.config();
    let json = serde_json::to_string(&config).unwrap();
    for text in [format!("{objects:?} {:?}", objects.health()), format!("{config:#?}"), json] {
        assert!(!text.contains(ACCESS_KEY) && !text.contains(SECRET_KEY), "{text}");
    }
}

#[tokio::test]
async fn an_endpoint_works_with_and_without_a_scheme() {
    let server = S3Server::start().await.unwrap();
    let address = server.address();
    for (endpoint, secure) in [
        (format!("http://{address}"), true),
        (format!("http://{address}/"), true),
        (format!("{address}"), false),
    ] {
        let objects = with(&server, |config| {
            config.s3.endpoint = Some(endpoint);
            config.s3.secure = secure;
        });
        objects.put(KEY, content()).await.unwrap();
    }
    // Without a scheme and with the default, TLS is spoken, and this server does not.
    let objects = with(&server, |config| config.s3.secure = true);
    assert_eq!(objects.put(KEY, content()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let (server, other) =
        (S3Server::start_tls().await.unwrap(), S3Server::start_tls().await.unwrap());
    let objects = with(&server, |config| config.s3.tls_ca = other.config().s3.tls_ca);
    let error = objects.put(KEY, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", in_full(&error));
    assert!(in_full(&error).contains("certificate"), "{}", in_full(&error));
    assert!(!error.is_retryable());
    let system = with(&server, |config| config.s3.tls_ca = None);
    assert_eq!(system.get(KEY).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_certificate_file_that_is_none_is_a_configuration_error() {
    let server = S3Server::start_tls().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    for text in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nnot base64\n")] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let mut config = server.config();
        config.s3.tls_ca = Some(path.clone());
        let error = Objects::from_config(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text:?}");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_a_configuration_error() {
    let server = S3Server::start().await.unwrap();
    let objects = with(&server, |config| config.s3.bucket = Some("no-such-bucket".into()));
    assert_eq!(objects.list("", None, 1).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(objects.health().check().await.status, Status::Fail);
}

#[tokio::test]
async fn two_bad_answers_are_tried_again_and_the_third_is_final() {
    let (server, objects) = server().await;
    for fault in [Fault::Status(503), Fault::Status(500), Fault::Cut] {
        server.fail_next(fault.clone(), 2);
        let before = server.requests();
        objects.put(KEY, content()).await.unwrap();
        assert_eq!(server.requests() - before, 3, "{fault:?}");

        server.fail_next(fault.clone(), 3);
        let error = objects.put(KEY, content()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    }
}

#[tokio::test]
async fn a_storm_of_503_ends_within_the_budget() {
    let (server, objects) = server().await;
    server.fail_next(Fault::Status(503), 1000);
    let started = Instant::now();
    let error = objects.put(KEY, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(in_full(&error).contains("SlowDown"), "{}", in_full(&error));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(server.requests(), 3, "one try and two retries");
    let error = objects.put_if_absent(KEY, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        objects.put_verified(KEY, content()).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert!(started.elapsed() < Duration::from_secs(16), "{:?}", started.elapsed());
}

#[tokio::test]
async fn background_work_outlasts_what_the_foreground_gives_up() {
    let (server, objects) = server().await;
    server.fail_next(Fault::Status(503), 5);
    objects.with_budget(Budget::Background).put(KEY, content()).await.unwrap();
    assert_eq!(server.requests(), 6);
}

#[tokio::test]
async fn a_slow_store_is_a_timeout() {
    let server = S3Server::start().await.unwrap();
    let objects = with(&server, |config| {
        config.s3.request_timeout = Duration::from_millis(200);
        config.s3.retry_budget = Duration::from_millis(100);
    });
    server.fail_next(Fault::Slow(Duration::from_secs(30)), 10);
    let started = Instant::now();
    let error = objects.get(KEY).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::CommandTimeout, true),
        "{error:?}"
    );
    assert_eq!(objects.list("", None, 1).await.unwrap_err().kind(), ErrorKind::CommandTimeout);
    assert_eq!(objects.put(KEY, content()).await.unwrap_err().kind(), ErrorKind::CommandTimeout);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let (server, objects) = server().await;
    drop(server);
    assert_eq!(objects.put(KEY, content()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(objects.health().check().await.status, Status::Fail);
}

#[tokio::test]
async fn a_content_cut_short_is_read_again_or_reported_never_returned() {
    let (server, objects) = server().await;
    objects.put(KEY, content()).await.unwrap();
    server.fail_next(Fault::Truncate, 1);
    assert_eq!(objects.get(KEY).await.unwrap(), content(), "the rest is fetched");
    server.fail_next(Fault::Truncate, 100);
    let error = objects.get(KEY).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", in_full(&error));
}

#[tokio::test]
async fn put_verified_catches_a_store_that_stored_nothing() {
    let (server, objects) = server().await;
    server.fail_next(Fault::NotStored, 1);
    let error = objects.put_verified(KEY, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(KEY), "{error}");
    assert_eq!(objects.put_verified(KEY, content()).await.unwrap(), Put::Created);
}

#[tokio::test]
async fn put_verified_catches_one_wrong_bit() {
    let (server, objects) = server().await;
    server.fail_next(Fault::Flip, 1);
    let error = objects.put_verified(KEY, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(objects.put_verified(KEY, content()).await.unwrap(), Put::AlreadyExists);
    server.fail_next(Fault::Flip, 1);
    let error = objects.put_verified(KEY, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition, "{error}");
}

#[tokio::test]
async fn put_verified_costs_three_requests_and_two_when_the_object_is_there() {
    let (server, objects) = server().await;
    objects.put_verified(KEY, content()).await.unwrap();
    assert_eq!(server.requests(), 3, "HEAD, PUT, GET");
    objects.put_verified(KEY, content()).await.unwrap();
    assert_eq!(server.requests(), 5, "HEAD, GET");
}

#[tokio::test]
async fn a_lost_reply_is_not_somebody_elses_object() {
    let (server, objects) = server().await;
    server.fail_next(Fault::LoseReply, 1);
    let put = objects.put_if_absent(KEY, content()).await.unwrap();
    assert_eq!(put, Put::Created, "the retry met what the first try had written");
    assert_eq!(server.requests(), 3, "PUT without a reply, PUT refused, HEAD");
    assert_eq!(objects.put_if_absent(KEY, content()).await.unwrap(), Put::AlreadyExists);
    server.fail_next(Fault::LoseReply, 1);
    assert_eq!(objects.put_if_absent(KEY, content()).await.unwrap(), Put::AlreadyExists);
}

#[tokio::test]
async fn a_reply_that_comes_too_late_is_not_lost() {
    let server = S3Server::start().await.unwrap();
    let objects = with(&server, |config| config.s3.request_timeout = Duration::from_millis(500));
    server.fail_next(Fault::Slow(Duration::from_secs(30)), 1);
    assert_eq!(objects.put_if_absent(KEY, content()).await.unwrap(), Put::Created);
}

/// apache/arrow-rs-object-store#852: a conflict is reported and nothing was written.
#[tokio::test]
async fn a_conflict_with_nothing_is_tried_again_and_never_taken_for_an_object() {
    let (server, objects) = server().await;
    server.fail_next(Fault::Conflict, 2);
    assert_eq!(objects.put_if_absent(KEY, content()).await.unwrap(), Put::Created);
    objects.delete(KEY).await.unwrap();
    server.fail_next(Fault::Conflict, 3);
    let error = objects.put_if_absent(KEY, content()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert_eq!(objects.head(KEY).await.unwrap(), None);
}

#[tokio::test]
async fn a_create_has_one_deadline_for_all_its_requests() {
    let server = S3Server::start().await.unwrap();
    let objects = with(&server, |config| {
        config.s3.request_timeout = Duration::from_millis(900);
        config.s3.retry_budget = Duration::from_millis(100);
    });
    // A write and a look, three times over, would be all in all six seconds and more.
    for _ in 0..10 {
        server.fail_next(Fault::Conflict, 1);
        server.fail_next(Fault::Slow(Duration::from_millis(700)), 1);
    }
    let started = Instant::now();
    let result = objects.put_if_absent(KEY, content()).await;
    assert!(started.elapsed() < Duration::from_millis(2600), "{:?} {result:?}", started.elapsed());
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test]
async fn a_store_that_ignores_create_only_is_found_out() {
    let (server, objects) = server().await;
    assert!(objects.probe_create_only().await.unwrap());
    server.fail_next(Fault::IgnoreCondition, 2);
    assert!(!objects.probe_create_only().await.unwrap());
    assert!(objects.list("", None, 10).await.unwrap().objects.is_empty(), "probes leave nothing");
}

#[tokio::test]
async fn a_health_check_is_one_request_whatever_the_answer() {
    let (server, objects) = server().await;
    let health = objects.health();
    let report = health.check().await;
    assert_eq!(report.status, Status::Pass, "{report:?}");
    assert!(report.observations.contains_key("round_trip_ms"));
    assert_eq!(server.requests(), 1);

    server.fail_next(Fault::Status(503), 1);
    assert_eq!(health.check().await.status, Status::Fail);
    assert_eq!(server.requests(), 2, "no retry");

    server.fail_next(Fault::Slow(Duration::from_secs(30)), 1);
    let started = Instant::now();
    assert_eq!(health.check().await.status, Status::Fail);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(server.requests(), 3, "no retry");
}

#[tokio::test]
async fn many_objects_are_listed_page_by_page() {
    let (server, objects) = server().await;
    let all: Vec<String> = (0..2500).map(|number| format!("many/{number:05}")).collect();
    for key in &all {
        let file = server.file(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, b"1").unwrap();
    }
    assert_eq!(listed(&objects, 700).await, all);
    let before = server.requests();
    assert_eq!(listed(&objects, 5000).await, all);
    assert_eq!(server.requests() - before, 3, "1000 keys a request");
}

async fn listed(objects: &Objects, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = objects.list("many/", after.as_deref(), limit).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}
