//! Cookie sessions: sign in, keep something in the session, sign out.
//!
//! ```console
//! cargo run --example cookie_sessions
//! ```
//!
//! Serves on a free port of this machine, uses it as a browser would, shows every request and
//! answer, and ends. Sessions are in memory; `.store(Arc::new(RedisStore::new(redis)))` puts them
//! into Redis, and nothing else changes.

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use watchdog_core::KeyRing;
use watchdog_examples::browser::{Browser, Failure, expect, serve, title};
use watchdog_session::web::{CookieSettings, OptionalSession, Rejection, Session, WebSessions};
use watchdog_session::{Error, ErrorKind, Sessions, Subject};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

/// Always a new session with new tokens, whatever cookie came along. The layer sets the cookie.
async fn login(visitor: OptionalSession, Json(login): Json<Login>) -> Result<(), Rejection> {
    if login.password != format!("{}-password", login.user) {
        return Err(Error::new(ErrorKind::Invalid, "wrong password").into());
    }
    visitor.login(Subject::user(login.user)).await?;
    Ok(())
}

/// For everybody.
async fn home(visitor: OptionalSession) -> String {
    match visitor.session() {
        Some(session) => format!("Good day, {}.", session.principal().user()),
        None => "Good day. Please sign in.".to_owned(),
    }
}

/// For users. The change is written when the call returns, and no concurrent one is lost.
async fn add(session: Session) -> Result<String, Rejection> {
    let count = session.update("cart", |held: Option<u32>| Some(held.unwrap_or(0) + 1)).await?;
    Ok(format!("{} in the cart", count.unwrap_or(0)))
}

async fn cart(session: Session) -> Result<String, Rejection> {
    let count = session.get::<u32>("cart").await?;
    Ok(format!("{} in the cart", count.unwrap_or(0)))
}

/// Ends the session; the layer deletes the cookie.
async fn logout(session: Session) -> Result<(), Rejection> {
    Ok(session.flush().await?)
}

fn router(web: &WebSessions) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/cart", get(cart).post(add))
        .route("/logout", post(logout))
        .layer(web.layer())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let sessions = Sessions::builder(&KeyRing::ephemeral()?).build()?;
    let web = WebSessions::new(sessions, CookieSettings::default())?;
    let address = serve(router(&web)).await?;
    let mut alice = Browser::new("alice", FIREFOX, address);

    title("Nobody yet");
    expect(&alice.get("/").await?, StatusCode::OK, "the home page")?;
    expect(&alice.get("/cart").await?, StatusCode::UNAUTHORIZED, "a page for users")?;

    title("Signing in");
    let wrong = json!({ "user": "alice", "password": "guess" });
    expect(&alice.post("/login", wrong).await?, StatusCode::UNAUTHORIZED, "a wrong password")?;
    let right = json!({ "user": "alice", "password": "alice-password" });
    expect(&alice.post("/login", right.clone()).await?, StatusCode::OK, "the right one")?;
    alice.get("/").await?;

    title("Two tabs put something into the cart at once");
    let mut tab = Browser::new("tab two", FIREFOX, address);
    tab.hold(alice.cookie().map(str::to_owned));
    let (one, two) = tokio::join!(alice.post("/cart", json!({})), tab.post("/cart", json!({})));
    one?;
    two?;
    let (_, cart) = alice.get("/cart").await?;
    if cart != "2 in the cart" {
        return Err(cart.into());
    }

    title("Signing in again: the old cookie is dead, the cart is not");
    expect(&alice.post("/login", right).await?, StatusCode::OK, "the second login")?;
    alice.get("/cart").await?;
    expect(&tab.get("/cart").await?, StatusCode::UNAUTHORIZED, "the cookie from before")?;

    title("A cookie that somebody else planted beside it");
    let planted = alice.cookie().map(|cookie| format!("{cookie}; __Host-session=planted"));
    tab.hold(planted);
    expect(&tab.get("/cart").await?, StatusCode::UNAUTHORIZED, "two cookies of one name")?;

    title("Signing out");
    let last = alice.cookie().map(str::to_owned);
    expect(&alice.post("/logout", json!({})).await?, StatusCode::OK, "the logout")?;
    tab.hold(last);
    expect(&tab.get("/cart").await?, StatusCode::UNAUTHORIZED, "the cookie after it")?;
    Ok(())
}
