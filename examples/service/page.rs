//! A small page for people: who is signed in and where, and how the service is.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::response::{Html, IntoResponse};
use watchdog_session::Session;
use watchdog_session::web::{CurrentSession, Rejection};

use crate::app::App;

/// `GET /`.
pub(crate) async fn page(
    State(app): State<App>,
    session: Result<CurrentSession, Rejection>,
) -> impl IntoResponse {
    let who = match session {
        Ok(CurrentSession(session)) => signed_in(&app, &session).await,
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

/// The user, and a line for each device. What the user or a client wrote is escaped.
async fn signed_in(app: &App, session: &Session) -> String {
    let mut text =
        format!("{} ({})", escaped(session.user()), escaped(&session.roles().join(", ")));
    let Ok(devices) = app.web.sessions().list(session.user()).await else { return text };
    text.push_str("<ul>");
    for device in devices {
        let client = device.client();
        let agent = client.user_agent.as_deref().unwrap_or("unknown program");
        let name = device.label().unwrap_or(agent);
        let here = if device.id() == session.id() { ", this one" } else { "" };
        let address = client.ip.map(|ip| ip.to_string()).unwrap_or_default();
        let name = escaped(name);
        let seen = device.last_seen();
        // Writing into a text does not fail.
        let _ = write!(text, "<li>{name}, {address}, last seen {seen}{here}");
    }
    text.push_str("</ul>");
    text
}

/// As text of an element.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
