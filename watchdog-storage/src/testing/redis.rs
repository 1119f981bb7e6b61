//! Throw-away Redis servers.

mod cluster;
mod sentinel;
mod server;
mod wire;

use std::sync::OnceLock;

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;
pub use server::RedisServer;
pub use wire::{Control, Reply};

use super::{require, test_name};

/// The name of the program.
const PROGRAM: &str = "redis-server";

/// A server that all tests of this process share, or `None`, with a line that says so, where
/// Redis is not installed. Use keys of your own, and never flush or stop it.
///
/// # Panics
///
/// When the server does not start, and when it is missing and `WD_TEST_REQUIRE` is `1`.
pub fn shared() -> Option<&'static RedisServer> {
    static SHARED: OnceLock<RedisServer> = OnceLock::new();
    is_available().then(|| SHARED.get_or_init(RedisServer::start))
}

/// A Cluster that all tests of this process share, or `None`, with a line that says so, where
/// Redis is not installed. Use keys of your own, and never flush or stop it.
///
/// # Panics
///
/// When the Cluster does not start, and when it is missing and `WD_TEST_REQUIRE` is `1`.
pub fn shared_cluster() -> Option<&'static RedisCluster> {
    static SHARED: OnceLock<RedisCluster> = OnceLock::new();
    is_available().then(|| SHARED.get_or_init(RedisCluster::start))
}

/// Whether `redis-server` is installed; otherwise one line says which test is left out.
///
/// # Panics
///
/// When it is missing and `WD_TEST_REQUIRE` is `1`.
pub fn is_available() -> bool {
    require(PROGRAM, &test_name())
}
