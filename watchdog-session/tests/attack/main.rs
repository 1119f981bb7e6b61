//! Attacks on sessions, on a real Redis: each test carries the number that `docs/attack-tests.md`
//! lists it under.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests state what they expect")]

#[path = "../support/rig.rs"]
mod rig;

mod at_rest;
mod attributes;
mod availability;
mod crash;
mod ids;
mod limit;
mod lost;
mod races;
mod refreshes;
mod regeneration;
mod resharding;
mod theft;
mod time;
