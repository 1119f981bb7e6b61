//! Access tokens for others: the published keys, and how long a revoked session passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use watchdog_core::SystemClock;
use watchdog_session::AccessVerifier;
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::{eventually, require};

use crate::running::{Answer, Login, Service};
use crate::sessions::shared;

/// The private key of RFC 8037, appendix A.1, as PKCS#8: known to everybody.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_published_while_tokens_are_signed_with_a_secret() {
    let service = Service::start(&BTreeMap::new());
    let keys = Answer::to(service.get("/.well-known/jwks.json")).await;
    assert_eq!((keys.status, &keys.body), (StatusCode::OK, &json!({ "keys": [] })));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_checks_tokens_by_the_published_key() {
    let service =
        Service::start(&BTreeMap::from([("WATCHDOG_SESSION_ACCESS_TOKEN_KEY", KEY.to_owned())]));
    let keys = Answer::to(service.get("/.well-known/jwks.json")).await;
    assert_eq!(keys.headers[CONTENT_TYPE], "application/jwk-set+json");
    // RFC 8037, appendix A.2 and A.3.
    assert_eq!(keys.body["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(keys.body["keys"][0]["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(keys.body["keys"][0].get("d"), None::<&Value>);

    let alice = service.login("alice").await;
    let verifier = AccessVerifier::from_jwks(&keys.text, "watchdog", "watchdog").unwrap();
    let claims = verifier.check_by(alice.access(), &SystemClock).unwrap();
    assert_eq!(claims.user(), "alice");
    let me = Answer::to(alice.by_token(service.get("/me"))).await;
    assert_eq!(me.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_revoked_in_another_process_is_refused_within_a_second() {
    if !require("redis-server", "an_access_token_revoked_in_another_process") {
        return;
    }
    let redis = RedisServer::start();
    let variables = shared(&redis);
    let (here, there) = (Service::start(&variables), Service::start(&variables));
    let alice = here.login("alice").await;
    let bob = here.login("bob").await;
    let me = async |login: &Login| Answer::to(login.by_token(here.get("/me"))).await.status;
    assert_eq!(me(&alice).await, StatusCode::OK);

    Answer::to(alice.by_cookie(there.post("/logout-all"))).await;
    let revoked = Instant::now();
    eventually("the token is refused", Duration::from_secs(10), async || {
        me(&alice).await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert_eq!(me(&bob).await, StatusCode::OK, "of another user");
    let again = here.login("alice").await;
    assert_eq!(me(&again).await, StatusCode::OK, "issued after it");

    // One session, by its id.
    let id = bob.body["session_id"].as_str().unwrap();
    let ended = there.request(reqwest::Method::DELETE, &format!("/sessions/{id}"));
    assert_eq!(Answer::to(bob.by_cookie(ended)).await.status, StatusCode::NO_CONTENT);
    let revoked = Instant::now();
    eventually("the token is refused", Duration::from_secs(10), async || {
        me(&bob).await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
}
