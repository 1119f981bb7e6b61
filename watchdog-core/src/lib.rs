//! Typed configuration, secrets, key ring and the ports of the Watchdog SDK.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod audit;
mod clock;
pub mod config;
mod error;
pub mod health;
mod keyring;
mod secret;
mod secret_source;
#[cfg(feature = "testing")]
pub mod testing;

pub use audit::AuditSink;
pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{Error, ErrorKind, Result};
pub use health::HealthCheck;
pub use keyring::{
    CipherKeys, KeyId, KeyRing, MIN_SECRET_BYTES, MacKeys, RootKeys, SEAL_OVERHEAD, TAG_BYTES,
    fill_random,
};
pub use secret::{REDACTED, Secret};
pub use secret_source::SecretSource;
