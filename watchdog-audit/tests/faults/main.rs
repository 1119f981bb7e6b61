//! The audit log under faults: processes killed, servers gone, memory and disks full, clocks astray,
//! bytes made up.
//!
//! A load generator writes each entry it was given a receipt for into a ledger of its own. At the
//! end of every test the archive is read without the log's own query: each entry of the ledger
//! stands in it exactly once, and the log verifies. On Redis, every segment that has a life that
//! ends is compared line by line with the archive.
//!
//! `WD_TEST_LONG=1` runs ten times as many rounds and minutes instead of seconds.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

mod archive;
mod archivers;
mod bucket;
mod child;
mod clock;
mod cluster;
mod decode;
mod disk;
mod forge;
mod gate;
mod hostile;
mod killed;
mod ledger;
mod load;
mod memory;
mod place;
mod redis;
mod spool;
mod steps;

/// Whether the long form was asked for.
#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
fn is_long() -> bool {
    std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1")
}

/// A number below `bound`, another one each time.
fn random(bound: u64) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(bound) % bound
}
