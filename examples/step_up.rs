//! Step-up: what matters asks for a fresh authentication (OWASP ASVS 5.0, 7.5.1 and 7.5.3; NIST SP
//! 800-63B-4, 5.2).
//!
//! ```console
//! cargo run --example step_up
//! ```
//!
//! Serves on a free port of this machine, uses it as a browser would, shows every request and
//! answer, and ends. Time is a clock that the example moves.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

mod browser;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use watchdog_core::KeyRing;
use watchdog_core::testing::ManualClock;
use watchdog_session::web::{CookieSettings, Rejection, RequestClient, Session, WebSessions};
use watchdog_session::{MemoryStore, Regeneration, Sessions, Subject};

use crate::browser::{Browser, Failure, expect, serve, title};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Password {
    password: String,
}

/// Where an application asks its user database, or for a second factor.
fn is_right(password: &Password) -> bool {
    password.password == "alice-password"
}

async fn login(
    State(web): State<WebSessions>,
    RequestClient(client): RequestClient,
    Json(password): Json<Password>,
) -> Result<HeaderMap, Rejection> {
    if !is_right(&password) {
        return Err(Rejection::missing());
    }
    let issued = web.sessions().issue(Subject::user("alice").with_level("password"), &client).await?;
    Ok(web.signed_in(&issued)?)
}

/// Proves once more who is there: new id, new tokens, both timers anew, the old ones dead.
async fn reauthenticate(
    session: Session,
    Json(password): Json<Password>,
) -> Result<HeaderMap, Rejection> {
    if !is_right(&password) {
        return Err(Rejection::missing());
    }
    session.regenerate(Regeneration::reauthenticated()).await
}

async fn account(session: Session) -> String {
    format!("{}, signed in by {}", session.user(), session.level().unwrap_or("?"))
}

async fn change_mail(session: Session) -> String {
    format!("the mail address of {} is changed", session.user())
}

fn router(web: &WebSessions) -> Router {
    let sensitive = Router::new()
        .route("/mail", post(change_mail))
        .route_layer(web.require_fresh(5 * MINUTE));
    Router::new()
        .route("/login", post(login))
        .route("/reauthenticate", post(reauthenticate))
        .route("/account", get(account))
        .merge(sensitive)
        .layer(web.layer())
        .with_state(web.clone())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let clock = Arc::new(ManualClock::default());
    let sessions = Sessions::builder(&KeyRing::ephemeral()?)
        .store(Arc::new(MemoryStore::with_clock(clock.clone())))
        .clock(clock.clone())
        .build()?;
    let web = WebSessions::new(sessions, CookieSettings::default())?;
    let address = serve(router(&web)).await?;
    let mut alice = Browser::new("alice", FIREFOX, address);
    let right = || json!({ "password": "alice-password" });

    title("Just signed in");
    expect(&alice.post("/login", right()).await?, StatusCode::OK, "the login")?;
    expect(&alice.post("/mail", json!({})).await?, StatusCode::OK, "fresh enough")?;

    title("Ten minutes later");
    clock.advance(10 * MINUTE);
    expect(&alice.get("/account").await?, StatusCode::OK, "still signed in")?;
    let asked = alice.post("/mail", json!({})).await?;
    expect(&asked, StatusCode::UNAUTHORIZED, "not fresh enough")?;

    title("The password once more");
    let before = alice.cookie().map(str::to_owned);
    let wrong = alice.post("/reauthenticate", json!({ "password": "guess" })).await?;
    expect(&wrong, StatusCode::UNAUTHORIZED, "a wrong password")?;
    expect(&alice.post("/reauthenticate", right()).await?, StatusCode::OK, "the right one")?;
    expect(&alice.post("/mail", json!({})).await?, StatusCode::OK, "fresh again")?;

    title("Somebody with the cookie from before");
    let mut thief = Browser::new("thief", FIREFOX, address);
    thief.hold(before);
    expect(&thief.get("/account").await?, StatusCode::UNAUTHORIZED, "the old session")?;
    Ok(())
}
