//! The reference service from outside: a process, HTTP, real servers.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

mod faults;
mod running;
mod slice;
