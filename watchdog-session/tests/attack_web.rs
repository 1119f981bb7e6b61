//! Attacks on the web edge, each under its number.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![cfg(feature = "axum")]

mod browser;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use watchdog_core::KeyRing;
use watchdog_core::audit::Outcome;
use watchdog_core::testing::RecordingSink;
use watchdog_session::web::{
    CookieSettings, OptionalSession, Rejection, SameSite, Session, SessionCookie, WebSessions,
};
use watchdog_session::{
    Client, ErrorKind, RedisStore, Regeneration, SessionConfig, Sessions, Subject,
};
use watchdog_storage::redis::{Redis, RedisConfig};

use browser::{Answer, Browser, Jar};

async fn me(session: Session) -> String {
    session.session().user().to_owned()
}

async fn login(visitor: OptionalSession, Path(user): Path<String>) -> Result<String, Rejection> {
    let issued = visitor.login(Subject::user(user)).await?;
    Ok(issued.session.id().to_string())
}

async fn step_up(session: Session) -> Result<String, Rejection> {
    let issued = session.regenerate(Regeneration::reauthenticated()).await?;
    Ok(issued.session.id().to_string())
}

async fn step_up_and_fail(session: Session) -> Result<StatusCode, Rejection> {
    session.insert("seen", &true).await?;
    session.regenerate(Regeneration::privilege_change()).await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn logout_and_fail(session: Session) -> Result<StatusCode, Rejection> {
    session.flush().await?;
    Ok(StatusCode::BAD_GATEWAY)
}

async fn logout(session: Session) -> Result<(), Rejection> {
    Ok(session.flush().await?)
}

async fn put(session: Session, Path(value): Path<String>) -> Result<(), Rejection> {
    Ok(session.insert("value", &value).await?)
}

async fn value(session: Session) -> Result<String, Rejection> {
    Ok(session.get::<String>("value").await?.unwrap_or_default())
}

async fn public_login(visitor: OptionalSession) -> Result<impl IntoResponse, Rejection> {
    visitor.login(Subject::user("public")).await?;
    Ok([(CACHE_CONTROL, "public, max-age=600")])
}

fn routes() -> Router {
    Router::new()
        .route("/me", get(me))
        .route("/login/{user}", post(login))
        .route("/public-login", post(public_login))
        .route("/step-up", post(step_up))
        .route("/step-up-and-fail", post(step_up_and_fail))
        .route("/logout", post(logout))
        .route("/logout-and-fail", post(logout_and_fail))
        .route("/value/{value}", post(put))
        .route("/value", get(value))
        .route("/plain", get(|| async { "plain" }))
}

struct Service {
    app: Router,
    web: WebSessions,
    sink: RecordingSink,
}

fn service_with(config: SessionConfig, cookie: CookieSettings, store: Option<Redis>) -> Service {
    let sink = RecordingSink::default();
    let keys = KeyRing::ephemeral().unwrap();
    let mut sessions = Sessions::builder(&keys).config(config).audit(Arc::new(sink.clone()));
    if let Some(redis) = store {
        sessions = sessions.store(Arc::new(RedisStore::new(redis)));
    }
    let web = WebSessions::new(sessions.build().unwrap(), cookie).unwrap();
    Service { app: routes().layer(web.layer()), web, sink }
}

fn service(config: SessionConfig) -> Service {
    service_with(config, CookieSettings::default(), None)
}

/// The service on every store there is: in memory, and in Redis when it is installed.
async fn services() -> Vec<Service> {
    let mut services = vec![service(SessionConfig::default())];
    if let Some(server) = watchdog_storage::testing::redis::shared() {
        let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
        let (config, cookie) = (SessionConfig::default(), CookieSettings::default());
        services.push(service_with(config, cookie, Some(redis)));
    }
    services
}

fn user() -> String {
    watchdog_session::SessionId::random().unwrap().to_string()
}

async fn is_dead(stolen: &Browser) -> bool {
    stolen.clone().get("/me").await.is(401, r#"{"error":"invalid"}"#)
}

#[tokio::test]
async fn t02_the_id_changes_at_login_relogin_user_switch_and_step_up_and_the_old_one_is_dead() {
    for service in services().await {
        let (alice, bob) = (user(), user());
        let mut browser = Browser::new(&service.app);
        let first = browser.post(&format!("/login/{alice}")).await.body;
        browser.post("/value/basket").await;

        let before = browser.clone();
        let again = browser.post(&format!("/login/{alice}")).await.body;
        assert_ne!(first, again);
        assert!(is_dead(&before).await);
        assert!(browser.get("/value").await.is(200, "basket"), "the user's own data moves");

        let before = browser.clone();
        let stepped = browser.post("/step-up").await.body;
        assert_ne!(again, stepped);
        assert!(is_dead(&before).await);
        assert!(browser.get("/value").await.is(200, "basket"));

        let before = browser.clone();
        let switched = browser.post(&format!("/login/{bob}")).await.body;
        assert_ne!(stepped, switched);
        assert!(is_dead(&before).await);
        assert!(browser.get("/me").await.is(200, &bob));
        assert!(browser.get("/value").await.is(200, ""), "nothing of another user's is left");
    }
}

/// Whoever plants the cookie of a session of their own is not joined in it.
#[tokio::test]
async fn t02_a_planted_session_is_not_shared_with_the_victim() {
    for service in services().await {
        let (mallory, victim) = (user(), user());
        let mut attacker = Browser::new(&service.app);
        let planted = attacker.post(&format!("/login/{mallory}")).await.body;
        let mut browser = attacker.clone();
        assert_ne!(browser.post(&format!("/login/{victim}")).await.body, planted);
        assert!(is_dead(&attacker).await);
        assert!(browser.get("/me").await.is(200, &victim));
    }
}

#[tokio::test]
async fn t05_two_cookies_of_one_name_are_nobody_and_are_reported() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app).at("192.0.2.7");
    browser.post("/login/alice").await;
    let cookie = browser.jar.header();
    for planted in ["__Host-session=", "__Host-session=planted", &cookie] {
        let answer = browser.send("GET", "/me", &[(COOKIE.as_str(), planted)]).await;
        assert!(answer.is(401, r#"{"error":"missing"}"#), "{planted}");
        assert_eq!(answer.header(SET_COOKIE), None);
        let optional = browser.send("POST", "/login/mallory", &[("cookie", planted)]).await;
        assert_eq!(optional.status, 200);
        // Whatever the jar was told by that login, the first session goes on.
        browser.jar = Jar::default();
        assert!(browser.jar.take(&format!("{cookie}; Secure; Path=/")));
        assert!(browser.get("/me").await.is(200, "alice"));
    }
    let entries: Vec<_> = service
        .sink
        .entries()
        .into_iter()
        .filter(|entry| entry.action == "session.cookie_duplicated")
        .collect();
    assert_eq!(entries.len(), 1, "one a minute, however many are sent");
    assert_eq!(entries[0].outcome, Outcome::Denied);
    assert_eq!(entries[0].resource.id, "__Host-session");
    assert!(!format!("{entries:?}").contains("planted"));
}

#[tokio::test]
async fn t15_an_error_after_a_regeneration_leaves_the_new_session_and_no_old_one() {
    for service in services().await {
        let alice = user();
        let mut browser = Browser::new(&service.app);
        browser.post(&format!("/login/{alice}")).await;
        let before = browser.clone();
        let failed = browser.post("/step-up-and-fail").await;
        assert_eq!(failed.status, 500);
        assert!(failed.header(SET_COOKIE).unwrap().starts_with("__Host-session="));
        assert!(is_dead(&before).await);
        assert!(browser.get("/me").await.is(200, &alice));

        let before = browser.clone();
        let failed = browser.post("/logout-and-fail").await;
        assert_eq!(failed.status, 502);
        assert_eq!(browser.jar.header(), "", "the cookie is deleted");
        assert!(is_dead(&before).await);
    }
}

/// The attributes of a `Set-Cookie` header, without those that tell a deletion from the rest.
fn attributes(answer: &Answer) -> Vec<String> {
    let mut headers = answer.headers.get_all(SET_COOKIE).iter();
    let header = headers.next().unwrap();
    assert!(headers.next().is_none(), "one cookie of a name");
    assert!(header.is_sensitive());
    let text = header.to_str().unwrap();
    let mut all: Vec<_> = text.split("; ").skip(1).map(str::to_owned).collect();
    all.retain(|each| !each.starts_with("Max-Age") && !each.starts_with("Expires"));
    all.sort();
    all
}

#[tokio::test]
async fn t35_every_answer_writes_the_cookie_with_the_same_attributes() {
    for domain in [None, Some("example.org".to_owned())] {
        let cookie = CookieSettings { domain: domain.clone(), ..CookieSettings::default() };
        let service = service_with(SessionConfig::default(), cookie, None);
        let mut browser = Browser::new(&service.app);
        let wanted = attributes(&browser.post("/login/alice").await);
        assert_eq!(wanted.contains(&"Domain=example.org".to_owned()), domain.is_some());
        assert_eq!(attributes(&browser.post("/login/alice").await), wanted);
        assert_eq!(attributes(&browser.post("/step-up").await), wanted);
        let mut dead = browser.clone();
        assert_eq!(attributes(&browser.post("/logout").await), wanted);
        assert_eq!(browser.jar.header(), "");
        assert_eq!(attributes(&dead.get("/me").await), wanted);
        assert_eq!(dead.jar.header(), "", "the deletion hits the cookie it is meant for");
    }
}

#[test]
fn t35_a_host_cookie_with_a_domain_is_refused() {
    let settings = CookieSettings {
        name: "__Host-id".into(),
        domain: Some("example.org".into()),
        ..CookieSettings::default()
    };
    assert_eq!(SessionCookie::new(settings).unwrap_err().kind(), ErrorKind::Config);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn t35_no_token_is_in_a_log_an_error_a_debug_output_an_event_or_a_body() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    let mut seen = String::new();
    let mut secrets = Vec::new();
    for path in ["/login/alice", "/step-up", "/value/x", "/step-up-and-fail", "/logout", "/logout"]
    {
        secrets.push(browser.jar.header().replace("__Host-session=", ""));
        let answer = browser.post(path).await;
        // A header that is marked as sensitive is not shown.
        seen.push_str(&format!("{:?} {}", answer.headers, answer.body));
        secrets.push(browser.jar.header().replace("__Host-session=", ""));
    }
    let twice = [("cookie", "__Host-session=mine"), ("cookie", "__Host-session=planted")];
    browser.send("GET", "/me", &twice).await;
    let client = Client::unknown();
    let issued = service.web.sessions().issue(Subject::user("bob"), &client).await.unwrap();
    let error = service.web.sessions().authenticate("no.token", &client).await.unwrap_err();
    seen.push_str(&format!("{:?} {issued:?} {error:?} {error} ", service.web));
    secrets.push(issued.session_token.expose().to_owned());
    secrets.push(issued.refresh_token.expose().to_owned());
    secrets.push(issued.access_token.expose().to_owned());
    service.web.sessions().deliver_events().await.unwrap();
    seen.push_str(&format!("{:?}", service.sink.entries()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("more than one session cookie"), "the log is read: {log}");
    seen.push_str(&log);
    secrets.retain(|secret| !secret.is_empty());
    assert!(secrets.len() >= 8, "{}", secrets.len());
    for secret in secrets {
        assert!(!seen.contains(&secret[..]), "{secret} in {seen}");
    }
    assert!(!seen.contains("planted"));
}

#[tokio::test]
async fn t36_an_answer_with_a_cookie_is_stored_by_nobody_and_one_about_a_user_varies() {
    let service = service(SessionConfig::default());
    let mut browser = Browser::new(&service.app);
    let marks = |answer: &Answer| {
        let mark = |name| answer.header(name).map(str::to_owned);
        (mark(CACHE_CONTROL), mark(VARY))
    };
    let no_store = (Some("no-store".to_owned()), Some("Cookie, Authorization".to_owned()));
    assert_eq!(marks(&browser.post("/public-login").await), no_store, "whatever the handler says");
    assert_eq!(marks(&browser.post("/login/alice").await), no_store);
    assert_eq!(marks(&browser.post("/step-up").await), no_store);
    assert_eq!(marks(&browser.get("/me").await), (None, Some("Cookie, Authorization".to_owned())));
    assert_eq!(marks(&browser.get("/plain").await), (None, None));
    let mut dead = browser.clone();
    assert_eq!(marks(&browser.post("/logout").await), no_store);
    assert_eq!(marks(&dead.get("/me").await), no_store);
    assert_eq!(marks(&browser.get("/me").await), no_store, "a refusal too");
}

#[test]
fn t37_same_site_none_needs_secure() {
    let with = |same_site, secure| {
        let settings = CookieSettings { same_site, secure, ..CookieSettings::default() };
        SessionCookie::new(settings).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(with(SameSite::None, false), Err(ErrorKind::Config));
    assert_eq!(with(SameSite::None, true), Ok(()));
    assert_eq!(with(SameSite::Lax, false), Ok(()));
}

/// The cases of the Web Platform Tests, `cookies/prefix/`, over HTTPS.
#[test]
fn t38_the_jar_takes_prefixed_cookies_as_browsers_do() {
    for (attributes, host, secure) in [
        ("", false, false),
        ("; Path=/", false, false),
        ("; Path=/; Domain=example.org", false, false),
        ("; Secure", false, true),
        ("; Secure; Path=/", true, true),
        ("; Secure; Path=/; HttpOnly; SameSite=Lax", true, true),
        ("; Secure; Path=/; Domain=example.org", false, true),
        ("; Secure; Path=/cookies", false, true),
        ("; Secure; Path=/; Path=/cookies", false, true),
    ] {
        for (name, wanted) in [
            ("__Host-foo", host),
            ("__HOST-foo", host),
            ("__Secure-foo", secure),
            ("__secure-foo", secure),
            ("foo", true),
        ] {
            let taken = Jar::default().take(&format!("{name}=bar{attributes}"));
            assert_eq!(taken, wanted, "{name}{attributes}");
        }
    }
}

#[tokio::test]
async fn t38_a_browser_takes_and_deletes_the_cookie_of_all_settings_that_are_accepted() {
    let mut accepted = 0;
    for name in ["id", "__Host-id", "__Secure-id", "__host-id", "__SECURE-id", "__Http-id"] {
        for secure in [false, true] {
            for domain in [None, Some("example.org".to_owned())] {
                for same_site in [SameSite::Lax, SameSite::Strict, SameSite::None] {
                    let settings = CookieSettings {
                        name: name.into(),
                        secure,
                        domain: domain.clone(),
                        same_site,
                    };
                    if SessionCookie::new(settings.clone()).is_err() {
                        continue;
                    }
                    accepted += 1;
                    let service = service_with(SessionConfig::default(), settings, None);
                    let mut browser = Browser::new(&service.app);
                    // The browser of these tests stops at a cookie that it may not take.
                    browser.post("/login/alice").await;
                    assert!(browser.jar.header().ends_with(|last: char| last != '='));
                    assert!(browser.get("/me").await.is(200, "alice"));
                    browser.post("/logout").await;
                    assert_eq!(browser.jar.header(), "");
                }
            }
        }
    }
    // Without a prefix 4 + 6, `__Host-` 3, `__Secure-` 6.
    assert_eq!(accepted, 19);
}

/// A layer gives up a handler that hangs; what it did before stays done.
#[tokio::test(start_paused = true)]
async fn t15_a_handler_that_is_given_up_after_a_regeneration_has_regenerated() {
    async fn hang(session: Session) -> Result<(), Rejection> {
        session.regenerate(Regeneration::privilege_change()).await?;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    }
    let service = service(SessionConfig::default());
    let app = Router::new()
        .route("/hang", post(hang))
        .layer(axum::middleware::from_fn(async |request, next: axum::middleware::Next| {
            let answer = tokio::time::timeout(Duration::from_secs(1), next.run(request)).await;
            answer.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
        }))
        .merge(routes())
        .layer(service.web.layer());
    let mut browser = Browser::new(&app);
    browser.post("/login/alice").await;
    let before = browser.clone();
    assert_eq!(browser.post("/hang").await.status, 504);
    assert!(is_dead(&before).await);
    assert!(browser.get("/me").await.is(200, "alice"), "the answer carries the new cookie");
}
