//! Step-up: what matters asks for a fresh authentication (OWASP ASVS 5.0, 7.5.1 and 7.5.3; NIST SP
//! 800-63B-4, 5.2).
//!
//! ```console
//! cargo run --example step_up
//! ```
//!
//! Serves on a free port of this machine, uses it as a browser would, shows every request and
//! answer, and ends. Time is a clock that the example moves.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use watchdog_core::KeyRing;
use watchdog_core::testing::ManualClock;
use watchdog_examples::browser::{Browser, Failure, expect, serve, title};
use watchdog_session::web::{CookieSettings, OptionalSession, Rejection, Session, WebSessions};
use watchdog_session::{Error, ErrorKind, MemoryStore, Regeneration, Sessions, Subject};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Password {
    password: String,
}

impl Password {
    /// Where an application asks its user database, or for a second factor.
    fn check(&self) -> Result<(), Rejection> {
        if self.password == "alice-password" {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "wrong password").into())
    }
}

async fn login(visitor: OptionalSession, Json(password): Json<Password>) -> Result<(), Rejection> {
    password.check()?;
    visitor.login(Subject::user("alice").with_level("password")).await?;
    Ok(())
}

/// Proves once more who is there: new id, new tokens, both timers anew, the old ones dead.
async fn reauthenticate(session: Session, Json(password): Json<Password>) -> Result<(), Rejection> {
    password.check()?;
    session.regenerate(Regeneration::reauthenticated()).await?;
    Ok(())
}

async fn account(session: Session) -> String {
    let session = session.session();
    format!("{}, signed in by {}", session.user(), session.level().unwrap_or("?"))
}

async fn change_mail(session: Session) -> String {
    format!("the mail address of {} is changed", session.principal().user())
}

fn router(web: &WebSessions) -> Router {
    let sensitive =
        Router::new().route("/mail", post(change_mail)).route_layer(web.require_fresh(5 * MINUTE));
    Router::new()
        .route("/login", post(login))
        .route("/reauthenticate", post(reauthenticate))
        .route("/account", get(account))
        .merge(sensitive)
        .layer(web.layer())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let clock = Arc::new(ManualClock::default());
    let sessions = Sessions::builder(&KeyRing::ephemeral()?)
        .store(Arc::new(MemoryStore::with_clock(Arc::<ManualClock>::clone(&clock))))
        .clock(Arc::<ManualClock>::clone(&clock))
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
