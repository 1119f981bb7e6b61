//! "Where am I signed in?": a user sees their devices, ends one, ends all others; an administrator
//! ends all sessions of somebody.
//!
//! ```console
//! cargo run --example device_list
//! ```
//!
//! Serves on a free port of this machine, uses it as three devices would, shows every request and
//! answer, and ends.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use watchdog_core::KeyRing;
use watchdog_core::audit::Actor;
use watchdog_examples::browser::{Browser, Failure, expect, serve, title};
use watchdog_session::web::{
    CookieSettings, CurrentSession, OptionalSession, Rejection, RequestClient, WebSessions,
};
use watchdog_session::{Revocation, RevokeReason, Role, SessionId, Sessions, Subject};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) FxiOS/143.0";

#[derive(Deserialize)]
struct Login {
    user: String,
    /// What the user calls the device.
    device: String,
}

/// An application checks a password here.
async fn login(
    visitor: OptionalSession,
    Json(Login { user, device }): Json<Login>,
) -> Result<Json<Value>, Rejection> {
    let role = if user == "root" { Role::ADMIN } else { Role::VIEWER };
    let subject = Subject::user(user).with_roles([role]).with_label(device);
    let issued = visitor.login(subject).await?;
    Ok(Json(json!({ "session": issued.session.id() })))
}

async fn devices(
    State(web): State<WebSessions>,
    CurrentSession(here): CurrentSession,
) -> Result<Json<Value>, Rejection> {
    let held = web.sessions().list(here.user()).await?;
    let devices = held.iter().map(|session| {
        let mark = if session.id() == here.id() { " (this one)" } else { "" };
        format!("{}{mark}", session.label().unwrap_or("?"))
    });
    Ok(Json(devices.collect()))
}

/// Ends one of the user's own sessions. The id of somebody else's finds nothing.
async fn end_one(
    State(web): State<WebSessions>,
    CurrentSession(here): CurrentSession,
    RequestClient(client): RequestClient,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Rejection> {
    let ended = web.sessions().revoke_by_id(here.user(), id, RevokeReason::User, &client).await?;
    Ok(if ended { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

/// To be offered after a change of password (OWASP ASVS 5.0, 7.4.3).
async fn end_others(
    State(web): State<WebSessions>,
    CurrentSession(here): CurrentSession,
    RequestClient(client): RequestClient,
) -> Result<Json<Value>, Rejection> {
    let why = RevokeReason::CredentialsChanged;
    let ended = web.sessions().revoke_others(&here, why, &client).await?;
    Ok(Json(json!({ "ended": ended })))
}

/// For administrators (OWASP ASVS 5.0, 7.4.5). The event names who did it.
async fn end_all_of(
    State(web): State<WebSessions>,
    CurrentSession(here): CurrentSession,
    RequestClient(client): RequestClient,
    Path(user): Path<String>,
) -> Result<Json<Value>, Rejection> {
    let why = Revocation::by(RevokeReason::Administrator, Actor::user(here.user()));
    let ended = web.sessions().revoke_all(&user, why, &client).await?;
    Ok(Json(json!({ "ended": ended })))
}

fn router(web: &WebSessions) -> Router {
    let administration = Router::new()
        .route("/users/{user}/sessions", delete(end_all_of))
        .route_layer(web.require_role([Role::ADMIN]));
    Router::new()
        .route("/login", post(login))
        .route("/devices", get(devices))
        .route("/devices/{id}", delete(end_one))
        .route("/devices/others", delete(end_others))
        .merge(administration)
        .layer(web.layer())
        .with_state(web.clone())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let sessions = Sessions::builder(&KeyRing::ephemeral()?).build()?;
    let web = WebSessions::new(sessions, CookieSettings::default())?;
    let address = serve(router(&web)).await?;
    let mut laptop = Browser::new("laptop", FIREFOX, address);
    let mut phone = Browser::new("phone", IPHONE, address);
    let mut tablet = Browser::new("tablet", IPHONE, address);
    let mut bob = Browser::new("bob", FIREFOX, address);
    let mut root = Browser::new("root", FIREFOX, address);

    title("Alice signs in three times, Bob once");
    laptop.post("/login", json!({ "user": "alice", "device": "Laptop" })).await?;
    let (_, phone_login) =
        phone.post("/login", json!({ "user": "alice", "device": "Phone" })).await?;
    tablet.post("/login", json!({ "user": "alice", "device": "Tablet" })).await?;
    bob.post("/login", json!({ "user": "bob", "device": "Desk" })).await?;
    laptop.get("/devices").await?;

    title("The phone is lost; only its owner can end its session");
    let id = serde_json::from_str::<Value>(&phone_login)?["session"].clone();
    let path = format!("/devices/{}", id.as_str().unwrap_or_default());
    let stranger = bob.ask(Method::DELETE, &path, None).await?;
    expect(&stranger, StatusCode::NOT_FOUND, "somebody else's session")?;
    let owner = laptop.ask(Method::DELETE, &path, None).await?;
    expect(&owner, StatusCode::NO_CONTENT, "one's own session")?;
    expect(&phone.get("/devices").await?, StatusCode::UNAUTHORIZED, "the lost phone")?;

    title("A new password ends all other sessions");
    laptop.ask(Method::DELETE, "/devices/others", None).await?;
    expect(&tablet.get("/devices").await?, StatusCode::UNAUTHORIZED, "the tablet")?;
    laptop.get("/devices").await?;

    title("The account is closed by an administrator, and by nobody else");
    root.post("/login", json!({ "user": "root", "device": "Console" })).await?;
    let path = "/users/alice/sessions";
    expect(&bob.ask(Method::DELETE, path, None).await?, StatusCode::FORBIDDEN, "a viewer")?;
    expect(&root.ask(Method::DELETE, path, None).await?, StatusCode::OK, "an administrator")?;
    expect(&laptop.get("/devices").await?, StatusCode::UNAUTHORIZED, "the closed account")?;
    expect(&bob.get("/devices").await?, StatusCode::OK, "somebody else's account")?;
    Ok(())
}
