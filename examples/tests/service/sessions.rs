//! Device list, attributes and their bounds, ending one session and all of them: on memory, on
//! Redis, and on two processes that share one Redis.

use std::collections::BTreeMap;

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, USER_AGENT};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::require;

use crate::running::{Answer, Login, Service};

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) FxiOS/143.0";

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_memory() {
    let service = Service::start(&BTreeMap::new());
    sessions(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_redis() {
    if !require("redis-server", "sessions_on_redis") {
        return;
    }
    let redis = RedisServer::start();
    let service = Service::start(&BTreeMap::from([("WATCHDOG_REDIS_URL", redis.url())]));
    sessions(&service).await;
}

pub(crate) async fn sessions(service: &Service) {
    devices(service).await;
    attributes(service).await;
    bounds(service).await;
    logout_all(service).await;
    second_login(service).await;
    page(service).await;
}

async fn devices(service: &Service) {
    let laptop = service.login("alice").await;
    let phone = service.login_from("alice", PHONE, "Alice's <phone>").await;
    let bob = service.login("bob").await;

    let listed = list(service, &laptop).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    let of = |login: &Login| {
        let id = &login.body["session_id"];
        listed.iter().find(|session| session["id"] == *id).unwrap()
    };
    assert_eq!(of(&laptop)["current"], true);
    assert_eq!(of(&laptop)["label"], Value::Null);
    let other = of(&phone);
    assert_eq!(other["current"], false);
    assert_eq!(other["label"], "Alice's <phone>");
    assert_eq!(other["user_agent"], PHONE);
    assert_eq!(other["ip"], "127.0.0.1");
    assert!(other["created_at"].as_str() <= other["last_seen"].as_str(), "{other}");
    let members: Vec<_> = other.as_object().unwrap().keys().cloned().collect();
    let all = ["id", "created_at", "last_seen", "ip", "user_agent", "label", "current"];
    assert_eq!(members, all, "and nothing else");
    assert_eq!(list(service, &bob).await.len(), 1, "each sees their own");
    let answer = Answer::to(laptop.by_token(service.get("/sessions"))).await;
    assert_eq!(answer.status, StatusCode::OK, "an access token lists, too");
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    assert_eq!(service.status("/sessions").await, StatusCode::UNAUTHORIZED);

    let id = phone.body["session_id"].as_str().unwrap();
    for unknown in [id, "0".repeat(32).as_str(), "x", "..%2F..%2Fetc"] {
        let answer = Answer::to(bob.by_cookie(end(service, unknown))).await;
        assert_eq!(answer.error(), (StatusCode::NOT_FOUND, "not_found"), "{unknown}");
    }
    let on_phone = || phone.by_cookie(service.get("/me")).header(USER_AGENT, PHONE);
    assert_eq!(Answer::to(on_phone()).await.status, StatusCode::OK, "bob ended nothing");

    let ended = Answer::to(laptop.by_cookie(end(service, id))).await;
    assert_eq!((ended.status, ended.set_cookie()), (StatusCode::NO_CONTENT, None));
    assert_eq!(Answer::to(on_phone()).await.status, StatusCode::UNAUTHORIZED);
    let refused = service.refresh(phone.refresh()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let again = Answer::to(laptop.by_cookie(end(service, id))).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "it is gone");
    let entry = newest(service, &laptop, "auth.session_ended").await;
    assert_eq!(entry["resource"], json!({ "type": "session", "id": id }));
    assert_eq!(entry["actor"]["id"], "alice");

    let id = laptop.body["session_id"].as_str().unwrap();
    let own = Answer::to(laptop.by_cookie(end(service, id))).await;
    assert_eq!(own.status, StatusCode::NO_CONTENT);
    assert!(own.set_cookie().is_some_and(|cookie| cookie.contains("Max-Age=0")), "{own:?}");
    let me = Answer::to(laptop.by_cookie(service.get("/me"))).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

async fn attributes(service: &Service) {
    let alice = service.login("alice").await;
    let other = service.login("alice").await;
    assert_eq!(data(service, &alice).await, json!({}));
    let values = json!({
        "cart": [{ "item": 7, "price": 1.5 }], "language": "fi", "seen": true, "none": null, "é/ü": 1,
    });
    for (key, value) in values.as_object().unwrap() {
        let key = key.replace('/', "%2F");
        let answer = Answer::to(alice.by_cookie(put(service, &key).json(value))).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{key}: {answer:?}");
    }
    assert_eq!(data(service, &alice).await, values);
    let by_token = Answer::to(alice.by_token(service.get("/session/data"))).await;
    assert_eq!((by_token.status, &by_token.body), (StatusCode::OK, &values));
    assert_eq!(data(service, &other).await, json!({}), "each session has its own");

    let entry = newest(service, &alice, "session_data.written").await;
    assert_eq!(entry["resource"]["type"], "session_data");
    assert!(values.get(entry["resource"]["id"].as_str().unwrap()).is_some(), "{entry}");
    assert_eq!(entry["details"]["session"], alice.body["session_id"]);
    assert!(!entry.to_string().contains("price"), "the value is nobody's business");

    let secret = Answer::to(alice.by_cookie(put(service, "language").json("sv"))).await;
    assert_eq!(secret.status, StatusCode::NO_CONTENT);
    for _ in 0..2 {
        let request = service.request(Method::DELETE, "/session/data/cart");
        assert_eq!(Answer::to(alice.by_cookie(request)).await.status, StatusCode::NO_CONTENT);
    }
    let rest = json!({ "language": "sv", "seen": true, "none": null, "é/ü": 1 });
    assert_eq!(data(service, &alice).await, rest);
    let entry = newest(service, &alice, "session_data.removed").await;
    assert_eq!(entry["resource"], json!({ "type": "session_data", "id": "cart" }));

    Answer::to(alice.by_cookie(service.post("/logout"))).await;
    let late = Answer::to(alice.by_cookie(put(service, "late").json("x"))).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    assert_eq!(service.status("/session/data").await, StatusCode::UNAUTHORIZED);
    // The access token is still good, the session is not.
    let late = Answer::to(alice.by_token(put(service, "late").json("x"))).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED, "{late:?}");
}

async fn bounds(service: &Service) {
    let bob = service.login("bob").await;
    let write = |key: &str, value: Value| bob.by_cookie(put(service, key).json(&value));
    let refused = (StatusCode::BAD_REQUEST, "out_of_bounds");
    assert_eq!(Answer::to(write(&"k".repeat(65), json!(1))).await.error(), refused);
    let large = json!("x".repeat(16 * 1024));
    assert_eq!(Answer::to(write("large", large)).await.error(), refused);
    let longest = write(&"k".repeat(64), json!("x".repeat(15 * 1024)));
    assert_eq!(Answer::to(longest).await.status, StatusCode::NO_CONTENT);
    for number in 1..64 {
        let answer = Answer::to(write(&format!("n{number}"), json!(number))).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{number}: {answer:?}");
    }
    assert_eq!(Answer::to(write("one_too_many", json!(1))).await.error(), refused);
    assert_eq!(Answer::to(write("n1", json!("changed"))).await.status, StatusCode::NO_CONTENT);

    let json = |text: &'static str| {
        bob.by_cookie(put(service, "x").header(CONTENT_TYPE, "application/json").body(text))
    };
    let malformed = Answer::to(json("{\"a\":")).await;
    assert_eq!(malformed.error(), (StatusCode::BAD_REQUEST, "malformed"));
    let untyped = Answer::to(bob.by_cookie(put(service, "x").body("1"))).await;
    assert_eq!(untyped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "what a form can send");
    Answer::to(bob.by_cookie(service.post("/logout"))).await;
}

async fn logout_all(service: &Service) {
    let (first, second) = (service.login("alice").await, service.login("alice").await);
    let bob = service.login("bob").await;
    let held = list(service, &first).await.len();
    let done = Answer::to(second.by_cookie(service.post("/logout-all"))).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert!(done.set_cookie().is_some_and(|cookie| cookie.contains("Max-Age=0")), "{done:?}");
    for login in [&first, &second] {
        let me = Answer::to(login.by_cookie(service.get("/me"))).await;
        assert_eq!(me.status, StatusCode::UNAUTHORIZED);
        assert_eq!(service.refresh(login.refresh()).await.status, StatusCode::UNAUTHORIZED);
    }
    let me = Answer::to(bob.by_cookie(service.get("/me"))).await;
    assert_eq!(me.status, StatusCode::OK, "bob is somebody else");

    let alice = service.login("alice").await;
    let entry = newest(service, &alice, "auth.logout_all").await;
    assert_eq!(entry["resource"]["type"], "account");
    let id = entry["resource"]["id"].as_str().unwrap();
    assert!(id.len() == 32 && id != "alice", "a pseudonym: {entry}");
    assert_eq!(entry["actor"], json!({ "type": "user", "id": "alice" }));
    assert_eq!(entry["details"]["sessions"], held, "{entry}");
    assert_eq!(entry["outcome"], "success");
    assert_eq!(list(service, &alice).await.len(), 1);
}

/// A login by somebody who is signed in ends what they came with (OWASP ASVS 5.0, 7.2.4).
async fn second_login(service: &Service) {
    let carol = service.login("carol").await;
    let body = json!({ "user": "carol", "password": "carol-password" });
    let again = Answer::to(carol.by_cookie(service.post("/login")).json(&body)).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_ne!(again.body["session_id"], carol.body["session_id"]);
    let old = Answer::to(carol.by_cookie(service.get("/me"))).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    // A wrong password ends nothing.
    let carol = service.login("carol").await;
    let wrong = json!({ "user": "carol", "password": "alice-password" });
    let refused = Answer::to(carol.by_cookie(service.post("/login")).json(&wrong)).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let me = Answer::to(carol.by_cookie(service.get("/me"))).await;
    assert_eq!(me.status, StatusCode::OK);
}

async fn page(service: &Service) {
    let carol = service.login_from("carol", "<script>alert(1)</script>", "<b>&\"'").await;
    let request = carol.by_cookie(service.get("/")).header(USER_AGENT, "<script>alert(1)</script>");
    let page = Answer::to(request).await;
    assert!(page.text.contains("carol (viewer)"), "{}", page.text);
    assert!(page.text.contains("&lt;b&gt;&amp;&quot;&#39;"), "{}", page.text);
    assert!(!page.text.contains("<script>") && !page.text.contains("<b>"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_sessions_and_their_end() {
    if !require("redis-server", "two_processes_share_sessions_and_their_end") {
        return;
    }
    let redis = RedisServer::start();
    let variables = shared(&redis);
    let (here, there) = (Service::start(&variables), Service::start(&variables));
    let (first, second) = (here.login("alice").await, there.login("alice").await);
    for service in [&here, &there] {
        assert_eq!(list(service, &first).await.len(), 2);
    }
    Answer::to(first.by_cookie(put(&here, "cart").json(&json!([1])))).await;
    assert_eq!(data(&there, &first).await, json!({ "cart": [1] }));
    let rotated = there.refresh(first.refresh()).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");

    let done = Answer::to(second.by_cookie(there.post("/logout-all"))).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    for login in [&first, &second] {
        let me = Answer::to(login.by_cookie(here.get("/me"))).await;
        assert_eq!(me.status, StatusCode::UNAUTHORIZED, "at once");
    }
    let token = rotated.body["refresh_token"].as_str().unwrap();
    assert_eq!(here.refresh(token).await.status, StatusCode::UNAUTHORIZED);
}

/// Keys that both processes have, as in production; development would make one set for each.
pub(crate) fn shared(redis: &RedisServer) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("WATCHDOG_REDIS_URL", redis.url()),
        ("WATCHDOG_SECRET_KEY", "a secret of these two processes alone".to_owned()),
        ("WATCHDOG_JWT_SECRET", "another secret of these two processes".to_owned()),
        ("WATCHDOG_ENCRYPTION_KEY", "a third secret of these two processes".to_owned()),
    ])
}

fn end(service: &Service, id: &str) -> RequestBuilder {
    service.request(Method::DELETE, &format!("/sessions/{id}"))
}

fn put(service: &Service, key: &str) -> RequestBuilder {
    service.request(Method::PUT, &format!("/session/data/{key}"))
}

async fn list(service: &Service, login: &Login) -> Vec<Value> {
    let answer = Answer::to(login.by_cookie(service.get("/sessions"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["sessions"].as_array().unwrap().clone()
}

async fn data(service: &Service, login: &Login) -> Value {
    let answer = Answer::to(login.by_cookie(service.get("/session/data"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    answer.body
}

/// The newest entry of an action. It was acknowledged before its request was answered.
async fn newest(service: &Service, alice: &Login, action: &str) -> Value {
    let path = format!("/audit?action={action}&limit=1");
    let answer = Answer::to(alice.by_cookie(service.get(&path))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body["records"][0]["entry"].clone()
}
