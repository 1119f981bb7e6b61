//! Guards, handles and tokens of the web edge, as applications use them.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![cfg(feature = "axum")]

mod browser;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use watchdog_core::KeyRing;
use watchdog_core::audit::{Actor, Category, Outcome, Requester};
use watchdog_core::testing::{ManualClock, RecordingSink};
use watchdog_session::web::{
    CookieSettings, OptionalSession, Rejection, Session, WebSessions, require_role,
};
use watchdog_session::{
    ErrorKind, MismatchAction, Principal, Regeneration, Role, SessionConfig, Sessions, Subject,
};

use browser::{Browser, Jar};

async fn login(
    visitor: OptionalSession,
    Path((user, role)): Path<(String, String)>,
) -> Result<String, Rejection> {
    let subject = Subject::user(user).with_roles([role]).with_level("password");
    Ok(visitor.login(subject).await?.access_token.expose().to_owned())
}

async fn visitor(visitor: OptionalSession) -> String {
    match (visitor.session(), visitor.awaiting_step_up()) {
        (Some(session), None) => session.principal().user().to_owned(),
        (None, Some(session)) => format!("{}?", session.user()),
        (None, None) => "nobody".to_owned(),
        (Some(_), Some(_)) => unreachable!("it is one or the other"),
    }
}

async fn step_up(session: Session) -> Result<(), Rejection> {
    session.regenerate(Regeneration::reauthenticated().with_level("passkey")).await?;
    Ok(())
}

async fn pay(session: Session) -> Result<String, Rejection> {
    session.require_fresh(Duration::from_secs(300))?;
    Ok(session.session().level().unwrap_or_default().to_owned())
}

async fn count(session: Session) -> Result<String, Rejection> {
    let count: u32 = session.get("count").await?.unwrap_or(0) + 1;
    session.insert("count", &count).await?;
    let seen: Option<u32> = session.get("count").await?;
    assert_eq!(seen, Some(count), "a change is seen by the request that made it");
    Ok(count.to_string())
}

async fn uncount(session: Session) -> Result<String, Rejection> {
    session.update("count", |count: Option<u32>| count.map(|count| count + 10)).await?;
    let names: Vec<_> = session.attributes().await?.names().map(str::to_owned).collect();
    session.remove("count").await?;
    let rest = session.get::<u32>("count").await?;
    Ok(format!("{names:?} {rest:?}"))
}

async fn over(session: Session) -> Result<String, Rejection> {
    session.flush().await?;
    let gone = session.insert("late", &1).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone, "nothing comes back");
    Ok(session.session().user().to_owned())
}

async fn token(session: Session) -> Result<String, Rejection> {
    Ok(session.csrf_token()?)
}

struct Admin(Principal);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        require_role(parts, &[Role::ADMIN]).await.map(Self)
    }
}

struct Service {
    app: Router,
    web: WebSessions,
    sink: RecordingSink,
    clock: ManualClock,
}

fn routes(web: &WebSessions) -> Router {
    let staff = Router::new()
        .route("/staff/{id}", get(|| async { "staff" }))
        .route_layer(web.require_role(["admin", "analyst"]));
    let nobody = Router::new()
        .route("/nobody", get(|| async { "nobody" }))
        .route_layer(web.require_role([] as [Role; 0]));
    let fresh = Router::new()
        .route("/fresh", get(|| async { "fresh" }))
        .route_layer(web.require_fresh(Duration::from_secs(60)));
    let guarded = Router::new().route("/guarded", any(|| async { "done" })).route_layer(web.csrf());
    let polled = Router::new()
        .route("/poll", get(|| async { "news" }))
        .route_layer(web.require_role(["viewer"]))
        .route_layer(web.no_touch());
    Router::new()
        .route("/login/{user}/{role}", post(login))
        .route("/visitor", get(visitor))
        .route("/step-up", post(step_up))
        .route("/pay", post(pay))
        .route("/count", post(count))
        .route("/uncount", post(uncount))
        .route("/over", post(over))
        .route("/token", get(token))
        .route("/admin", get(|Admin(admin): Admin| async move { admin.user().to_owned() }))
        .merge(staff)
        .merge(nobody)
        .merge(fresh)
        .merge(guarded)
        .merge(polled)
}

