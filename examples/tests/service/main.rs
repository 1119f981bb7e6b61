//! The quickstart and the reference service from outside: processes, HTTP, real servers.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

mod abuse;
mod examples;
mod faults;
mod keys;
mod permissions;
mod quickstart;
mod running;
mod servers;
mod sessions;
mod slice;
mod trail;
