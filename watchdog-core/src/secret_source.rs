//! The `SecretSource` port: a place other than the environment that holds secrets.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::secret::Secret;

/// A place that holds secrets by variable name, such as Vault or AWS Secrets Manager.
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
