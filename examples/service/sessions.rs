//! A user's sessions and what they hold: `/logout-all`, `/sessions`, `/session/data`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use watchdog_audit::Operation;
use watchdog_core::audit::{Category, Resource};
use watchdog_session::store::MAX_ATTRIBUTE_NAME_BYTES;
use watchdog_session::{ErrorKind, RevokeReason, SessionId, SessionSummary};

use crate::app::{App, ended};
use crate::failure::Failure;
use crate::principal::Principal;

/// `POST /logout-all`: ends every session of the user, this one too.
pub(crate) async fn logout_all(
    State(app): State<App>,
    principal: Principal,
) -> Result<impl IntoResponse, Failure> {
    let user = principal.session.user();
    let account = app.account(user).await?;
    let mut operation = principal.begin(Category::Security, "auth.logout_all", account).await?;
    let revoked =
        app.web.sessions().revoke_all(user, RevokeReason::Logout, &principal.client).await;
    if let Ok(sessions) = revoked {
        operation.detail("sessions", sessions);
    }
    ended(operation, revoked).await?;
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
    let session = Resource::new("session", id.to_string());
    let operation = principal.begin(Category::Security, "auth.session_ended", session).await?;
    let sessions = app.web.sessions();
    let revoked = sessions.revoke_by_id(user, id, RevokeReason::User, &principal.client).await;
    let revoked = revoked.map_err(Failure::from);
    let found =
        revoked.and_then(|was_there| was_there.then_some(()).ok_or_else(Failure::not_found));
    ended(operation, found).await?;
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
    let operation = touch(&principal, "session_data.written", &key).await?;
    let written = app.web.sessions().insert(&principal.session, &key, &value).await;
    ended(operation, written.map_err(out_of_bounds)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /session/data/{key}`. Removing what is not there is no failure.
pub(crate) async fn remove(
    State(app): State<App>,
    principal: Principal,
    Path(key): Path<String>,
) -> Result<StatusCode, Failure> {
    let operation = touch(&principal, "session_data.removed", &key).await?;
    let removed = app.web.sessions().remove(&principal.session, &key).await;
    ended(operation, removed.map_err(out_of_bounds)).await?;
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

/// Begins a change of an attribute: which key is touched, and never what stood or stands in it.
async fn touch(principal: &Principal, action: &str, key: &str) -> Result<Operation, Failure> {
    if key.len() > MAX_ATTRIBUTE_NAME_BYTES {
        return Err(Failure::bad_request("out_of_bounds"));
    }
    let resource = Resource::new("session_data", key);
    principal.begin(Category::Application, action, resource).await
}

/// A key or value out of bounds, or one too many, is the caller's mistake.
fn out_of_bounds(error: watchdog_session::Error) -> Failure {
    match error.kind() {
        ErrorKind::Misuse => Failure::bad_request("out_of_bounds"),
        _ => error.into(),
    }
}
