//! The audit trail of the service: every route that changes something leaves an entry that names
//! what it touched, before its answer goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::header::ALLOW;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::{eventually, require};

use crate::running::{Answer, Login, Service};
use crate::slice::entries;

const ROUTES: &str = include_str!("../../service/routes.rs");

/// The templates that the service names in its source.
fn templates() -> BTreeSet<&'static str> {
    let named = ROUTES.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let templates: BTreeSet<_> = named.collect();
    assert!(templates.len() > 15, "{templates:?}");
    templates
}

/// Every method and template that may change something, as the running service says: it names
/// what a route allows to whoever asks with a method that none has.
async fn changes(service: &Service, alice: &Login) -> BTreeSet<String> {
    let mut changes = BTreeSet::new();
    for template in templates() {
        let path = template.replace(['{', '}'], "");
        let odd = Method::from_bytes(b"XYZZY").unwrap();
        let answer = Answer::to(alice.by_token(service.request(odd, &path))).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{template}");
        let allowed = answer.headers[ALLOW].to_str().unwrap();
        let writes = allowed.split(',').filter(|method| !matches!(*method, "GET" | "HEAD"));
        changes.extend(writes.map(|method| format!("{method} {template}")));
    }
    changes
}

/// What one request leaves.
struct Trace {
    /// Method and template.
    route: &'static str,
    action: &'static str,
    resource: Value,
    actor: &'static str,
    request: RequestBuilder,
}

fn trace(
    route: &'static str,
    action: &'static str,
    resource: Value,
    request: RequestBuilder,
) -> Trace {
    Trace { route, action, resource, actor: "bob", request }
}

/// One request for each route, in an order that leaves the sessions alive as long as they are
/// needed.
async fn traces(service: &Service, alice: &Login, bob: &Login) -> Vec<Trace> {
    let (other, last) = (service.login("bob").await, service.login("bob").await);
    let body = |login: &Login, field: &str| login.body[field].as_str().unwrap().to_owned();
    let (ended, here) = (body(&other, "session_id"), body(bob, "session_id"));
    let put = |path: &str| bob.by_token(service.request(Method::PUT, path));
    let delete = |path: &str| bob.by_token(service.request(Method::DELETE, path));
    let log = json!({ "type": "audit_log", "id": "" });
    let admin = |mut trace: Trace| {
        trace.actor = "alice";
        trace
    };
    let carol = json!({ "user": "carol", "password": "carol-password" });
    let mut traces = vec![
        trace(
            "POST /login",
            "auth.login",
            json!({ "type": "session" }),
            service.post("/login").json(&carol),
        ),
        trace(
            "POST /refresh",
            "auth.refresh",
            json!({ "type": "session", "id": here }),
            service.post("/refresh").json(&json!({ "refresh_token": bob.refresh() })),
        ),
        trace(
            "PUT /session/data/{key}",
            "session_data.written",
            json!({ "type": "session_data", "id": "theme" }),
            put("/session/data/theme").json(&json!("a value that nobody records")),
        ),
        trace(
            "DELETE /session/data/{key}",
            "session_data.removed",
            json!({ "type": "session_data", "id": "theme" }),
            delete("/session/data/theme"),
        ),
        trace(
            "PUT /files/{name}",
            "file.written",
            json!({ "type": "file", "id": "report.csv" }),
            put("/files/report.csv").body("a content that nobody records"),
        ),
        trace(
            "DELETE /sessions/{id}",
            "auth.session_ended",
            json!({ "type": "session", "id": ended }),
            delete(&format!("/sessions/{ended}")),
        ),
        admin(trace(
            "POST /audit/archive",
            "audit.archived",
            log.clone(),
            alice.by_token(service.post("/audit/archive")),
        )),
        admin(trace(
            "POST /audit/verify",
            "audit.verified",
            log,
            alice.by_token(service.post("/audit/verify")),
        )),
        // Whom this and the last one are about, the log says under a pseudonym.
        admin(trace(
            "POST /audit/erase",
            "audit.subject_erased",
            json!({ "type": "subject" }),
            alice
                .by_token(service.post("/audit/erase"))
                .json(&json!({ "user": "carol", "reason": "asked for it" })),
        )),
        trace(
            "POST /logout",
            "auth.logout",
            json!({ "type": "session", "id": here }),
            bob.by_token(service.post("/logout")),
        ),
        trace(
            "POST /logout-all",
            "auth.logout_all",
            json!({ "type": "account" }),
            last.by_token(service.post("/logout-all")),
        ),
    ];
    traces[0].actor = "carol";
    traces
}

