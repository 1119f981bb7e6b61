//! Throw-away servers and a fault proxy for tests (feature `testing`).
//!
//! Real servers, on free ports of the loopback interface, each with a directory of its own. None
//! of them outlives the process that started it, not even when that process is killed: see
//! [`process::ServerProcess`].
//!
//! A machine without a server leaves its tests out and says so, see [`require`]. With
//! `WD_TEST_REQUIRE=1` a missing server is a failure.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

pub mod certificate;
#[cfg(feature = "objects")]
pub mod objects;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
pub mod proxy;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "s3")]
pub mod s3;

/// Whether a test can run: `true` when `program` is installed.
///
/// Otherwise one line on the standard error stream names the test and what it needs, past the
/// capture of the test harness. [`test_name`] is usually what to give as `test`.
///
/// # Panics
///
/// When `program` is missing and the variable `WD_TEST_REQUIRE` is `1`.
#[expect(clippy::panic, reason = "a test that was required to run must fail when it cannot")]
pub fn require(program: &str, test: &str) -> bool {
    if process::is_installed(program) {
        return true;
    }
    if is_everything_required() {
        panic!("{test} needs {program}, which is not installed, and WD_TEST_REQUIRE is 1");
    }
    // One write, so that lines of parallel tests do not mix. The harness captures the print
    // macros, not the stream itself.
    let line = format!("left out: {test} (needs {program}, which is not installed)\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    false
}

/// The name of the running test: the harness names its threads after them.
pub fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
fn is_everything_required() -> bool {
    std::env::var_os("WD_TEST_REQUIRE").is_some_and(|value| value == "1")
}

/// Polls until `condition` holds, every 10 ms.
///
/// For what another process does in its own time; everything within this process has better ways
/// to wait.
///
/// # Panics
///
/// When the condition does not hold within `limit`; the message holds `what`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Like [`wait_until`], without blocking the thread, for conditions that await.
///
/// # Panics
///
/// When the condition does not hold within `limit`; the message holds `what`.
pub async fn eventually(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port of the loopback interface that nothing listens on.
///
/// Taken at random from 11000 to 20999, below the range from which systems take the ports of
/// outgoing connections: so a server that was stopped can start again on the same port. The port
/// 10000 above it is free as well; a node of a Redis Cluster needs both. Another process may take
/// the port before the server does: start the server again with another one then.
///
/// # Panics
///
/// When no such port can be found.
#[expect(clippy::expect_used, reason = "a machine without free ports cannot run tests")]
pub fn free_port() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};

    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (0..1_000_u32)
        .map(|attempt| {
            // Each RandomState has keys of its own; the remainder is below 10 000.
            11_000 + u16::try_from(RandomState::new().hash_one(attempt) % 10_000).unwrap_or(0)
        })
        .find(|&port| free(port) && free(port + 10_000))
        .expect("one of a thousand ports is free")
}
