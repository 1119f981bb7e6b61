//! Redis, PostgreSQL and object-store clients with explicit timeouts, typed keys and health checks.
//!
#![cfg_attr(feature = "objects", doc = "```")]
#![cfg_attr(not(feature = "objects"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> watchdog_storage::Result<()> {
//! use watchdog_core::HealthCheck as _;
//! use watchdog_core::health::Status;
//! use watchdog_storage::ErrorKind;
//! use watchdog_storage::objects::{Objects, Put};
//!
//! let objects = Objects::memory(); // or local(directory), or a bucket from the configuration
//! assert_eq!(objects.put_if_absent("reports/1.json", "{}".into()).await?, Put::Created);
//! assert_eq!(objects.put_if_absent("reports/1.json", "[]".into()).await?, Put::AlreadyExists);
//! assert_eq!(objects.get("reports/1.json").await?, "{}");
//!
//! let error = objects.get("reports/2.json").await.unwrap_err();
//! assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false));
//! assert_eq!(objects.health().check().await.status, Status::Pass);
//! # Ok(())
//! # }
//! ```
//!
//! # Model
//!
//! - One client per engine: `redis::Redis`, `postgres::Postgres`, `objects::Objects`. Each is made of
//!   its section of the configuration, clones cheaply, and knows its own health.
//! - Every call is bounded: in time, in how often it is tried, and in how many wait before it.
//! - One [`Error`] for all; its [`ErrorKind`] says who can do something about it, and
//!   [`Error::is_retryable`] whether waiting helps.
//! - No type of the crates behind the clients is part of the interface, but sqlx's connections, in
//!   which you run your own queries.
//! - Each client measures itself through the `metrics` facade: `watchdog_storage_<engine>_…`.
//!
//! # Guarantees and their limits
//!
//! | engine | guarantee | limit |
//! |---|---|---|
//! | Redis | a call ends within its timeout (1 s), all attempts included | a command whose reply is lost may run twice (`attempts = 1`: never) |
//! | | a broken connection, a failed-over Cluster or Sentinel is found again without a restart | 3.4 s without service measured, of which the servers take 2 to 3 s |
//! | | a call that was given up before it was sent is never sent | one that was sent may still run |
//! | Postgres | waiting calls are served in order of arrival, for 2 s at most | the server enforces the statement timeout |
//! | objects | a put is seen whole or not at all | content is held in memory, 256 MiB at most |
//!
//! Each client's module has the whole list, with the tests that hold it.
//!
//! # Configuration
//!
//! | section | type | variables | without it |
//! |---|---|---|---|
//! | `redis` | `redis::RedisConfig` | `WATCHDOG_REDIS_URL`, `_PASSWORD`, `_DB`, `_SSL`, … | no Redis |
//! | `db` | `postgres::DbConfig` | `WATCHDOG_DB_HOST`, `_NAME`, `_USER`, `_PASSWORD`, … | no Postgres |
//! | `storage` | `objects::StorageConfig` | `WATCHDOG_STORAGE_TYPE`, `WATCHDOG_S3_BUCKET`, … | a local directory |
//!
//! `watchdog_core::config` loads them and explains every field and mistake.
//!
//! # Features
//!
//! None is on by default. `redis`, `postgres`, `objects` (memory, local directory) and `s3` bring
//! one client each. `testing` brings throw-away servers that cannot outlive their test, and a proxy
//! that loses replies, delays, freezes and cuts.
//!
//! # What it does not do
//!
//! It is no query builder and no object mapper, it does not hide which engine is behind it, and it
//! never falls back to memory when a server is away. It runs no server.
//!
//! # How to extend it
//!
//! A conditional write is a `redis::Script` over keys of one hash tag; a query is sqlx on the
//! connection of `Postgres::begin`. A probe of your own implements
//! [`HealthCheck`](watchdog_core::HealthCheck).
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
#[cfg(feature = "objects")]
pub mod objects;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Error, ErrorKind, Result};

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../README.md")]
struct Readme;