fn service(config: SessionConfig) -> Service {
    let (sink, clock) = (RecordingSink::default(), ManualClock::default());
    let sessions = Sessions::builder(&KeyRing::ephemeral().unwrap())
        .config(config)
        .clock(Arc::new(clock.clone()))
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap();
    let web = WebSessions::new(sessions, CookieSettings::default()).unwrap();
    Service { app: routes(&web).layer(web.layer()), web, sink, clock }
}

#[tokio::test]
async fn a_role_is_needed_where_the_layer_says_so_and_its_lack_is_reported() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app).at("192.0.2.7");
    let denied = || {
        let entries = service.sink.entries().into_iter();
        entries.filter(|entry| entry.action == "access.denied").collect::<Vec<_>>()
    };
    assert!(browser.get("/staff/1").await.is(401, r#"{"error":"missing"}"#));
    assert!(browser.get("/admin").await.is(401, r#"{"error":"missing"}"#));
    assert_eq!(denied(), [], "nobody in particular was refused");
    browser.post("/login/ann/analyst").await;
    assert!(browser.get("/staff/1").await.is(200, "staff"));
    assert_eq!(denied(), []);
    assert!(browser.get("/admin").await.is(403, r#"{"error":"forbidden"}"#));
    browser.post("/login/vic/viewer").await;
    assert!(browser.get("/staff/1").await.is(403, r#"{"error":"forbidden"}"#));
    browser.post("/login/eve/Admin").await;
    assert_eq!(browser.get("/admin").await.status, 403);
    let denied = denied();
    let resources: Vec<_> = denied.iter().map(|entry| &*entry.resource.id).collect();
    assert_eq!(resources, ["GET /admin", "GET /staff/{id}", "GET /admin"]);
    assert_eq!(denied[1].actor, Actor::user("vic"));
    assert_eq!(denied[1].outcome, Outcome::Denied);
    assert_eq!(denied[1].category, Category::Security);
    assert_eq!(denied[1].client.ip.unwrap().to_string(), "192.0.2.7");
    let root = browser.post("/login/root/admin").await;
    assert!(browser.get("/admin").await.is(200, "root"));
    assert_eq!(browser.get("/nobody").await.status, 403, "of no roles nobody has one");
    // An access token carries the roles too.
    browser.jar = Jar::default();
    let bearer = format!("Bearer {}", root.body);
    assert!(browser.send("GET", "/staff/2", &[("authorization", &bearer)]).await.is(200, "staff"));
}

#[tokio::test]
async fn guards_and_extractors_without_the_layer_let_nobody_in() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    browser.post("/login/root/admin").await;
    let mut bare = Browser::new(&routes(&service.web));
    bare.jar = browser.jar.clone();
    for path in ["/staff/1", "/admin", "/fresh", "/guarded", "/visitor", "/poll", "/token"] {
        assert_ne!(browser.get(path).await.status, 500, "{path}");
        assert!(bare.get(path).await.is(500, r#"{"error":"internal"}"#), "{path}");
    }
}

#[tokio::test]
async fn an_old_authentication_has_to_be_renewed_for_what_needs_a_fresh_one() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    assert!(browser.get("/fresh").await.is(401, r#"{"error":"missing"}"#));
    browser.post("/login/alice/viewer").await;
    assert!(browser.post("/pay").await.is(200, "password"));
    service.clock.advance(Duration::from_secs(60));
    assert!(browser.get("/fresh").await.is(200, "fresh"), "the last moment counts");
    service.clock.advance(Duration::from_millis(1));
    let stale = browser.get("/fresh").await;
    assert!(stale.is(401, r#"{"error":"step_up_required"}"#));
    assert_eq!(stale.header(SET_COOKIE), None);
    let challenge = stale.header(WWW_AUTHENTICATE).unwrap();
    assert!(challenge.starts_with("Bearer error=\"insufficient_user_authentication\""));
    assert!(challenge.ends_with(", max_age=\"60\""), "{challenge}");
    assert!(browser.post("/pay").await.is(200, "password"));
    service.clock.advance(Duration::from_secs(300));
    let stale = browser.post("/pay").await;
    assert!(stale.header(WWW_AUTHENTICATE).unwrap().ends_with(", max_age=\"300\""));
    assert_eq!(browser.post("/step-up").await.status, 200);
    assert!(browser.post("/pay").await.is(200, "passkey"));
    assert!(browser.get("/fresh").await.is(200, "fresh"));
    // A weaker login takes the level of the stronger one away.
    browser.post("/login/alice/viewer").await;
    assert!(browser.post("/pay").await.is(200, "password"));
}

/// It tells nothing of who is there (RFC 9470): its thief has it as well.
#[tokio::test]
async fn an_access_token_is_never_a_fresh_authentication() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    let bearer = format!("Bearer {}", browser.post("/login/alice/viewer").await.body);
    let headers = [("authorization", &*bearer)];
    let mut api = Browser::new(&service.app);
    for (method, path, age) in [("GET", "/fresh", 60), ("POST", "/pay", 300)] {
        let refused = api.send(method, path, &headers).await;
        assert!(refused.is(401, r#"{"error":"step_up_required"}"#), "{path}");
        let challenge = refused.header(WWW_AUTHENTICATE).unwrap();
        assert!(challenge.ends_with(&format!(", max_age=\"{age}\"")), "{challenge}");
        assert_eq!(refused.header(SET_COOKIE), None);
    }
    // What API clients need goes on.
    assert!(api.send("POST", "/count", &headers).await.is(200, "1"));
    assert!(browser.get("/fresh").await.is(200, "fresh"));
}

#[tokio::test]
async fn polling_keeps_no_session_alive() {
    for (path, lives) in [("/poll", false), ("/visitor", true)] {
        let service = service(SessionConfig::default());
        let mut browser = Browser::new(&service.app);
        browser.post("/login/vic/viewer").await;
        for _ in 0..3 {
            service.clock.advance(Duration::from_secs(800));
            let status = browser.get(path).await.status;
            assert!(status == 200 || !lives, "{path}");
            // The use is noted by a task of its own.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(browser.get("/visitor").await.body, if lives { "vic" } else { "nobody" });
    }
}

#[tokio::test]
async fn attributes_are_there_for_the_next_request_and_gone_with_the_session() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    assert_eq!(browser.post("/count").await.status, 401);
    browser.post("/login/alice/viewer").await;
    assert!(browser.post("/count").await.is(200, "1"));
    assert!(browser.post("/count").await.is(200, "2"));
    assert!(browser.post("/uncount").await.is(200, r#"["count"] None"#));
    assert!(browser.post("/count").await.is(200, "1"));
    assert!(browser.post("/over").await.is(200, "alice"));
    assert_eq!(browser.jar.header(), "");
    browser.post("/login/alice/viewer").await;
    assert!(browser.post("/count").await.is(200, "1"));
}

#[tokio::test]
async fn an_access_token_reads_and_does_not_touch_the_cookie() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    let bearer = format!("Bearer {}", browser.post("/login/alice/viewer").await.body);
    let headers = [("authorization", &*bearer)];
    let mut api = Browser::new(&service.app);
    assert!(api.send("POST", "/count", &headers).await.is(200, "1"));
    let refused = api.send("POST", "/step-up", &headers).await;
    assert!(refused.is(401, r#"{"error":"invalid"}"#));
    let over = api.send("POST", "/over", &headers).await;
    assert!(over.is(200, "alice"));
    assert_eq!(over.header(SET_COOKIE), None);
    assert!(browser.get("/visitor").await.is(200, "nobody"), "it is over for the cookie too");
}

#[tokio::test]
async fn a_visitor_with_a_token_that_opens_nothing_is_nobody() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    assert!(browser.get("/visitor").await.is(200, "nobody"));
    for cookie in ["__Host-session=x", "__Host-session=\u{e9}", "__Host-session="] {
        assert!(browser.send("GET", "/visitor", &[("cookie", cookie)]).await.is(200, "nobody"));
    }
    for authorization in ["Bearer x", "Bearer", "Basic YTpi"] {
        let headers = [("authorization", authorization)];
        assert!(browser.send("GET", "/visitor", &headers).await.is(200, "nobody"));
    }
    browser.post("/login/alice/viewer").await;
    let mut other = browser.clone();
    other.agent = Some("curl/8".to_owned());
    assert!(other.get("/visitor").await.is(200, "nobody"));
    assert!(browser.get("/visitor").await.is(200, "alice"));
}

#[tokio::test]
async fn another_client_may_step_up_and_do_nothing_else() {
    let config =
        SessionConfig { mismatch_action: MismatchAction::StepUp, ..SessionConfig::default() };
    let service = service(config);
    let mut browser = Browser::new(&service.app);
    browser.post("/login/alice/viewer").await;
    browser.post("/count").await;
    let mut moved = browser.clone();
    moved.agent = Some("curl/8".to_owned());
    let refused = moved.post("/count").await;
    assert!(refused.is(401, r#"{"error":"step_up_required"}"#));
    assert!(refused.header(WWW_AUTHENTICATE).unwrap().contains("insufficient_user_auth"));
    for path in ["/fresh", "/poll", "/token"] {
        assert_eq!(moved.get(path).await.status, 401, "{path}");
    }
    assert!(moved.get("/visitor").await.is(200, "alice?"));
    assert_eq!(moved.post("/login/alice/viewer").await.status, 200);
    assert!(moved.post("/count").await.is(200, "2"));
    assert!(browser.get("/visitor").await.is(200, "nobody"), "the old id is dead");
}

/// What those who record requests are told, whether they are around the layer of sessions or within.
#[tokio::test]
async fn a_requester_is_told_who_asks_and_from_where() {
    let config =
        SessionConfig { mismatch_action: MismatchAction::StepUp, ..SessionConfig::default() };
    let service = service(config);
    let mut browser = Browser::new(&service.app).at("192.0.2.7");
    browser.post("/login/alice/viewer").await;
    for is_around in [true, false] {
        let ask = async |from: &Browser, method: &str, path: &str| {
            let requester = Requester::new();
            let (inner, told) = (routes(&service.web), Extension(requester.clone()));
            let app = if is_around {
                inner.layer(service.web.layer()).layer(told)
            } else {
                inner.layer(told).layer(service.web.layer())
            };
            let mut asking = Browser::new(&app).at("192.0.2.7");
            (asking.jar, asking.agent) = (from.jar.clone(), from.agent.clone());
            asking.send(method, path, &[]).await;
            requester
        };
        let alice = Some(Actor::user("alice"));
        let known = ask(&browser, "GET", "/visitor").await;
        assert_eq!(known.actor(), alice);
        if is_around {
            assert_eq!(known.client().unwrap().ip.unwrap().to_string(), "192.0.2.7");
        }
        assert_eq!(ask(&browser, "GET", "/staff/1").await.actor(), alice, "refused by a guard");
        let nobody = Browser::new(&service.app);
        assert_eq!(ask(&nobody, "GET", "/visitor").await.actor(), None);
        let bob = ask(&nobody, "POST", "/login/bob/viewer").await;
        assert_eq!(bob.actor(), Some(Actor::user("bob")), "by the login itself");
        let mut thief = browser.clone();
        thief.agent = Some("curl/8".to_owned());
        assert_eq!(ask(&thief, "GET", "/visitor").await.actor(), None, "maybe somebody else");
    }
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_token_of_its_session() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    // Without a session there is nothing to abuse.
    assert_eq!(browser.post("/guarded").await.status, 200);
    let bearer = format!("Bearer {}", browser.post("/login/alice/viewer").await.body);
    let token = browser.get("/token").await.body;
    let mut other = Browser::new(&service.app);
    other.post("/login/mallory/viewer").await;
    let foreign = other.get("/token").await.body;
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(browser.send(method, "/guarded", &[]).await.status, 200, "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "PURGE"] {
        let wrong: [&[(&str, &str)]; 4] = [
            &[],
            &[("x-csrf-token", &foreign)],
            &[("x-csrf-token", "")],
            &[("x-csrf-token", &token), ("x-csrf-token", &token)],
        ];
        for headers in wrong {
            let answer = browser.send(method, "/guarded", headers).await;
            assert!(answer.is(403, r#"{"error":"csrf"}"#), "{method} {headers:?}");
        }
        let answer = browser.send(method, "/guarded", &[("x-csrf-token", &token)]).await;
        assert_eq!(answer.status, 200, "{method}");
    }
    // No browser sends an access token by itself.
    let headers = [("authorization", &*bearer)];
    assert_eq!(browser.send("POST", "/guarded", &headers).await.status, 200);
    browser.post("/step-up").await;
    let stale = browser.send("POST", "/guarded", &[("x-csrf-token", &token)]).await;
    assert_eq!(stale.status, 403, "a new id, a new token");
}

#[tokio::test]
async fn a_request_asks_the_store_once_however_many_ask_for_the_session() {
    let service = service(SessionConfig::default());
    let app = Router::new()
        .route("/", get(|Admin(_): Admin, _: Session, _: OptionalSession| async { "once" }))
        .route_layer(service.web.require_role(["admin"]))
        .route_layer(service.web.require_fresh(Duration::from_secs(60)))
        .merge(routes(&service.web))
        .layer(service.web.layer());
    let mut browser = Browser::new(&app);
    browser.post("/login/root/admin").await;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    assert!(browser.get("/").await.is(200, "once"));
    let line = r#"watchdog_session_operations_total{operation="authenticate",outcome="ok"} 1"#;
    assert!(handle.render().contains(line), "{}", handle.render());
}

#[tokio::test]
async fn a_store_that_is_down_is_503_for_whoever_asks_and_the_cookie_stays() {
    use watchdog_storage::redis::{Redis, RedisConfig};
    use watchdog_storage::testing::redis::{RedisServer, is_available};

    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let store = Arc::new(watchdog_session::RedisStore::new(redis));
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys).store(store).build().unwrap();
    let web = WebSessions::new(sessions, CookieSettings::default()).unwrap();
    let mut browser = Browser::new(&routes(&web).layer(web.layer()));
    browser.post("/login/root/admin").await;
    assert!(browser.get("/staff/1").await.is(200, "staff"));
    server.kill();
    let cookie = browser.jar.header();
    for (method, path) in
        [("GET", "/staff/1"), ("GET", "/visitor"), ("POST", "/guarded"), ("POST", "/over")]
    {
        let answer = browser.send(method, path, &[]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    assert_eq!(browser.jar.header(), cookie);
}

/// What is in the header decides who asks; the cookie is exchanged all the same.
#[tokio::test]
async fn a_login_ends_the_session_of_the_cookie_whatever_the_authorization_header_says() {
    let service = service(SessionConfig::default());
    let mut other = Browser::new(&service.app);
    let bearer = format!("Bearer {}", other.post("/login/bob/viewer").await.body);
    for authorization in ["Bearer garbage", "Basic YTpi", &bearer] {
        for user in ["alice", "carol"] {
            let mut browser = Browser::new(&service.app);
            browser.post("/login/alice/viewer").await;
            browser.post("/count").await;
            let mut old = browser.clone();
            let headers = [("authorization", authorization)];
            let path = format!("/login/{user}/viewer");
            assert_eq!(browser.send("POST", &path, &headers).await.status, 200);
            assert!(old.get("/visitor").await.is(200, "nobody"), "{authorization} {user}");
            assert!(browser.get("/visitor").await.is(200, user), "{authorization}");
            let kept = if user == "alice" { "2" } else { "1" };
            assert!(browser.post("/count").await.is(200, kept), "{authorization} {user}");
        }
    }
    assert!(other.get("/visitor").await.is(200, "bob"), "an access token ends nothing");
}

/// A page of another site can open a WebSocket with the cookie (RFC 6455, section 10.2).
#[tokio::test]
async fn an_upgrade_needs_a_csrf_token_although_it_is_a_get() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    browser.post("/login/alice/viewer").await;
    let upgrade = [("upgrade", "websocket"), ("connection", "Upgrade")];
    let refused = browser.send("GET", "/guarded", &upgrade).await;
    assert!(refused.is(403, r#"{"error":"csrf"}"#), "{}", refused.body);
    let token = browser.get("/token").await.body;
    let with_token = [upgrade[0], upgrade[1], ("x-csrf-token", &*token)];
    assert_eq!(browser.send("GET", "/guarded", &with_token).await.status, 200);
}

#[tokio::test]
async fn a_session_says_who_it_is_and_is_emptied_without_ending() {
    async fn emptied(session: Session) -> Result<String, Rejection> {
        session.insert("a", &1).await?;
        assert_eq!(session.attributes().await?.len(), 1);
        session.clear().await?;
        assert!(session.attributes().await?.is_empty());
        assert_eq!(session.id(), session.session().id());
        Ok(session.user())
    }
    let service = service(SessionConfig::default());
    let app = Router::new().route("/emptied", post(emptied)).layer(service.web.layer());
    let mut browser = Browser::new(&service.app);
    browser.post("/login/alice/viewer").await;
    let mut emptier = Browser::new(&app);
    emptier.jar = browser.jar.clone();
    assert!(emptier.post("/emptied").await.is(200, "alice"));
    assert!(browser.get("/visitor").await.is(200, "alice"));
}
