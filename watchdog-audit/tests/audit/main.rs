//! The audit log through its public interface.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test states what it expects")]
#![expect(clippy::clone_on_ref_ptr, reason = "an Arc becomes a trait object where it is passed")]

mod archive;
mod archived;
mod archiving;
mod bench;
mod conformance;
mod copy;
mod crash;
mod erase;
mod erase_race;
mod erasure;
mod export;
mod faulty;
mod guarded;
mod hold;
mod kept;
mod lifecycle;
mod mended;
mod model;
mod mutation;
mod poison;
mod postgres_vault;
mod proof;
mod query;
mod reader;
mod record;
mod redis;
mod restore;
mod resume;
mod rewrap;
mod rollout;
mod rotation;
mod s3;
mod soak;
mod spool;
mod spool_crash;
mod spool_disk;
mod spool_redis;
mod subject_keys;
mod tampered;
mod vault;
mod web;
