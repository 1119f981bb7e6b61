//! One way through all five crates, on embedded back ends and on real servers.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchdog_storage::testing::{eventually, require};

use crate::running::{Answer, Login, Service, program};
use crate::servers::RealServers;

#[tokio::test(flavor = "multi_thread")]
async fn the_slice_on_embedded_back_ends() {
    let service = Service::start(&BTreeMap::new());
    slice(&service).await;
    assert_eq!(service.status("/health/redis").await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slice_on_redis_postgres_and_s3() {
    // The thread of the test has its name, the threads of its runtime do not.
    if !require("redis-server", "the_slice_on_redis_postgres_and_s3") {
        return;
    }
    let Some(servers) = RealServers::start().await else { return };
    let service = Service::start(&servers.variables());
    slice(&service).await;
    for name in ["redis", "db", "storage"] {
        assert_eq!(service.status(&format!("/health/{name}")).await, StatusCode::OK, "{name}");
    }
    assert!(servers.s3.requests() > 0);
}

async fn slice(service: &Service) {
    eventually("the service is ready", Duration::from_secs(10), async || {
        service.status("/readyz").await == StatusCode::OK
    })
    .await;
    let alice = service.login("alice").await;
    me(service, &alice).await;
    let bob = service.login("bob").await;
    let carol = service.login("carol").await;
    files(service, &bob, &carol).await;
    theft(service).await;
    malformed(service, &alice).await;
    audit(service, &alice, &carol).await;
    health(service, &alice, &carol).await;
    logout(service, &alice).await;
}

async fn me(service: &Service, alice: &Login) {
    let expected = json!({
        "user": "alice", "role": "admin", "session_id": alice.body["session_id"],
    });
    let by_cookie = Answer::to(alice.by_cookie(service.get("/me"))).await;
    assert_eq!((by_cookie.status, &by_cookie.body), (StatusCode::OK, &expected));
    let by_token = Answer::to(alice.by_token(service.get("/me"))).await;
    assert_eq!((by_token.status, &by_token.body), (StatusCode::OK, &expected));
    let without = Answer::to(service.get("/me")).await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    assert!(without.headers.contains_key(WWW_AUTHENTICATE));
    let page = Answer::to(alice.by_cookie(service.get("/"))).await;
    assert!(page.text.contains("alice (admin)"), "{}", page.text);

    for (user, password) in [("alice", "bob-password"), ("mallory", "mallory-password"), ("", "")] {
        let body = json!({ "user": user, "password": password });
        let refused = Answer::to(service.post("/login").json(&body)).await;
        assert_eq!(refused.body, json!({ "error": "invalid" }), "{user}");
        assert_eq!(refused.set_cookie(), None);
    }
}

async fn files(service: &Service, bob: &Login, carol: &Login) {
    let put = |login: &Login, path: &str| {
        login.by_token(service.request(Method::PUT, path)).body("a,b\n1,2\n")
    };
    assert_eq!(Answer::to(put(bob, "/files/report.csv")).await.status, StatusCode::NO_CONTENT);
    let refused = Answer::to(put(carol, "/files/report.csv")).await;
    assert_eq!(refused.error(), (StatusCode::FORBIDDEN, "forbidden"));
    let read = Answer::to(carol.by_cookie(service.get("/files/report.csv"))).await;
    assert_eq!((read.status, read.text.as_str()), (StatusCode::OK, "a,b\n1,2\n"));
    assert_eq!(read.headers[CONTENT_TYPE], "application/octet-stream");
    let missing = Answer::to(carol.by_token(service.get("/files/other.csv"))).await;
    assert_eq!(missing.error(), (StatusCode::NOT_FOUND, "not_found"));
    for name in ["%2e%2e%2fdevelopment-keys.json", "..%2Faudit", "a%2Fb"] {
        let answer = Answer::to(put(bob, &format!("/files/{name}"))).await;
        assert_eq!(answer.error(), (StatusCode::BAD_REQUEST, "invalid"), "{name}");
    }
    assert_eq!(service.status("/files/report.csv").await, StatusCode::UNAUTHORIZED);
}

/// A refresh token that was replaced, and whose successor was replaced, comes back.
async fn theft(service: &Service) {
    let bob = service.login("bob").await;
    let first = service.refresh(bob.refresh()).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_ne!(first.body["refresh_token"], bob.body["refresh_token"]);
    let second = service.refresh(first.body["refresh_token"].as_str().unwrap()).await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");

    let stolen = service.refresh(bob.refresh()).await;
    assert_eq!(
        (stolen.status, &stolen.body),
        (StatusCode::UNAUTHORIZED, &json!({ "error": "reused" }))
    );
    let dead = Answer::to(bob.by_cookie(service.get("/me"))).await;
    assert_eq!(dead.status, StatusCode::UNAUTHORIZED, "the session is gone");
    assert!(dead.set_cookie().is_some_and(|cookie| cookie.contains("Max-Age=0")), "{dead:?}");
    let current = service.refresh(second.body["refresh_token"].as_str().unwrap()).await;
    assert_eq!(current.status, StatusCode::UNAUTHORIZED, "for the thief and for the user");
}

async fn malformed(service: &Service, alice: &Login) {
    let json = |text: &'static str| {
        service.post("/login").header(CONTENT_TYPE, "application/json").body(text)
    };
    assert_eq!(
        Answer::to(json("{\"user\":")).await.error(),
        (StatusCode::BAD_REQUEST, "malformed")
    );
    let wrong = Answer::to(json("{\"user\":7}")).await;
    assert_eq!(wrong.error(), (StatusCode::UNPROCESSABLE_ENTITY, "malformed"));
    let forged = service.refresh("forged").await;
    assert_eq!(forged.error(), (StatusCode::UNAUTHORIZED, "invalid"));
    for query in ["limit=many", "from=yesterday", "cursor=x", "actr=bob"] {
        let answer = Answer::to(alice.by_token(service.get(&format!("/audit?{query}")))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

async fn audit(service: &Service, alice: &Login, carol: &Login) {
    for request in
        [service.get("/audit"), service.post("/audit/archive"), service.post("/audit/verify")]
    {
        let refused = Answer::to(carol.by_cookie(request)).await;
        assert_eq!(refused.error(), (StatusCode::FORBIDDEN, "forbidden"));
    }
    // The entry of a request was acknowledged before its answer, so there is nothing to wait for.
    let written = entries(service, alice, "action=file.written").await;
    let outcomes: Vec<_> = written.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["denied", "success"], "newest first");
    assert_eq!(written[1]["resource"], json!({ "type": "file", "id": "report.csv" }));
    assert_eq!(written[1]["actor"], json!({ "type": "user", "id": "bob" }));
    assert_eq!(entries(service, alice, "actor=carol&action=file.written").await.len(), 1);
    let denied = entries(service, alice, "action=auth.login").await;
    assert_eq!(denied.iter().filter(|entry| entry["outcome"] == "denied").count(), 2);
    eventually("the theft arrives in the log", Duration::from_secs(20), async || {
        let refresh = entries(service, alice, "limit=1000").await;
        refresh.iter().any(|entry| entry.to_string().contains("reuse"))
    })
    .await;

    let archived = Answer::to(alice.by_token(service.post("/audit/archive"))).await;
    assert_eq!(archived.status, StatusCode::OK, "{archived:?}");
    assert!(archived.body["entries"].as_u64().unwrap() > 10, "{archived:?}");
    let verified = Answer::to(alice.by_token(service.post("/audit/verify"))).await;
    assert_eq!(verified.status, StatusCode::OK, "{verified:?}");
    assert_eq!((&verified.body["sound"], &verified.body["fault"]), (&json!(true), &Value::Null));
    assert_eq!(verified.body["entries"], archived.body["entries"]);
    assert_eq!(entries(service, alice, "action=file.written").await.len(), 2, "from the archive");

    let page = Answer::to(alice.by_token(service.get("/audit?limit=3"))).await;
    let next = page.body["next"].as_str().unwrap();
    let more =
        Answer::to(alice.by_token(service.get(&format!("/audit?limit=3&cursor={next}")))).await;
    assert_eq!(more.body["records"].as_array().unwrap().len(), 3);
    assert_ne!(more.body["records"], page.body["records"]);
}

pub(crate) async fn entries(service: &Service, alice: &Login, query: &str) -> Vec<Value> {
    let answer = Answer::to(alice.by_token(service.get(&format!("/audit?{query}")))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let records = answer.body["records"].as_array().unwrap();
    records.iter().map(|record| record["entry"].clone()).collect()
}

async fn health(service: &Service, alice: &Login, carol: &Login) {
    for path in ["/livez", "/readyz", "/startupz", "/health", "/health/sessions", "/health/audit"] {
        let answer = Answer::to(carol.by_token(service.get(path))).await;
        assert_eq!(
            (answer.status, &answer.body),
            (StatusCode::OK, &json!({ "status": "pass" })),
            "{path}"
        );
        assert_eq!(answer.headers[CONTENT_TYPE], "application/health+json");
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    }
    let detailed = Answer::to(alice.by_token(service.get("/health"))).await;
    assert_eq!(detailed.body["checks"]["audit"][0]["status"], "pass", "{}", detailed.text);
    eventually("the metrics name the checks", Duration::from_secs(10), async || {
        let metrics = Answer::to(service.get("/metrics")).await.text;
        metrics.contains("watchdog_health_status{check=\"audit\"} 0")
    })
    .await;
}

async fn logout(service: &Service, alice: &Login) {
    let done = Answer::to(alice.by_cookie(service.post("/logout"))).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert!(done.set_cookie().is_some_and(|cookie| cookie.contains("Max-Age=0")), "{done:?}");
    assert_eq!(
        Answer::to(alice.by_cookie(service.get("/me"))).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(service.refresh(alice.refresh()).await.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_bad_configuration_is_reported_as_a_whole() {
    let output = Command::new(program("service"))
        .env_clear()
        .env("WATCHDOG_EXAMPLE_ADDR", "localhost")
        .env("WATCHDOG_SESION_TIMEOUT", "30min")
        .env("WATCHDOG_DB_POOL_SIZE", "five")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty());
    let report = String::from_utf8(output.stderr).unwrap();
    for variable in ["WATCHDOG_EXAMPLE_ADDR", "WATCHDOG_SESION_TIMEOUT", "WATCHDOG_DB_POOL_SIZE"] {
        assert!(report.contains(variable), "{variable} in {report}");
    }
}
