//! Redis is down, forgets its scripts, or moves the keys elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{COOKIE, HeaderValue, RETRY_AFTER, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use tower::ServiceExt as _;
use watchdog_session::web::{
    CookieSettings, CurrentSession, Rejection, RequestClient, WebSessions,
};
use watchdog_session::{ErrorKind, SessionConfig, Subject, Verdict};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{RedisServer, is_available};

use crate::rig::{FIREFOX, Rig, client};

async fn me(CurrentSession(session): CurrentSession) -> String {
    session.user().to_owned()
}

async fn login(
    Extension(web): Extension<WebSessions>,
    RequestClient(client): RequestClient,
) -> Result<HeaderMap, Rejection> {
    let issued = web.sessions().issue(Subject::user("alice"), &client).await?;
    Ok(web.signed_in(&issued)?)
}

fn app(rig: &Rig) -> Router {
    let web = WebSessions::new(rig.sessions.clone(), CookieSettings::default()).unwrap();
    Router::new().route("/me", get(me)).route("/login", get(login)).layer(web.layer())
}

async fn ask(app: &Router, path: &str, cookie: Option<&[u8]>) -> (StatusCode, HeaderMap) {
    let mut request = Request::builder().uri(path).header(USER_AGENT, FIREFOX);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, HeaderValue::from_bytes(cookie).unwrap());
    }
    let answer = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    (answer.status(), answer.headers().clone())
}

/// The pair of a `Set-Cookie` header, as a browser sends it back.
fn pair(headers: &HeaderMap) -> String {
    headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// What no browser sends, and what attackers do: refused without a word to Redis.
#[tokio::test]
async fn t04_malformed_cookies_cost_no_command() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let app = app(&rig);
    let good = pair(&ask(&app, "/login", None).await.1);
    assert_eq!(ask(&app, "/me", Some(good.as_bytes())).await.0, StatusCode::OK);
    rig.sessions.deliver_events().await.unwrap();
    let (name, value) = good.split_once('=').unwrap();
    let long = "A".repeat(10_000_000);
    let mut cookies: Vec<Vec<u8>> = [
        format!("{name}="),
        name.to_owned(),
        format!("{name}={long}"),
        format!("{name}={value}{value}"),
        format!("{name}=\"{value}"),
        format!("{name}={}", &value[1..]),
        format!("{name}={value}="),
        format!("{name}={}", value.to_lowercase()),
        "a=b; ".repeat(20_000),
        format!("{name}={}", "é".repeat(50)),
    ]
    .map(String::into_bytes)
    .to_vec();
    // Not UTF-8; NUL and line ends cannot even stand in a header.
    cookies.push([name.as_bytes(), b"=\xff\xfe\xc3\x28", &value.as_bytes()[4..]].concat());
    cookies.push(vec![0xff; 95]);
    for control in [b"\0", b"\n", b"\r"] {
        assert!(HeaderValue::from_bytes(&[value.as_bytes(), control].concat()).is_err());
    }
    let before = server.calls();
    for cookie in &cookies {
        let (status, _) = ask(&app, "/me", Some(cookie)).await;
        let shown = String::from_utf8_lossy(&cookie[..cookie.len().min(80)]);
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{shown}");
    }
    let mut after = server.calls();
    after.retain(|name, calls| name != "info" && before.get(name) != Some(calls));
    assert!(after.is_empty(), "{after:?}");
    assert_eq!(ask(&app, "/me", Some(good.as_bytes())).await.0, StatusCode::OK);
}

/// sourcegraph#37016 and OpenTranscribe#324: no memory steps in, the browser keeps its cookie.
#[tokio::test]
async fn t49_redis_down_is_503_with_the_cookie_kept_and_no_other_store() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let app = app(&rig);
    let cookie = pair(&ask(&app, "/login", None).await.1);
    rig.sessions.deliver_events().await.unwrap();
    server.pause();
    for path in ["/me", "/login"] {
        let (status, headers) = ask(&app, path, Some(cookie.as_bytes())).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(!headers.contains_key(SET_COOKIE), "{path} touches the cookie");
        assert!(headers.contains_key(RETRY_AFTER));
    }
    // A forged cookie needs no Redis to be refused.
    let (status, _) = ask(&app, "/me", Some(b"__Host-session=forged")).await;
    assert_ne!(status, StatusCode::OK);
    server.resume();
    eventually("the same cookie works again", Duration::from_secs(10), async || {
        ask(&app, "/me", Some(cookie.as_bytes())).await.0 == StatusCode::OK
    })
    .await;
}

/// `SCRIPT FLUSH` again and again under load: a promoted replica knows no script either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t50_a_server_that_forgets_its_scripts_under_load_loses_nothing() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let rig = Arc::new(Rig::start(&server.url(), SessionConfig::default()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let flushing = std::thread::spawn({
        let (stop, mut control) = (Arc::clone(&stop), server.control());
        move || {
            let mut flushed = 0;
            while !stop.load(Ordering::Relaxed) {
                control.command(&["SCRIPT", "FLUSH"]).unwrap();
                flushed += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            flushed
        }
    });
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                for round in 0..10 {
                    let issued = rig.issue(&format!("user-{task}-{round}")).await;
                    let mut token = issued.refresh_token.clone();
                    for _ in 0..3 {
                        let rotated = rig.sessions.rotate(token.expose(), &client()).await.unwrap();
                        assert_eq!(rotated.verdict, Verdict::Rotated);
                        token = rotated.refresh_token;
                    }
                    let reason = watchdog_session::RevokeReason::Logout;
                    assert!(rig.sessions.revoke(&issued.session, reason).await.unwrap());
                    let gone = rig.sessions.rotate(token.expose(), &client()).await.unwrap_err();
                    assert_eq!(gone.kind(), ErrorKind::Gone);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(flushing.join().unwrap() > 10);
    // Each step once: a script sent twice would have rotated twice or reported twice.
    rig.sessions.deliver_events().await.unwrap();
    assert_eq!(rig.sink.entries().len(), 8 * 10 * 5);
}
