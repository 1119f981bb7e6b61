//! Erasing a subject: its data key is destroyed, the entries stay.

use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Outcome, Resource};

use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::personal::{SubjectHandle, SubjectKeys};
use crate::query::{Order, Query};
use crate::receipt::Receipt;

/// The action of the entry that says a subject was erased.
const ERASED: &str = "audit.subject_erased";

/// What erasing a subject did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// Data keys that were destroyed; 0 when there was none, or none any more.
    pub keys: u64,
    /// Where the entry that says so stands.
    pub receipt: Receipt,
}

impl AuditLog {
    /// Destroys the data keys of a subject: actor id, client and details of all its entries become
    /// unreadable, in the store, in the spool, in the archive and in every copy at once. Nothing
    /// else of the log changes, so it verifies as before.
    ///
    /// The entry `audit.subject_erased` records it, by `by` and with `reason` in its details. It
    /// names the subject's pseudonym alone: keep the subject's name out of `reason`, and let
    /// somebody else than the subject be `by`. Later entries of the subject are sealed under a new
    /// key. Erasing again destroys that.
    ///
    /// Other processes drop the key within [`ERASED_WITHIN`](crate::subjects::ERASED_WITHIN); what
    /// they seal under it until then nobody can read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when personal fields are not sealed or their keys cannot be erased;
    /// [`ErrorKind::Held`] under legal hold, which is recorded as denied; as of the vault, then
    /// keys may be destroyed or not, and as of [`record`](Self::record), then they are. Calling
    /// again is right in each case.
    pub async fn erase(&self, subject: &Actor, by: Actor, reason: &str) -> Result<Erased> {
        let keys = self.subject_keys()?;
        let handles = keys.handles(subject).await?;
        let handle = handles.first().map_or("", SubjectHandle::as_str);
        // The place in the log is taken before anything is destroyed.
        let resource = Resource::new("subject", handle);
        let mut operation = self.begin(Category::Security, by, ERASED, resource).await?;
        operation.detail("reason", reason);
        match self.destroy(keys, subject).await {
            Ok(destroyed) => {
                operation.detail("keys", destroyed);
                Ok(Erased { keys: destroyed, receipt: operation.succeed().await? })
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::Held => operation.deny().await?,
                    _ => operation.fail().await?,
                };
                Err(error)
            }
        }
    }

    /// Erases again whom the log says was erased since then: after a backup of the vault was
    /// restored, which brings destroyed keys back. Keys that were made after their subject was
    /// erased stay. Answers how many keys were destroyed.
    ///
    /// `since` is the time of the backup, less the time it took and what clocks may differ by.
    ///
    /// # Errors
    ///
    /// As [`erase`](Self::erase) and [`query`](Self::query). Calling again is right in each case.
    pub async fn erase_again(&self, since: Timestamp) -> Result<u64> {
        let keys = self.subject_keys()?;
        let erased = Query::new().with_action(ERASED).with_order(Order::OldestFirst);
        let mut query = erased.with_from(since);
        let mut destroyed = 0;
        loop {
            let page = self.query(&query).await?;
            // What was denied or failed is not undone by a backup.
            let done = page.records.iter().filter(|r| r.entry.outcome == Outcome::Success);
            for record in done {
                let Some(handle) = SubjectHandle::parse(&record.entry.resource.id) else {
                    continue;
                };
                destroyed += keys.erase_made_before(&handle, record.recorded_at).await?;
            }
            match page.next {
                Some(next) => query = query.with_cursor(next),
                None => return Ok(destroyed),
            }
        }
    }

    /// Destroys the keys of a subject that no legal hold concerns. Whoever places a hold from here
    /// on waits for the end.
    #[cfg(feature = "objects")]
    async fn destroy(&self, keys: &dyn SubjectKeys, subject: &Actor) -> Result<u64> {
        use crate::hold::{Erasing, WITHIN};
        let Some(archive) = self.inner().archive() else {
            // Nobody can place a hold.
            return keys.erase(subject).await;
        };
        let notice = Erasing::begin(archive, self.inner().clock().now()).await?;
        let erasing = async {
            self.refuse_when_held(subject).await?;
            keys.erase(subject).await
        };
        let outcome = tokio::time::timeout(WITHIN, erasing).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the vault did not answer the erasure in time"))
        });
        match &outcome {
            // It may go on in the vault.
            Err(error) if error.is_retryable() => {}
            _ => notice.over().await,
        }
        outcome
    }

    /// Without an archive nobody can place a hold.
    #[cfg(not(feature = "objects"))]
    async fn destroy(&self, keys: &dyn SubjectKeys, subject: &Actor) -> Result<u64> {
        keys.erase(subject).await
    }

    /// Legal hold goes before erasure.
    #[cfg(feature = "objects")]
    async fn refuse_when_held(&self, subject: &Actor) -> Result<()> {
        let holds = self.holds_of(subject).await?;
        if holds.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = holds.iter().map(|hold| hold.id.as_str()).collect();
        Err(Error::new(
            ErrorKind::Held,
            format_args!("the subject cannot be erased under legal hold: {}", ids.join(", ")),
        ))
    }

    pub(crate) fn subject_keys(&self) -> Result<&dyn SubjectKeys> {
        self.inner().keys().ok_or_else(|| {
            Error::new(
                ErrorKind::Misuse,
                "personal fields are not sealed, so that there are no keys: set \
                 WATCHDOG_AUDIT_ENCRYPTION_ENABLED=true",
            )
        })
    }
}