fn names(entry: &Value, trace: &Trace) -> bool {
    let wanted = trace.resource.as_object().unwrap();
    wanted.iter().all(|(name, value)| entry["resource"][name] == *value)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_an_entry_that_names_what_it_touched_before_its_answer() {
    let service = Service::start(&BTreeMap::new());
    let (alice, bob) = (service.login("alice").await, service.login("bob").await);
    let traces = traces(&service, &alice, &bob).await;
    let named: BTreeSet<_> = traces.iter().map(|trace| trace.route.to_owned()).collect();
    assert_eq!(
        changes(&service, &alice).await,
        named,
        "each route that changes something is in the table"
    );

    for trace in traces {
        let (method, template) = trace.route.split_once(' ').unwrap();
        let answer = Answer::to(trace.request.try_clone().unwrap()).await;
        assert!(answer.status.is_success(), "{}: {answer:?}", trace.route);
        let id = answer.headers["x-request-id"].to_str().unwrap();
        // It was acknowledged before the answer, so there is nothing to wait for.
        let made = entries(&service, &alice, &format!("action={}&limit=1", trace.action)).await;
        let entry = made.first().unwrap_or_else(|| panic!("{}: no entry", trace.route));
        assert!(names(entry, &trace), "{}: {entry}", trace.route);
        assert_eq!(entry["outcome"], "success", "{}: {entry}", trace.route);
        let access = format!("action=http.{}&limit=1", method.to_lowercase());
        let access = entries(&service, &alice, &access).await;
        assert_eq!(access[0]["resource"], json!({ "type": "route", "id": template }));
        assert_eq!(access[0]["request_id"], id, "{}: {access:?}", trace.route);
        if trace.action != "audit.subject_erased" {
            assert_eq!(entry["request_id"], id, "{}: {entry}", trace.route);
        }
        assert_eq!(entry["actor"]["id"], trace.actor, "{}: {entry}", trace.route);
        assert_eq!(access[0]["actor"]["id"], trace.actor, "{}: {access:?}", trace.route);
        let all = entries(&service, &alice, "limit=50").await;
        assert!(!format!("{all:?}").contains("that nobody records"), "{all:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_and_what_failed_is_on_record_as_well() {
    let service = Service::start(&BTreeMap::new());
    let (alice, carol) = (service.login("alice").await, service.login("carol").await);
    let put = carol.by_token(service.request(Method::PUT, "/files/x")).body("x");
    assert_eq!(Answer::to(put).await.status, StatusCode::FORBIDDEN);
    let wrong = json!({ "user": "carol", "password": "guess" });
    let login = Answer::to(service.post("/login").json(&wrong)).await;
    assert_eq!(login.status, StatusCode::UNAUTHORIZED);
    let large = json!("x".repeat(17 * 1024));
    let write = carol.by_token(service.request(Method::PUT, "/session/data/k")).json(&large);
    assert_eq!(Answer::to(write).await.status, StatusCode::BAD_REQUEST);
    for (action, outcome, actor) in [
        ("file.written", "denied", "carol"),
        ("auth.login", "denied", ""),
        ("session_data.written", "failure", "carol"),
    ] {
        let made = entries(&service, &alice, &format!("action={action}&limit=1")).await;
        assert_eq!(made[0]["outcome"], outcome, "{action}: {made:?}");
        assert_eq!(made[0]["actor"]["id"], actor, "{action}: {made:?}");
    }
    // A scan: one template, whatever it asks for. Reads are recorded behind their answers.
    assert_eq!(service.status("/wp-login.php?secret").await, StatusCode::NOT_FOUND);
    assert_eq!(service.status("/livez").await, StatusCode::OK);
    eventually("the scan is on record", Duration::from_secs(10), async || {
        let reads = entries(&service, &alice, "action=http.get&limit=100").await;
        assert!(!format!("{reads:?}").contains("livez"), "{reads:?}");
        reads.iter().any(|read| read["resource"]["id"] == "(unmatched)")
    })
    .await;
}

/// What sessions report arrives with who did it, from where, and an id of its own.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_sessions_arrive_in_the_log() {
    let service = Service::start(&BTreeMap::new());
    let alice = service.login("alice").await;
    let bob = service.login_from("bob", "Test/1.0", "desk").await;
    let id = bob.body["session_id"].as_str().unwrap();
    eventually("the event arrives", Duration::from_secs(20), async || {
        let issued = entries(&service, &alice, "actor=bob&action=session.issued").await;
        let Some(event) = issued.first() else { return false };
        assert_eq!(issued.len(), 1, "{issued:?}");
        assert_eq!(event["resource"], json!({ "type": "session", "id": id }));
        assert_eq!(event["actor"], json!({ "type": "user", "id": "bob" }));
        assert_eq!(event["client"]["user_agent"], "Test/1.0");
        assert_eq!(event["client"]["ip"], "127.0.0.1");
        assert!(event["id"].as_str().is_some_and(|id| id.len() == 36), "{event}");
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_cannot_be_read_any_more_and_the_log_still_verifies() {
    let service = Service::start(&BTreeMap::new());
    let (alice, dora) = (service.login("alice").await, service.login("dora").await);
    service.login_from("carol", "Carols-Phone/1.0", "phone").await;
    let archived = Answer::to(alice.by_token(service.post("/audit/archive"))).await;
    assert_eq!(archived.status, StatusCode::OK, "{archived:?}");
    let readable = entries(&service, &dora, "limit=100").await;
    assert!(format!("{readable:?}").contains("Carols-Phone"), "an auditor may read");

    let erase = |login: &Login, user: &str| {
        let body = json!({ "user": user, "reason": "asked for it" });
        login.by_token(service.post("/audit/erase")).json(&body)
    };
    assert_eq!(Answer::to(erase(&dora, "carol")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(Answer::to(erase(&alice, "alice")).await.error().1, "own");
    assert_eq!(Answer::to(erase(&alice, "")).await.status, StatusCode::BAD_REQUEST);
    let erased = Answer::to(erase(&alice, "carol")).await;
    assert_eq!(erased.status, StatusCode::OK, "{erased:?}");
    assert!(erased.body["keys"].as_u64().unwrap() > 0, "{erased:?}");

    let left = entries(&service, &alice, "limit=100").await;
    for trace in ["Carols-Phone", "\"carol\""] {
        let shown = left.iter().find(|entry| entry.to_string().contains(trace));
        assert_eq!(shown, None, "{trace}");
    }
    let verified = Answer::to(dora.by_token(service.get("/audit/verify"))).await;
    assert_eq!((verified.status, &verified.body["sound"]), (StatusCode::OK, &json!(true)));
}

/// Writes one attribute.
async fn write(service: &Service, login: &Login, key: &str) -> StatusCode {
    let path = format!("/session/data/{key}");
    let request = login.by_token(service.request(Method::PUT, &path)).json(&json!(1));
    Answer::to(request).await.status
}

/// Redis is gone and the spool is full: nothing can be recorded any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_refused_and_not_done() {
    if !require("redis-server", "what_cannot_be_recorded_is_refused_and_not_done") {
        return;
    }
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let service = Service::start(&BTreeMap::from([
        ("WATCHDOG_REDIS_URL", redis.url()),
        ("WATCHDOG_SESSION_STORE", "memory".to_owned()),
        ("WATCHDOG_AUDIT_FAIL_CLOSED", "true".to_owned()),
        ("WATCHDOG_AUDIT_SUBJECT_KEYS", "embedded".to_owned()),
        ("WATCHDOG_AUDIT_SPOOL_MAX_BYTES", (1024 * 1024).to_string()),
    ]));
    let bob = service.login("bob").await;
    assert_eq!(write(&service, &bob, "before").await, StatusCode::NO_CONTENT);
    redis.kill();
    assert_eq!(write(&service, &bob, "spooled").await, StatusCode::NO_CONTENT, "by the spool");
    fill(&service, &bob).await;
    assert_eq!(write(&service, &bob, "refused").await, StatusCode::SERVICE_UNAVAILABLE);
    let data = Answer::to(bob.by_token(service.get("/session/data"))).await;
    assert_eq!(data.status, StatusCode::OK, "reads go on");
    let keys: BTreeSet<_> = data.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(keys.contains("before") && keys.contains("spooled"), "{keys:?}");
    assert!(!keys.contains("refused"), "it was not done: {keys:?}");

    redis.restart();
    eventually("changes are taken again", Duration::from_secs(30), async || {
        write(&service, &bob, "after").await == StatusCode::NO_CONTENT
    })
    .await;
    let alice = service.login("alice").await;
    let written = entries(&service, &alice, "action=session_data.written&limit=1000").await;
    let done = |key: &str| {
        let is_it = |entry: &&Value| entry["resource"]["id"] == key;
        written.iter().filter(is_it).filter(|entry| entry["outcome"] == "success").count()
    };
    assert_eq!([done("before"), done("spooled"), done("refused")], [1, 1, 0]);
}

/// Sends changes until the log takes no more.
async fn fill(service: &Service, login: &Login) {
    let mut is_full = false;
    for _ in 0..100 {
        let changes = (0..50).map(|_| write(service, login, "filler"));
        let statuses = futures::future::join_all(changes).await;
        is_full = statuses.contains(&StatusCode::SERVICE_UNAVAILABLE);
        if is_full {
            break;
        }
    }
    assert!(is_full, "the spool is never full");
}
