//! Redis, PostgreSQL and object-store clients with explicit timeouts, typed keys and health checks.
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
