//! The crate from outside: background probing, endpoints, metrics.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

mod metrics;
mod probing;
mod router;
mod support;
