//! The permissions that the documentation asks for are enough.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use watchdog_storage::testing::redis::{RedisServer, Reply};
use watchdog_storage::testing::{eventually, require};

use crate::running::{Answer, Service};
use crate::sessions::sessions;

const GUIDE: &str = include_str!("../../../docs/sessions.md");
const PASSWORD: &str = "only-for-this-test";

/// The rules of the guide, with a password.
fn rules() -> Vec<String> {
    let line = GUIDE.lines().find(|line| line.starts_with("user app on ")).unwrap();
    line.replace("PASSWORD", PASSWORD).split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_permissions_can_run_the_service() {
    if !require("redis-server", "a_user_with_the_documented_permissions_can_run_the_service") {
        return;
    }
    let rules = rules();
    let mut settings = vec!["--user"];
    settings.extend(rules[1..].iter().map(String::as_str));
    let redis = RedisServer::start_with(&settings);
    let variables = BTreeMap::from([
        ("WATCHDOG_REDIS_URL", redis.url()),
        ("WATCHDOG_REDIS_USERNAME", "app".to_owned()),
        ("WATCHDOG_REDIS_PASSWORD", PASSWORD.to_owned()),
        ("WATCHDOG_AUDIT_STORE", "embedded".to_owned()),
    ]);
    let service = Service::start(&variables);
    sessions(&service).await;
    a_revocation_reaches_access_tokens(&service).await;
    let log = service.process().log();
    assert!(!log.contains("NOPERM"), "{log}");
    // Whatever was refused, by a script or in the background, whether or not anybody logs it.
    let refused = redis.command(&["ACL", "LOG"]);
    assert!(matches!(&refused, Reply::List(entries) if entries.is_empty()), "{refused:?}");
}

/// The feed has to be read for that: without it a token is accepted until it expires.
async fn a_revocation_reaches_access_tokens(service: &Service) {
    let alice = service.login("alice").await;
    let me = async || Answer::to(alice.by_token(service.get("/me"))).await.status;
    assert_eq!(me().await, StatusCode::OK);
    let done = Answer::to(alice.by_cookie(service.post("/logout"))).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    eventually("the token is refused", Duration::from_secs(10), async || {
        me().await == StatusCode::UNAUTHORIZED
    })
    .await;
}
