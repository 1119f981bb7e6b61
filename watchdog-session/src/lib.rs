//! Server-side sessions with refresh-token rotation and reuse detection, on Redis or in memory.
//!
//! ```
//! use watchdog_core::KeyRing;
//! use watchdog_session::{Client, ErrorKind, Sessions, Subject};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::ephemeral()?; // in production: from the configuration
//! let sessions = Sessions::builder(&keys).build()?; // in memory, without a store
//! let client = Client::new("192.0.2.1".parse().ok(), Some("curl/8".into()));
//!
//! let issued = sessions.issue(Subject::user("alice").with_roles(["admin"]), &client).await?;
//! let session = sessions.authenticate(issued.session_token.expose(), &client).await?;
//! assert_eq!(session.user(), "alice");
//!
//! let new = sessions.rotate(issued.refresh_token.expose(), &client).await?;
//! sessions.rotate(new.refresh_token.expose(), &client).await?;
//! // The first token is two generations old: somebody else has it too.
//! let theft = sessions.rotate(issued.refresh_token.expose(), &client).await.unwrap_err();
//! assert_eq!(theft.kind(), ErrorKind::Reused);
//! # Ok(())
//! # }
//! ```
//!
//! # The model
//!
//! - A login *issues* a **session** with three tokens: a *session token* for a cookie, a *refresh
//!   token*, and an *access token* (JWT) for calls that are checked without asking the store.
//! - A refresh *rotates* the refresh token: its **successor** is computed, not stored, so whoever
//!   presents one token gets one successor. A token that was replaced before ends the session.
//! - A session ends by **idle timeout**, **absolute lifetime**, revocation, reuse, or the
//!   **concurrent limit**. The clock is the store's.
//! - All sessions of a user are one hash in Redis; each change is one script, and it writes its
//!   audit event in the same step. No call but a login makes a session.
//! - Redis down means [`ErrorKind::Unavailable`]: answer 503, keep the cookie. Never a fallback.
//!
//! # Guarantees, and their limits
//!
//! | what | how much | test |
//! |---|---|---|
//! | round trips | authenticate 1 (a plain `HMGET`), issue 1, rotate 1, regenerate 1, revoke one or all 1, list 1, attributes 1; access token 0, forged token 0 | `each_operation_is_one_command_on_one_shard` |
//! | forging a token | 128-bit tag and 128-bit secret, of which only SHA-256 is stored | `a_forged_token_costs_no_command_and_changes_nothing` |
//! | parallel refreshes | up to 65 of one token within 10 s get the same successor; then refused, not revoked | `fifty_parallel_refreshes_get_one_successor_that_works`, `grace_beyond_its_count_is_refused_without_revoking` |
//! | replaced token, presented 10 s later, from another network or browser family, or two generations old | session revoked, one event, in the same step | `a_stolen_refresh_token_ends_the_session_with_exactly_one_event`, `a_token_two_generations_old_is_reuse_inside_the_grace_period_too` |
//! | thief in the same network with the same browser family within 10 s | gets the same successor; found out when the other one uses the replaced token after the grace period | |
//! | lost reply to a refresh | never theft within the grace period; without connection for longer the honest session is revoked: raise the grace up to 60 s | `a_lost_reply_is_never_taken_for_theft` |
//! | failover that lost up to 8 rotations | repaired, with an event; beyond that the token is refused | `a_token_ahead_of_the_store_repairs_it_up_to_a_distance` |
//! | failover that lost a revocation | the session lives on: revoke again | |
//! | concurrent limit | never exceeded, at any instant a reader sees; counted per `SECRET_KEY` while one is rotated | `parallel_logins_never_exceed_the_limit` |
//! | idle timeout | up to `max(60 s, timeout/30)` early, never late by more than an answer of Redis takes | `use_is_noted_and_an_idle_session_ends_by_the_servers_clock` |
//! | absolute lifetime | moved by nothing but a new authentication | `a_busy_session_ends_at_its_absolute_deadline` |
//! | revoked session | refused at once, and no write in flight brings it back | `a_sign_of_life_in_flight_never_brings_back_a_revoked_session` |
//! | its access token | refused within a second with `Revocations`; lives on for at most its 300 s without | `t23_a_revoked_session_is_refused_offline_within_a_second` |
//! | local cache | a session checked again costs 0 round trips; another process's change is pushed, and without proof of that, at most 1 s old, the store is asked | `a_session_checked_again_costs_no_command_until_it_changes`, `t51_a_cut_empties_the_cache` |
//! | clocks | ours may be set wrong; shards of a Cluster must agree, access tokens allow 5 s | `a_clock_that_is_set_wrong_does_not_matter_and_one_that_runs_ahead_counts` |
//! | events | at least once, with stable ids; what a dead process left, within 5 minutes of another one's work; 4096 wait in each of 1024 buckets, then events, never changes, are dropped and counted | `a_process_killed_between_claim_and_sink_has_an_heir`, `t52_with_the_outbox_full_sessions_work_and_memory_is_bounded` |
//! | Redis at `maxmemory`, `noeviction` | logins and attributes are refused; revocation, refresh and reuse detection go on | `a_full_server_refuses_logins_and_still_ends_sessions` |
//! | somebody writes to Redis | makes, lengthens and moves no session | `whoever_writes_to_redis_cannot_lengthen_move_or_make_a_session` |
//!
//! Whoever can write to Redis can end sessions and undo changes to a record; [`wire`] says exactly
//! what. They cannot make, lengthen, move or read one.
//!
//! # Configuration
//!
//! [`SessionConfig`] is the section `WATCHDOG_SESSION_*`; its fields say what they do.
//!
//! | variable | default |
//! |---|---|
//! | `WATCHDOG_SESSION_STORE` | `redis` when `WATCHDOG_REDIS_URL` is set, else `memory` |
//! | `WATCHDOG_SESSION_TIMEOUT` | 1800 s idle |
//! | `WATCHDOG_SESSION_MAX_LIFETIME` | 28800 s |
//! | `WATCHDOG_SESSION_ENFORCE_SAME_IP` | false |
//! | `WATCHDOG_SESSION_ENFORCE_SAME_AGENT` | true |
//! | `WATCHDOG_SESSION_REFRESH_TOKEN_ROTATION` | true |
//! | `WATCHDOG_SESSION_CONCURRENT_LIMIT` | 5 |
//! | `WATCHDOG_SESSION_CONCURRENT_POLICY` | `evict_oldest` |
//! | `WATCHDOG_SESSION_MISMATCH_ACTION` | `refuse` |
//! | `WATCHDOG_SESSION_TRUSTED_PROXIES` | none |
//! | `WATCHDOG_SESSION_GRACE` | 10 s |
//! | `WATCHDOG_SESSION_ACCESS_TOKEN_LIFETIME` | 300 s |
//! | `WATCHDOG_SESSION_ACCESS_TOKEN_KEY` | none: HS256 |
//! | `WATCHDOG_SESSION_LOCAL_CACHE` | 0: off |
//!
//! # Features
//!
//! - `redis` (default): [`RedisStore`], on standalone, Sentinel and Cluster.
//! - `axum`: cookies, extractors, guards and answers, in the module `web`.
//! - `testing`: the conformance suite every store runs.
//!
//! # What it does not do
//!
//! It checks no passwords and speaks no OAuth: it begins where you know who the user is. Tokens are
//! not bound to a key of the client (`DPoP`, RFC 9449): whoever copies one holds it.
//!
//! # Extending it
//!
//! A store for another engine implements [`SessionStore`], applies [`model`] inside a transaction,
//! and runs `session_store_tests!`. An audit log implements [`AuditSink`](watchdog_core::AuditSink).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod cache;
mod client;
mod config;
mod error;
mod event;
mod health;
pub mod marker;
pub mod model;
mod place;
mod principal;
mod proxies;
mod pump;
pub mod record;
#[cfg(feature = "redis")]
mod revocations;
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

