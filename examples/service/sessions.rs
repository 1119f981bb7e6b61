//! A user's sessions and what they hold: `/logout-all`, `/sessions`, `/session/data`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use watchdog_core::audit::{Category, Outcome, Resource};
use watchdog_session::{ErrorKind, RevokeReason, SessionId, SessionSummary};

use crate::app::App;
use crate::failure::Failure;
use crate::principal::Principal;

/// `POST /logout-all`: ends every session of the user, this one too.
pub(crate) async fn logout_all(
    State(app): State<App>,
    principal: Principal,
) -> Result<impl IntoResponse, Failure> {
    let user = principal.session.user();
    let ended =
        app.web.sessions().revoke_all(user, RevokeReason::Logout, &principal.client).await?;
    let entry = principal
        .entry(Category::Security, "auth.logout_all", Resource::new("account", user))
        .with_outcome(Outcome::Success)
        .with_detail("sessions", ended);
    app.record_done(entry).await;
    Ok((StatusCode::NO_CONTENT, principal.signed_out(&app)?))
}

/// `GET /sessions`: the devices on which the user is signed in, the last used first.
pub(crate) async fn list(
    State(app): State<App>,
    principal: Principal,
) -> Result<impl IntoResponse, Failure> {
    let held = app.web.sessions().list(principal.session.user()).await?;
    let current = principal.session.id();
    let devices: Vec<_> = held.iter().map(|session| device(session, current)).collect();
    Ok(([(CACHE_CONTROL, "no-store")], Json(json!({ "sessions": devices }))))
}

/// `DELETE /sessions/{id}`: ends one of the user's sessions. Somebody else's is as unknown as one
/// that never was.
pub(crate) async fn end(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Failure> {
    let user = principal.session.user();
    let Ok(id) = id.parse::<SessionId>() else { return Err(Failure::not_found()) };
    let sessions = app.web.sessions();
    if !sessions.revoke_by_id(user, id, RevokeReason::User, &principal.client).await? {
        return Err(Failure::not_found());
    }
    let entry = principal
        .entry(Category::Security, "auth.session_ended", Resource::new("session", id.to_string()))
        .with_outcome(Outcome::Success);
    app.record_done(entry).await;
    let is_this_one = id == principal.session.id();
    let headers = if is_this_one { principal.signed_out(&app)? } else { HeaderMap::new() };
    Ok((StatusCode::NO_CONTENT, headers))
}

/// `GET /session/data`: all attributes of this session.
pub(crate) async fn data(
    State(app): State<App>,
    principal: Principal,
) -> Result<impl IntoResponse, Failure> {
    let attributes = app.web.sessions().attributes(&principal.session).await?;
    let mut values = serde_json::Map::new();
    for name in attributes.names() {
        if let Some(value) = attributes.get::<Value>(name)? {
            values.insert(name.to_owned(), value);
        }
    }
    Ok(([(CACHE_CONTROL, "no-store")], Json(Value::Object(values))))
}

/// `PUT /session/data/{key}`: any JSON value.
pub(crate) async fn write(
    State(app): State<App>,
    principal: Principal,
    Path(key): Path<String>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<StatusCode, Failure> {
    let Json(value) = body?;
    let written = app.web.sessions().insert(&principal.session, &key, &value).await;
    written.map_err(out_of_bounds)?;
    app.record_done(about(&principal, "session_data.written", &key)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /session/data/{key}`. Removing what is not there is no failure.
pub(crate) async fn remove(
    State(app): State<App>,
    principal: Principal,
    Path(key): Path<String>,
) -> Result<StatusCode, Failure> {
    let removed = app.web.sessions().remove(&principal.session, &key).await;
    removed.map_err(out_of_bounds)?;
    app.record_done(about(&principal, "session_data.removed", &key)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /.well-known/jwks.json`: the public keys of access tokens (RFC 7517, section 8.5.2).
pub(crate) async fn jwks(State(app): State<App>) -> impl IntoResponse {
    let headers =
        [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, app.web.sessions().jwks().to_string())
}

fn device(session: &SessionSummary, current: SessionId) -> Value {
    let client = session.client();
    json!({
        "id": session.id().to_string(),
        "created_at": session.created_at(),
        "last_seen": session.last_seen(),
        "ip": client.ip,
        "user_agent": client.user_agent,
        "label": session.label(),
        "current": session.id() == current,
    })
}

/// Which key was touched, and never what stood or stands in it.
fn about(principal: &Principal, action: &str, key: &str) -> watchdog_core::audit::Entry {
    let resource = Resource::new("session_data", key);
    principal.entry(Category::Application, action, resource).with_outcome(Outcome::Success)
}

/// A key or value out of bounds, or one too many, is the caller's mistake.
fn out_of_bounds(error: watchdog_session::Error) -> Failure {
    match error.kind() {
        ErrorKind::Misuse => Failure::bad_request("out_of_bounds"),
        _ => error.into(),
    }
}
