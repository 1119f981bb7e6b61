//! The `SecretSource` port: a place other than the environment that holds secrets.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::secret::Secret;

/// A place that holds secrets by variable name, such as Vault or AWS Secrets Manager.
///
/// [`Loader::load_with`](crate::config::Loader::load_with) asks it once at start for every secret of
/// the loaded sections that the process environment does not set, one call after the other. An
/// implementation bounds its own time. What it says in an error is shown to the operator: it never
/// holds a secret.
///
/// ```
/// use async_trait::async_trait;
/// use watchdog_core::config::{Loader, SecurityConfig};
/// use watchdog_core::{Result, Secret, SecretSource};
///
/// #[derive(Debug)]
/// struct Vault;
///
/// #[async_trait]
/// impl SecretSource for Vault {
///     fn name(&self) -> &str {
///         "vault"
///     }
///
///     async fn fetch(&self, variable: &str) -> Result<Option<Secret<String>>> {
///         Ok((variable == "WATCHDOG_JWT_SECRET").then(|| "thirty-two bytes from the vault.".into()))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), watchdog_core::config::ConfigError> {
/// let loader = Loader::from_vars([("WATCHDOG_LOG_LEVEL", "INFO")]);
/// let loaded = loader.load_with::<SecurityConfig>(&Vault).await?;
/// assert_eq!(loaded.origin("WATCHDOG_JWT_SECRET").unwrap().to_string(), "source:vault");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait SecretSource: fmt::Debug + Send + Sync {
    /// The name shown as the origin of a value: `vault`.
    fn name(&self) -> &str;

    /// The secret for a variable such as `WATCHDOG_DB_PASSWORD`, or `None` when the source holds
    /// none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the source does not answer,
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) when it denies access.
    async fn fetch(&self, variable: &str) -> Result<Option<Secret<String>>>;
}