pub use access::{AccessClaims, AccessVerifier};
pub use config::{
    AgentBinding, ForwardedHeader, IpBinding, LimitPolicy, MAX_ACCESS_TOKEN_LIFETIME,
    MAX_CONCURRENT_LIMIT, MAX_GRACE, MAX_LIFETIME, MismatchAction, SessionConfig, StoreKind,
};
pub use error::{Error, ErrorKind, Result};
pub use health::SessionHealth;
pub use place::{BUCKETS, Location, Place, SessionId};
pub use principal::{Principal, Role};
#[cfg(feature = "redis")]
pub use revocations::{Revocations, Standing};
pub use rotation::Verdict;
pub use session::{
    Credential, Issued, MAX_LABEL_BYTES, MAX_ROLE_BYTES, MAX_ROLES, MAX_USER_BYTES, Regeneration,
    Revocation, RevokeReason, Rotated, Session, SessionSummary, Subject,
};
pub use sessions::{Attributes, Builder, Changes, Sessions};
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{MemoryStore, SessionStore};
pub use token::{
    AccessToken, REFRESH_TOKEN_CHARS, RefreshParts, RefreshToken, SESSION_TOKEN_CHARS,
    SessionParts, SessionToken, TokenKeys,
};
/// From where a call comes: address and user agent.
pub use watchdog_core::audit::Client;
