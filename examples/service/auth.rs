//! Signing in and out: `/login`, `/me`, `/refresh`, `/logout`.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use watchdog_audit::web::Audit;
use watchdog_core::Secret;
use watchdog_core::audit::{Actor, Category, Resource};
use watchdog_session::web::{OptionalSession, RequestClient};
use watchdog_session::{
    AccessToken, MAX_LABEL_BYTES, MAX_USER_BYTES, RefreshToken, RevokeReason, Session, Subject,
};

use crate::app::{App, ended};
use crate::failure::Failure;
use crate::principal::Principal;
use crate::users;

#[derive(Deserialize)]
pub(crate) struct Login {
    user: String,
    password: Secret<String>,
    /// What the user calls this device.
    label: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Refresh {
    refresh_token: Secret<String>,
}

/// `POST /login`. Whatever session came along is dead afterwards; the layer sets the cookie.
pub(crate) async fn login(
    State(app): State<App>,
    visitor: OptionalSession,
    audit: Audit,
    body: Result<Json<Login>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(Login { user, password, label }) = body?;
    let is_label = |label: &String| !label.is_empty() && label.len() <= MAX_LABEL_BYTES;
    if user.is_empty() || user.len() > MAX_USER_BYTES || !label.iter().all(is_label) {
        return Err(Failure::bad_request("invalid"));
    }
    let account = app.account(&user).await?;
    let mut operation = audit.begin(Category::Security, "auth.login", account).await?;
    let Some(role) = users::role(&user, &password) else {
        operation.deny().await?;
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "invalid"));
    };
    let mut subject = Subject::user(&user).with_roles([role]);
    if let Some(label) = label {
        subject = subject.with_label(label);
    }
    let issued = match visitor.login(subject).await {
        Ok(issued) => issued,
        Err(error) => return ended(operation, Err(error)).await,
    };
    operation.actor(audit.actor());
    operation.resource(Resource::new("session", issued.session.id().to_string()));
    if let Err(error) = operation.succeed().await {
        // Nobody has seen the tokens yet.
        if let Some(session) = visitor.session() {
            session.flush().await?;
        }
        return Err(error.into());
    }
    let tokens = Tokens {
        access: &issued.access_token,
        expires_in: issued.expires_in.as_secs(),
        refresh: &issued.refresh_token,
        session: &issued.session,
    };
    Ok(tokens.json())
}

/// `GET /me`.
pub(crate) async fn me(principal: Principal) -> impl IntoResponse {
    let body = json!({
        "user": principal.session.user(),
        "role": principal.role(),
        "session_id": principal.session.id().to_string(),
    });
    ([(CACHE_CONTROL, "no-store")], Json(body))
}

/// `POST /refresh`.
///
/// When the rotation is not acknowledged by the log in time, it is answered all the same: a client
/// that never learns its new token would come back with the old one and be taken for a thief. The
/// log has begun the entry before, keeps it, and writes it when its store is back.
pub(crate) async fn refresh(
    State(app): State<App>,
    RequestClient(client): RequestClient,
    audit: Audit,
    body: Result<Json<Refresh>, JsonRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Json(Refresh { refresh_token }) = body?;
    let token = Resource::new("refresh_token", "");
    let mut operation = audit.begin(Category::Security, "auth.refresh", token).await?;
    let rotated = match app.web.sessions().rotate(refresh_token.expose(), &client).await {
        Ok(rotated) => rotated,
        Err(error) => {
            // Which session it was, the session's own events tell: `session.refresh_token_reused`.
            operation.detail("reason", error.kind().as_str());
            return ended(operation, Err(error)).await;
        }
    };
    operation.resource(Resource::new("session", rotated.session.id().to_string()));
    audit.set_actor(Actor::user(rotated.session.user()));
    operation.actor(audit.actor());
    operation.detail("verdict", rotated.verdict.as_str());
    if let Err(error) = operation.succeed().await {
        tracing::error!(%error, "a rotation is not acknowledged by the audit log yet");
    }
    let tokens = Tokens {
        access: &rotated.access_token,
        expires_in: rotated.expires_in.as_secs(),
        refresh: &rotated.refresh_token,
        session: &rotated.session,
    };
    Ok(([(CACHE_CONTROL, "no-store")], tokens.json()))
}

/// `POST /logout`.
pub(crate) async fn logout(
    State(app): State<App>,
    principal: Principal,
) -> Result<impl IntoResponse, Failure> {
    let session = Resource::new("session", principal.session.id().to_string());
    let mut operation = principal.begin(Category::Security, "auth.logout", session).await?;
    let revoked = app.web.sessions().revoke(&principal.session, RevokeReason::Logout).await;
    if let Ok(was_alive) = revoked {
        operation.detail("was_alive", was_alive);
    }
    ended(operation, revoked).await?;
    Ok((StatusCode::NO_CONTENT, principal.signed_out(&app)?))
}

/// What a client gets after a login or a rotation.
struct Tokens<'a> {
    access: &'a AccessToken,
    expires_in: u64,
    refresh: &'a RefreshToken,
    session: &'a Session,
}

impl Tokens<'_> {
    fn json(&self) -> Json<Value> {
        Json(json!({
            "access_token": self.access.expose(),
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.refresh.expose(),
            "session_id": self.session.id().to_string(),
        }))
    }
}
