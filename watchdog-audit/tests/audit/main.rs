//! The audit log through its public interface.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test states what it expects")]
#![expect(clippy::clone_on_ref_ptr, reason = "an Arc becomes a trait object where it is passed")]

mod archive;
mod archived;
mod bench;
mod conformance;
mod copy;
mod crash;
mod faulty;
mod hold;
mod kept;
mod lifecycle;
mod mutation;
mod query;
mod record;
mod redis;
mod resume;
mod rollout;
mod s3;
mod subject_keys;
