//! The audit log through its public interface.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

mod archive;
mod bench;
mod conformance;
mod crash;
mod faulty;
mod mutation;
mod query;
mod record;
mod redis;
mod resume;
mod s3;
