//! Signing in and out: `/login`, `/me`, `/refresh`, `/logout`.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use watchdog_core::Secret;
use watchdog_core::audit::{Actor, Category, Outcome, Resource};
use watchdog_session::web::{OptionalSession, RequestClient};
use watchdog_session::{
    AccessToken, MAX_LABEL_BYTES, MAX_USER_BYTES, RefreshToken, RevokeReason, Session, Subject,
};

use crate::app::App;
use crate::failure::Failure;
use crate::principal::{Principal, entry};
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
    RequestClient(client): RequestClient,
    body: Result<Json<Login>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(Login { user, password, label }) = body?;
    let is_label = |label: &String| !label.is_empty() && label.len() <= MAX_LABEL_BYTES;
    if user.is_empty() || user.len() > MAX_USER_BYTES || !label.iter().all(is_label) {
        return Err(Failure::bad_request("invalid"));
    }
    let account = Resource::new("account", &user);
    let Some(role) = users::role(&user, &password) else {
        let denied = entry(Category::Security, Actor::anonymous(), "auth.login", account);
        app.audit.record(denied.with_outcome(Outcome::Denied).with_client(client)).await?;
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "invalid"));
    };
    let mut subject = Subject::user(&user).with_roles([role]);
    if let Some(label) = label {
        subject = subject.with_label(label);
    }
    let issued = visitor.login(subject).await?;
    let done = entry(Category::Security, Actor::user(&user), "auth.login", account)
        .with_outcome(Outcome::Success)
        .with_client(client)
        .with_detail("session", issued.session.id().to_string());
    app.record_done(done).await;
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
pub(crate) async fn refresh(
    State(app): State<App>,
    RequestClient(client): RequestClient,
    body: Result<Json<Refresh>, JsonRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Json(Refresh { refresh_token }) = body?;
    let rotated = match app.web.sessions().rotate(refresh_token.expose(), &client).await {
        Ok(rotated) => rotated,
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(error) => {
            // Which session it was, the session's own events tell: `session.refresh_token_reused`.
            let token = Resource::new("refresh_token", "");
            let refused = entry(Category::Security, Actor::anonymous(), "auth.refresh", token)
                .with_outcome(Outcome::Denied)
                .with_client(client)
                .with_detail("reason", error.kind().as_str());
            app.record_done(refused).await;
            return Err(error.into());
        }
    };
    let session = Resource::new("session", rotated.session.id().to_string());
    let actor = Actor::user(rotated.session.user());
    let done = entry(Category::Security, actor, "auth.refresh", session)
        .with_outcome(Outcome::Success)
        .with_client(client)
        .with_detail("verdict", rotated.verdict.as_str());
    app.record_done(done).await;
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
    let was_alive = app.web.sessions().revoke(&principal.session, RevokeReason::Logout).await?;
    let session = Resource::new("session", principal.session.id().to_string());
    let entry = principal
        .entry(Category::Security, "auth.logout", session)
        .with_outcome(Outcome::Success)
        .with_detail("was_alive", was_alive);
    app.record_done(entry).await;
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
