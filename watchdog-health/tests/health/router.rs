//! What a caller sees over HTTP.

use std::time::Duration;

use crate::support::{Act, Told};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use watchdog_core::health::CheckReport;
use watchdog_core::testing::ManualClock;
use watchdog_health::{CheckSpec, DetailPolicy, Health, Impact, Probe, router};

async fn ask(router: &Router, method: Method, path: &str, role: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(role) = role {
        request = request.header("x-role", role);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn get(router: &Router, path: &str, role: Option<&str>) -> (StatusCode, Value) {
    let response = ask(router, Method::GET, path, role).await;
    let code = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (code, serde_json::from_slice(&body).unwrap())
}

fn admins() -> DetailPolicy {
    DetailPolicy::when(|request| request.headers.get("x-role").is_some_and(|role| role == "admin"))
}

/// A critical `db`, a degrading `redis`, an informing `nova`.
async fn service(db: Act, redis: Act, nova: Act) -> (Health, Router) {
    let spec = |name| CheckSpec::new(name).with_hysteresis(1, 1);
    let health = Health::builder()
        .with_service_id("shop")
        .with_release_id("1.2.3")
        .with_clock(std::sync::Arc::new(ManualClock::default()))
        .check(spec("db").with_probes([Probe::Readiness, Probe::Startup]), Told::to(db).port())
        .check(spec("redis").with_impact(Impact::Degrading), Told::to(redis).port())
        .check(spec("nova").with_impact(Impact::Informing), Told::to(nova).port())
        .build()
        .unwrap();
    health.first_results().await;
    let router = router(health.clone(), admins());
    (health, router)
}

fn pass() -> Act {
    Act::Answer(CheckReport::pass())
}

fn fail() -> Act {
    Act::Answer(CheckReport::fail("connection refused"))
}

#[tokio::test(start_paused = true)]
async fn pass_and_warn_are_200_and_fail_is_503() {
    let ok = StatusCode::OK;
    let down = StatusCode::SERVICE_UNAVAILABLE;
    let status = |status: &str| json!({ "status": status });

    let (_health, router) = service(pass(), pass(), fail()).await;
    for path in ["/livez", "/readyz", "/startupz", "/health", "/health/db"] {
        assert_eq!(get(&router, path, None).await, (ok, status("pass")), "{path}");
    }
    assert_eq!(get(&router, "/health/nova", None).await, (down, status("fail")));

    let (_health, router) = service(pass(), fail(), pass()).await;
    assert_eq!(get(&router, "/readyz", None).await, (ok, status("warn")));
    assert_eq!(get(&router, "/health", None).await, (ok, status("warn")));
    assert_eq!(get(&router, "/health/redis", None).await, (down, status("fail")));
    assert_eq!(get(&router, "/startupz", None).await, (ok, status("pass")));

    let (_health, router) = service(fail(), pass(), pass()).await;
    assert_eq!(get(&router, "/readyz", None).await, (down, status("fail")));
    assert_eq!(get(&router, "/startupz", None).await, (down, status("fail")));
    assert_eq!(get(&router, "/livez", None).await, (ok, status("pass")));
}

#[tokio::test(start_paused = true)]
async fn callers_without_a_role_see_a_status_only() {
    let (_health, router) = service(fail(), fail(), fail()).await;
    for path in ["/livez", "/readyz", "/startupz", "/health", "/health/db"] {
        for role in [None, Some("viewer")] {
            let (_, body) = get(&router, path, role).await;
            assert_eq!(body.as_object().unwrap().len(), 1, "{path}: {body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn details_follow_the_draft() {
    let redis = CheckReport::pass().with_observation("round_trip_ms", 0.5);
    let (_health, router) = service(fail(), Act::Answer(redis), pass()).await;
    let (code, body) = get(&router, "/health", Some("admin")).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["status"], "fail");
    assert_eq!(body["serviceId"], "shop");
    assert_eq!(body["releaseId"], "1.2.3");
    let db = &body["checks"]["db"][0];
    assert_eq!(db["status"], "fail");
    assert_eq!(db["lastResult"], "fail");
    assert_eq!(db["impact"], "critical");
    assert_eq!(db["output"], "connection refused");
    assert_eq!(db["time"], "2026-01-01T00:00:00Z");
    assert!(db["ageSeconds"].is_number() && db["durationSeconds"].is_number(), "{db}");
    let redis = &body["checks"]["redis"][0];
    assert_eq!((&redis["status"], &redis["output"]), (&json!("pass"), &Value::Null));
    assert_eq!(body["checks"]["redis:round_trip_ms"][0]["observedValue"], 0.5);

    let (_, body) = get(&router, "/health/redis", Some("admin")).await;
    let names: Vec<_> = body["checks"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["redis", "redis:round_trip_ms"]);
    let (_, body) = get(&router, "/startupz", Some("admin")).await;
    assert_eq!(body["checks"].as_object().unwrap().len(), 1);
    let (_, body) = get(&router, "/livez", Some("admin")).await;
    assert_eq!(body["checks"]["runtime"][0]["status"], "pass");
}

#[tokio::test(start_paused = true)]
async fn before_the_first_result_nobody_can_tell() {
    let health =
        Health::builder().check(CheckSpec::new("db"), Told::to(Act::Hang).port()).build().unwrap();
    let router = router(health, admins());
    let (code, body) = get(&router, "/readyz", Some("admin")).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"]["db"][0]["status"], "unknown");
    assert_eq!(body["checks"]["db"][0]["output"], "no result yet");
    assert_eq!(get(&router, "/health/db", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&router, "/startupz", None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&router, "/livez", None).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn every_answer_names_its_type_and_is_never_stored() {
    let (_health, router) = service(pass(), fail(), pass()).await;
    for path in ["/livez", "/readyz", "/startupz", "/health", "/health/redis", "/health/nobody"] {
        for method in [Method::GET, Method::HEAD] {
            let response = ask(&router, method.clone(), path, None).await;
            let header = |name| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "application/health+json", "{method} {path}");
            assert_eq!(header("cache-control"), "no-store", "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn head_answers_like_get_without_a_body() {
    let (_health, router) = service(fail(), pass(), pass()).await;
    for path in ["/livez", "/readyz", "/startupz", "/health", "/health/redis", "/health/nobody"] {
        let code = get(&router, path, None).await.0;
        let response = ask(&router, Method::HEAD, path, None).await;
        assert_eq!(response.status(), code, "{path}");
        assert!(to_bytes(response.into_body(), 1).await.unwrap().is_empty(), "{path}");
    }
    let response = ask(&router, Method::POST, "/readyz", None).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn a_name_nobody_registered_is_not_found() {
    let (_health, router) = service(pass(), pass(), pass()).await;
    for role in [None, Some("admin")] {
        let (code, body) = get(&router, "/health/db2", role).await;
        assert_eq!(code, StatusCode::NOT_FOUND);
        assert_eq!(body, json!({ "status": "unknown" }));
    }
}

#[tokio::test(start_paused = true)]
async fn draining_shows_in_readiness_at_once() {
    let (health, router) = service(pass(), pass(), pass()).await;
    health.drain();
    let (code, body) = get(&router, "/readyz", Some("admin")).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["notes"], json!(["draining"]));
    assert_eq!(get(&router, "/livez", None).await.0, StatusCode::OK);
    assert_eq!(get(&router, "/health/db", None).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_cause_no_probe() {
    let db = Told::pass();
    let health = Health::builder().check(CheckSpec::new("db"), db.port()).build().unwrap();
    health.first_results().await;
    let router = router(health, admins());
    assert_eq!(db.probes(), 1);
    for request in 0..10_000 {
        let (path, role) = [("/readyz", None), ("/health", Some("admin"))][request % 2];
        assert_eq!(ask(&router, Method::GET, path, role).await.status(), StatusCode::OK);
    }
    assert_eq!(db.probes(), 1, "no time passed, so nothing was due");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(db.probes(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_hanging_probe_do_not_wait_and_start_no_other() {
    let db = Told::to(Act::Hang);
    let health = Health::builder().check(CheckSpec::new("db"), db.port()).build().unwrap();
    let router = router(health, admins());
    tokio::task::yield_now().await;
    let before = tokio::time::Instant::now();
    let storm: Vec<_> = (0..1000)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { ask(&router, Method::GET, "/readyz", None).await.status() })
        })
        .collect();
    for request in storm {
        assert_eq!(request.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(db.probes(), 1);
}
