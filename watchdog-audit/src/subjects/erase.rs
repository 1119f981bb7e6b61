//! Erasing a subject: its data key is destroyed, the entries stay.

use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

use crate::config::OnFull;
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::personal::{SubjectHandle, SubjectKeys};
use crate::receipt::Receipt;

/// The action of the entry that says a subject was erased.
pub(super) const ERASED: &str = "audit.subject_erased";

/// The action of the entry that is there before a key is destroyed: whatever becomes of the process
/// or its caller then, the log tells of it.
pub(super) const BEGUN: &str = "audit.subject_erasure_begun";

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
    /// Before anything is destroyed the entry `audit.subject_erasure_begun` is as durable as the log
    /// makes entries; without it nothing is. What this process has taken before the call is sealed
    /// under the key that goes, also what waits for a store that is down.
    ///
    /// Other processes drop the key within [`ERASED_WITHIN`](crate::subjects::ERASED_WITHIN); what
    /// they seal under it until then nobody can read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when personal fields are not sealed or their keys cannot be erased;
    /// [`ErrorKind::Held`] under legal hold, which is recorded as denied, and in a process without
    /// an archive once others have placed holds; as of the vault, then
    /// keys may be destroyed or not, and as of [`record`](Self::record), then they are. Calling
    /// again is right in each case.
    pub async fn erase(&self, subject: &Actor, by: Actor, reason: &str) -> Result<Erased> {
        let handles = self.subject_keys()?.handles(subject).await?;
        let handle = handles.first().map_or("", SubjectHandle::as_str);
        let resource = Resource::new("subject", handle);
        // The place in the log is taken before anything is destroyed.
        let place = self.begin(Category::Security, by.clone(), ERASED, resource.clone());
        let mut operation = place.await?;
        operation.detail("reason", reason);
        let now = self.inner().clock().now();
        let begun = Entry::new(Uuid::now_v7(), now, Category::Security, by, BEGUN, resource)
            .with_detail("reason", reason);
        match self.destroyed(subject, begun).await {
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

    async fn destroyed(&self, subject: &Actor, begun: Entry) -> Result<u64> {
        self.refuse_when_held(subject).await?;
        // What was taken before this entry is sealed before it, under the key that goes.
        if self.inner().is_enabled() {
            self.record_or(begun, OnFull::Wait).await?;
        }
        self.destroy(self.subject_keys()?, subject).await
    }

    /// Destroys the keys of a subject that no legal hold concerns. Whoever places a hold from here
    /// on waits for the end.
    #[cfg(feature = "objects")]
    async fn destroy(&self, keys: &dyn SubjectKeys, subject: &Actor) -> Result<u64> {
        use crate::hold::{Erasing, WITHIN};
        let Some(archive) = self.inner().archive() else {
            self.refuse_when_held(subject).await?;
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

    #[cfg(not(feature = "objects"))]
    async fn destroy(&self, keys: &dyn SubjectKeys, subject: &Actor) -> Result<u64> {
        self.refuse_when_held(subject).await?;
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

    #[cfg(not(feature = "objects"))]
    async fn refuse_when_held(&self, _subject: &Actor) -> Result<()> {
        self.refuse_unread_holds().await
    }

    /// Without an archive nobody can place a hold, and nobody can read those that others have
    /// placed: the store tells that there were some.
    pub(crate) async fn refuse_unread_holds(&self) -> Result<()> {
        let store = self.inner().store();
        for partition in 0..store.partitions() {
            if !store.partition(partition).await?.holds.is_nil() {
                return Err(Error::new(
                    ErrorKind::Held,
                    "legal holds were placed that a process without the archive cannot read: \
                     erase from one that has it",
                ));
            }
        }
        Ok(())
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
