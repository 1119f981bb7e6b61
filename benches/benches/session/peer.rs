//! The peer: tower-sessions with its store for Redis, on the same client library.

use axum::Router;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::clients::Client;
use tower_sessions_redis_store::fred::interfaces::ClientLike as _;
use tower_sessions_redis_store::fred::types::Builder;
use tower_sessions_redis_store::fred::types::config::Config;

use crate::bed::{USER_AGENT, user};

/// What our record holds of a user, too.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    user: String,
    ip: String,
    user_agent: String,
}

const FIELD: &str = "identity";

/// Connects as its documentation does, with one connection, as ours has.
pub(crate) async fn connect(url: &str) -> Client {
    let client = Builder::from_config(Config::from_url(url).unwrap()).build().unwrap();
    client.init().await.unwrap();
    client
}

/// Sessions that live on with each request, which takes `always_save`: only a saved session gets
/// a new expiry.
pub(crate) fn router(client: Client) -> Router {
    let layer = SessionManagerLayer::new(RedisStore::new(client))
        .with_expiry(Expiry::OnInactivity(Duration::minutes(30)))
        .with_always_save(true);
    Router::new().route("/login/{number}", get(login)).route("/me", get(me)).layer(layer)
}

async fn login(axum::extract::Path(number): axum::extract::Path<usize>, session: Session) {
    let identity =
        Identity { user: user(number), ip: "192.0.2.1".into(), user_agent: USER_AGENT.into() };
    session.insert(FIELD, identity).await.unwrap();
}

async fn me(session: Session) -> String {
    session.get::<Identity>(FIELD).await.unwrap().unwrap().user
}
