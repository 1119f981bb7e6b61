//! Server-side sessions with refresh-token rotation and reuse detection, on Redis or in memory.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod client;
mod config;
mod error;
mod event;
mod health;
pub mod model;
mod place;
mod pump;
pub mod record;
pub mod rotation;
mod session;
mod sessions;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
pub mod wire;

#[cfg(feature = "axum")]
pub mod web;

pub use config::{MAX_CONCURRENT_LIMIT, MAX_GRACE, SessionConfig, StoreKind};
pub use error::{Error, ErrorKind, Result};
pub use health::SessionHealth;
pub use place::{BUCKETS, Location, Place, SessionId};
pub use rotation::Verdict;
pub use session::{
    Credential, Issued, MAX_ROLE_BYTES, MAX_ROLES, MAX_USER_BYTES, RevokeReason, Rotated, Session,
    Subject,
};
pub use sessions::{Builder, Sessions};
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{MemoryStore, SessionStore};
pub use token::{
    AccessToken, REFRESH_TOKEN_CHARS, RefreshParts, RefreshToken, SESSION_TOKEN_CHARS, SessionParts,
    SessionToken, TokenKeys,
};
/// From where a call comes: address and user agent.
pub use watchdog_core::audit::Client;
