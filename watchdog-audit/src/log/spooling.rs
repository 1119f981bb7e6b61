//! The spool of a log: whether there is one, and how it stands.

use std::sync::Arc;
#[cfg(feature = "objects")]
use std::sync::atomic::Ordering;
#[cfg(feature = "objects")]
use std::time::Duration;

use crate::config::{AuditConfig, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::log::policy::has_spool;
use crate::log::shared::Shared;
use crate::spool::{Spool, SpoolFiles, SpoolPlace, SpoolStatus};
use crate::writer_id::WriterId;

impl AuditLog {
    /// How the spool stands; `None` where there is none: with the embedded store, unless
    /// [`Durability::Spool`](crate::Durability::Spool) asks for one, and where the directory cannot
    /// be used.
    pub fn spool(&self) -> Option<SpoolStatus> {
        self.inner.shared.spool_status(self.inner.clock.now())
    }

    /// Waits while the store takes what the spool has acknowledged, up to ten seconds.
    #[cfg(feature = "objects")]
    pub(crate) async fn settle(&self) {
        let shared = &self.inner.shared;
        let is_draining =
            || shared.unsent.load(Ordering::Relaxed) > 0 && shared.failing_since().is_none();
        for _ in 0..1000 {
            if !is_draining() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Makes the spool of a new writer, and says where further ones go.
///
/// # Errors
///
/// [`ErrorKind::Config`] when the durability needs a spool and the directory cannot be used.
pub(crate) async fn open(
    config: &AuditConfig,
    store: &str,
    files: Arc<dyn SpoolFiles>,
    (shared, id): (&Shared, WriterId),
) -> Result<Option<SpoolPlace>> {
    if !config.enabled || !has_spool(config.durability, store) {
        return Ok(None);
    }
    let directory = config.spool_directory.as_path();
    let place =
        SpoolPlace { directory: directory.into(), max_bytes: config.spool_max_bytes, files };
    match Spool::create(&place, id).await {
        Ok(spool) => {
            shared.set_spool(Some(spool));
            Ok(Some(place))
        }
        Err(error) if config.durability == Durability::Spool => Err(Error::new(
            ErrorKind::Config,
            format_args!(
                "WATCHDOG_AUDIT_DURABILITY=spool needs a directory to write to, and {} is none: \
                 mount a volume there, name another one in WATCHDOG_AUDIT_SPOOL_DIRECTORY, or set \
                 WATCHDOG_AUDIT_DURABILITY=store",
                directory.display()
            ),
        )
        .with_source(error)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| error.to_string());
            tracing::warn!(
                directory = %directory.display(), cause,
                "the audit log has no spool: while the store is down entries wait in memory; name \
                 a directory in WATCHDOG_AUDIT_SPOOL_DIRECTORY"
            );
            shared.set_spoolless(cause);
            Ok(None)
        }
    }
}
