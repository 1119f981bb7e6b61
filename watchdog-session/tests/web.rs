//! The web edge as a browser and an API client see it.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![cfg(feature = "axum")]

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, RETRY_AFTER, SET_COOKIE, USER_AGENT,
};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use tower::ServiceExt as _;
use watchdog_core::KeyRing;
use watchdog_session::web::{
    CookieSettings, CurrentSession, Rejection, RequestClient, WebSessions,
};
use watchdog_session::{Issued, RevokeReason, Sessions, Subject};

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

async fn logout(
    Extension(web): Extension<WebSessions>,
    CurrentSession(session): CurrentSession,
) -> Result<HeaderMap, Rejection> {
    web.sessions().revoke(&session, RevokeReason::Logout).await?;
    Ok(web.signed_out()?)
}

fn routes() -> Router {
    Router::new().route("/me", get(me)).route("/login", get(login)).route("/logout", get(logout))
}

fn web() -> WebSessions {
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys).build().unwrap();
    WebSessions::new(sessions, CookieSettings::default()).unwrap()
}

async fn ask(
    app: &Router,
    path: &str,
    headers: &[(axum::http::HeaderName, &str)],
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().uri(path).header(USER_AGENT, "curl/8");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 10_000).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn issue(web: &WebSessions) -> Issued {
    let client = watchdog_session::Client::new(None, Some("curl/8".into()));
    web.sessions().issue(Subject::user("alice"), &client).await.unwrap()
}

fn set_cookie(headers: &HeaderMap) -> Option<&str> {
    headers.get(SET_COOKIE).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_browser_logs_in_is_known_and_logs_out() {
    let web = web();
    let app = routes().layer(web.layer());
    let (status, headers, _) = ask(&app, "/login", &[]).await;
    assert_eq!((status, headers[CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-store"));
    let set = set_cookie(&headers).unwrap();
    assert!(set.starts_with("__Host-session="), "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let (status, headers, body) = ask(&app, "/me", &[(COOKIE, &cookie)]).await;
    assert_eq!((status, &*body, set_cookie(&headers)), (StatusCode::OK, "alice", None));
    let (status, headers, _) = ask(&app, "/logout", &[(COOKIE, &cookie)]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(set_cookie(&headers).unwrap().contains("Max-Age=0"));
    let (status, headers, body) = ask(&app, "/me", &[(COOKIE, &cookie)]).await;
    assert_eq!((status, &*body), (StatusCode::UNAUTHORIZED, r#"{"error":"invalid"}"#));
    assert!(set_cookie(&headers).unwrap().starts_with("__Host-session=;"));
}

#[tokio::test]
async fn a_bearer_token_is_judged_alone() {
    let web = web();
    let app = routes().layer(web.layer());
    let issued = issue(&web).await;
    let bearer = format!("Bearer {}", issued.access_token.expose());
    let cookie = format!("__Host-session={}", issued.session_token.expose());
    let (status, _, body) = ask(&app, "/me", &[(AUTHORIZATION, &bearer)]).await;
    assert_eq!((status, &*body), (StatusCode::OK, "alice"));
    for wrong in
        ["Bearer x", "Bearer", "Basic YTpi", &format!("Bearer {}", issued.session_token.expose())]
    {
        let (status, headers, _) =
            ask(&app, "/me", &[(AUTHORIZATION, wrong), (COOKIE, &cookie)]).await;
        assert_eq!((status, set_cookie(&headers)), (StatusCode::UNAUTHORIZED, None), "{wrong}");
    }
    let (status, ..) =
        ask(&app, "/me", &[(AUTHORIZATION, &bearer), (AUTHORIZATION, &bearer)]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_cookie_two_cookies_and_unknown_cookies_are_nobody() {
    let web = web();
    let app = routes().layer(web.layer());
    let issued = issue(&web).await;
    let cookie = format!("__Host-session={}", issued.session_token.expose());
    for headers in [
        vec![],
        vec![(COOKIE, &*cookie), (COOKIE, &*cookie)],
        vec![(COOKIE, "session=x")],
        vec![(COOKIE, "__Host-session=x")],
    ] {
        let (status, ..) = ask(&app, "/me", &headers).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
    let (status, ..) = ask(&app, "/me", &[(COOKIE, &cookie)]).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn another_client_is_refused_and_the_cookie_stays() {
    let web = web();
    let app = routes().layer(web.layer());
    let client = watchdog_session::Client::new(None, Some("Firefox/142".into()));
    let issued = web.sessions().issue(Subject::user("alice"), &client).await.unwrap();
    let cookie = format!("__Host-session={}", issued.session_token.expose());
    let (status, headers, body) = ask(&app, "/me", &[(COOKIE, &cookie)]).await;
    assert_eq!((status, &*body), (StatusCode::UNAUTHORIZED, r#"{"error":"invalid"}"#));
    assert_eq!(set_cookie(&headers), None);
}

#[tokio::test]
async fn a_missing_layer_is_500_and_never_lets_anybody_in() {
    let (status, headers, body) = ask(&routes(), "/me", &[(COOKIE, "__Host-session=x")]).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((&*body, set_cookie(&headers)), (r#"{"error":"internal"}"#, None));
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_the_cookie_stays() {
    use watchdog_storage::redis::{Redis, RedisConfig};
    use watchdog_storage::testing::redis::{RedisServer, is_available};

    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let keys = KeyRing::ephemeral().unwrap();
    let store = Arc::new(watchdog_session::RedisStore::new(redis));
    let sessions = Sessions::builder(&keys).store(store).build().unwrap();
    let web = WebSessions::new(sessions, CookieSettings::default()).unwrap();
    let app = routes().layer(web.layer());
    let issued = issue(&web).await;
    let cookie = format!("__Host-session={}", issued.session_token.expose());
    let (status, ..) = ask(&app, "/me", &[(COOKIE, &cookie)]).await;
    assert_eq!(status, StatusCode::OK);
    server.kill();
    let (status, headers, body) = ask(&app, "/me", &[(COOKIE, &cookie)]).await;
    assert_eq!((status, &*body), (StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"unavailable"}"#));
    assert_eq!((set_cookie(&headers), headers[RETRY_AFTER].to_str().unwrap()), (None, "1"));
}
