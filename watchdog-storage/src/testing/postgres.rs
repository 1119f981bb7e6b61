//! Throw-away PostgreSQL servers.
//!
//! PostgreSQL refuses to run as root: there, the servers run as the user `postgres`. They keep
//! nothing when the machine stops (`fsync=off`).

mod certificates;
mod cluster;
mod server;

use std::sync::OnceLock;

pub use certificates::Certificates;
pub use server::{APP_PASSWORD, APP_USER, PostgresServer};

use super::{require, test_name};

/// A server that all tests of this process share, or `None`, with a line that says so, where
/// PostgreSQL is not installed. Take a database of your own with
/// [`create_database`](PostgresServer::create_database), and never stop or pause it.
///
/// # Panics
///
/// When the server does not start, and when it is missing and `WD_TEST_REQUIRE` is `1`.
pub fn shared() -> Option<&'static PostgresServer> {
    static SHARED: OnceLock<PostgresServer> = OnceLock::new();
    is_available().then(|| SHARED.get_or_init(PostgresServer::start))
}

/// Whether PostgreSQL is installed; otherwise one line says which test is left out.
///
/// # Panics
///
/// When it is missing and `WD_TEST_REQUIRE` is `1`.
pub fn is_available() -> bool {
    require(&cluster::program("postgres"), &test_name())
}
