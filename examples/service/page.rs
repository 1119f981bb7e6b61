//! A small page for people: who is signed in, and how the service is.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse};
use watchdog_session::web::CurrentSession;

use crate::app::App;

/// `GET /`.
pub(crate) async fn page(
    State(app): State<App>,
    session: Result<CurrentSession, watchdog_session::web::Rejection>,
) -> impl IntoResponse {
    let who = match session {
        Ok(CurrentSession(session)) => {
            // Names of the demo users need no escaping; yours would.
            format!("{} ({})", session.user(), session.roles().join(", "))
        }
        Err(_) => "nobody".to_owned(),
    };
    let health = app.health.overall();
    let body = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Watchdog SDK</title>\
         <h1>Watchdog SDK, reference service</h1>\
         <p>Signed in: {who}<p>Health: {health}\
         <p>Try: <code>curl -i -H 'content-type: application/json' \
         -d '{{\"user\":\"alice\",\"password\":\"alice-password\"}}' /login</code>\
         <p><a href=/health>/health</a> <a href=/metrics>/metrics</a>"
    );
    let headers = [(CACHE_CONTROL, "no-store"), (CONTENT_SECURITY_POLICY, "default-src 'none'")];
    (headers, Html(body))
}
