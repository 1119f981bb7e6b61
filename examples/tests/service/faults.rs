//! The service while a server is away, and while it stops.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::{eventually, require, wait_until};

use crate::running::{Answer, Service, program};

/// Interval and timeout of the checks that readiness depends on.
const SHOWS_WITHIN: Duration = Duration::from_secs(3);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);

async fn becomes(service: &Service, path: &str, status: StatusCode, limit: Duration) {
    let what = format!("{path} becomes {status}");
    eventually(&what, limit, async || service.status(path).await == status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_cookie_is_kept_and_with_it_everything_works_again() {
    if !require("redis-server", "without_redis_the_cookie_is_kept") {
        return;
    }
    // Its data survives a crash: what is tested here is the client.
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let service = Service::start(&BTreeMap::from([("WATCHDOG_REDIS_URL", redis.url())]));
    let alice = service.login("alice").await;
    becomes(&service, "/readyz", StatusCode::OK, SLACK).await;

    for crash in [true, false] {
        if crash {
            redis.kill();
        } else {
            redis.pause();
        }
        let stopped = Instant::now();
        let me = Answer::to(alice.by_cookie(service.get("/me"))).await;
        assert_eq!(me.error(), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"), "crash {crash}");
        assert_eq!(me.set_cookie(), None, "the session may be well");
        assert!(me.headers.contains_key(RETRY_AFTER));
        becomes(&service, "/readyz", StatusCode::SERVICE_UNAVAILABLE, SHOWS_WITHIN + SLACK).await;
        assert!(stopped.elapsed() < SHOWS_WITHIN + SLACK, "{:?}", stopped.elapsed());
        assert_eq!(service.status("/livez").await, StatusCode::OK, "no reason to restart us");
        assert_eq!(service.status("/startupz").await, StatusCode::OK);
        let by_token = Answer::to(alice.by_token(service.get("/me"))).await;
        assert_eq!(by_token.status, StatusCode::OK, "an access token needs no store");
        let login = serde_json::json!({ "user": "bob", "password": "bob-password" });
        let refused = Answer::to(service.post("/login").json(&login)).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.set_cookie(), None);

        if crash {
            redis.restart();
        } else {
            redis.resume();
        }
        eventually("the session works again", Duration::from_secs(30), async || {
            Answer::to(alice.by_cookie(service.get("/me"))).await.status == StatusCode::OK
        })
        .await;
        becomes(&service, "/readyz", StatusCode::OK, Duration::from_secs(30)).await;
        service.login("bob").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_at_start_is_said_at_once() {
    let port = watchdog_storage::testing::free_port();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(program("service"))
        .env_clear()
        .env("WATCHDOG_REDIS_URL", format!("redis://127.0.0.1:{port}"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("redis"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_fails_readiness_first_and_then_stops_in_order() {
    let drain = BTreeMap::from([("WATCHDOG_EXAMPLE_DRAIN", "2s".to_owned())]);
    let service = Service::start(&drain);
    let alice = service.login("alice").await;
    becomes(&service, "/readyz", StatusCode::OK, SLACK).await;

    let process = service.process().id().to_string();
    assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
    becomes(&service, "/readyz", StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(1)).await;
    let me = Answer::to(alice.by_cookie(service.get("/me"))).await;
    assert_eq!(me.status, StatusCode::OK, "requests that still come are answered");
    assert_eq!(service.status("/livez").await, StatusCode::OK);
    wait_until("the service ends", Duration::from_secs(20), || !service.process().is_running());
    assert!(service.process().log().contains("\"stopped\""), "{}", service.process().log());
}
