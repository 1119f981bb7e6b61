//! Nine different mistakes in one environment, and the nine lines of help they give.
//!
//! `cargo run --example config_errors`

use watchdog_audit::AuditConfig;
use watchdog_core::config::{AppConfig, ConfigError, Loaded, Loader, SecurityConfig};
use watchdog_session::SessionConfig;
use watchdog_storage::postgres::DbConfig;

/// Sections of four crates, loaded in one go.
type Sections = (AppConfig, SecurityConfig, DbConfig, SessionConfig, AuditConfig);

/// An environment as it is found on bad days.
pub(crate) const MISTAKES: [(&str, &str); 16] = [
    ("WATCHDOG_ENV", "production"),
    // 1. WATCHDOG_SECRET_KEY is missing.
    // 2. Nobody replaced the placeholder.
    ("WATCHDOG_ENCRYPTION_KEY", "${ENCRYPTION_KEY}"),
    // 3. The file is not there.
    ("WATCHDOG_JWT_SECRET_FILE", "/nonexistent/jwt-secret"),
    // 4. Unsafe in production.
    ("WATCHDOG_AUTH_COOKIE_SECURE", "false"),
    ("WATCHDOG_DB_HOST", "db.internal"),
    ("WATCHDOG_DB_NAME", "shop"),
    ("WATCHDOG_DB_USER", "shop"),
    // 5. Not a port.
    ("WATCHDOG_DB_PORT", "70000"),
    // 6. Not a number.
    ("WATCHDOG_DB_POOL_SIZE", "five"),
    // 7. Which of the two?
    ("WATCHDOG_DB_PASSWORD", "hunter2"),
    ("WATCHDOG_DB_PASSWORD_FILE", "/run/secrets/db"),
    // 8. Misspelt.
    ("WATCHDOG_SESION_TIMEOUT", "30min"),
    // 9. One quantity, stated twice, in two ways.
    ("WATCHDOG_AUDIT_RETENTION_DAYS", "90"),
    ("WATCHDOG_AUDIT_LOG_TTL_SECONDS", "86400"),
    ("WATCHDOG_REDIS_URL", "rediss://cache.internal"),
    ("PATH", "/usr/bin"),
];

/// A service calls [`Loader::from_env`] instead.
pub(crate) fn load() -> Result<Loaded<Sections>, ConfigError> {
    Loader::from_vars(MISTAKES).load()
}

#[expect(clippy::print_stdout, reason = "the output is what the example is about")]
fn main() {
    match load() {
        Ok(loaded) => println!("nothing wrong: {loaded:#?}"),
        Err(error) => {
            println!("{error}\n");
            println!("The same for programs:\n{:#}", error.to_json());
        }
    }
}
