//! The spool of a log: whether there is one, and how it stands.

use std::sync::Arc;
#[cfg(feature = "objects")]
use std::sync::atomic::Ordering;
#[cfg(feature = "objects")]
use std::time::Duration;

use crate::config::{AuditConfig, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::log::adoption::stranger;
use crate::log::delivery::Delivery;
use crate::log::policy::has_spool;
use crate::log::shared::Shared;
use crate::spool::{Spool, SpoolFiles, SpoolPlace, SpoolStatus, Wanted};
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

/// Makes the spool of a new writer, where the log has one. Says where spools are, and which of those
/// that processes have left there are for another store; `None` when nothing is recorded.
///
/// # Errors
///
/// [`ErrorKind::Config`] when the durability needs a spool and the directory cannot be used, and
/// when it holds a spool that only another store can go on with.
pub(crate) async fn open(
    config: &AuditConfig,
    delivery: &Delivery,
    files: Arc<dyn SpoolFiles>,
    (shared, id): (&Shared, WriterId),
) -> Result<Option<(SpoolPlace, Vec<Spool>)>> {
    if !config.enabled {
        return Ok(None);
    }
    let store = &delivery.store;
    let place = SpoolPlace {
        directory: config.spool_directory.as_path().into(),
        max_bytes: config.spool_max_bytes,
        files,
        store: store.address().into(),
        partitions: store.partitions(),
    };
    let strangers = strangers(&place, delivery).await?;
    if has_spool(config.durability, store.name()) {
        create(config, &place, (shared, id)).await?;
    }
    Ok(Some((place, strangers)))
}

/// The spools that were left for another store; refuses those that this one cannot go on with.
async fn strangers(place: &SpoolPlace, delivery: &Delivery) -> Result<Vec<Spool>> {
    let spools = match Spool::abandoned(place, Wanted::Strangers).await {
        Ok((spools, _)) => spools,
        // The keeper looks again, and tells of it.
        Err(error) => {
            tracing::warn!(%error, "the directory of audit spools cannot be read");
            return Ok(Vec::new());
        }
    };
    for spool in &spools {
        let Some((first, _)) = spool.range().await else { continue };
        let writer = spool.writer();
        let delivery = delivery.adopting(writer, spool.origin().map(|origin| origin.partition));
        // Who does not answer now is asked again when the spool is delivered.
        let Ok(archived) = delivery.watermark.of(&writer).await else { continue };
        if archived + 1 >= first {
            continue;
        }
        let asked = delivery.store.skip(delivery.partition(), writer, 0).await;
        if asked.is_ok_and(|stored| stored + 1 < first) {
            return Err(stranger(spool, &delivery, first - 1));
        }
    }
    Ok(spools)
}

async fn create(
    config: &AuditConfig,
    place: &SpoolPlace,
    (shared, id): (&Shared, WriterId),
) -> Result<()> {
    let directory = config.spool_directory.display();
    match Spool::create(place, id).await {
        Ok(spool) => {
            shared.set_spool(Some(spool));
            Ok(())
        }
        Err(error) if config.durability == Durability::Spool => Err(Error::new(
            ErrorKind::Config,
            format_args!(
                "WATCHDOG_AUDIT_DURABILITY=spool needs a directory to write to, and {directory} is \
                 none: mount a volume there, name another one in WATCHDOG_AUDIT_SPOOL_DIRECTORY, or \
                 set WATCHDOG_AUDIT_DURABILITY=store"
            ),
        )
        .with_source(error)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| error.to_string());
            tracing::warn!(
                %directory, cause,
                "the audit log has no spool: while the store is down entries wait in memory; name \
                 a directory in WATCHDOG_AUDIT_SPOOL_DIRECTORY"
            );
            shared.set_spoolless(cause);
            Ok(())
        }
    }
}
