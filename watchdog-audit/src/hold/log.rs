//! Placing and releasing holds.

use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Resource};

use super::{HOLD_RESOURCE, Holds, LegalHold, PLACED, RELEASED, erasing, objects};
use crate::error::Result;
use crate::log::AuditLog;
use crate::operation::Operation;
use crate::personal::SubjectHandle;

impl AuditLog {
    /// Places a legal hold: when this has returned, no segment of the store with an entry it covers
    /// has a life that ends, and no subject it concerns can be erased. An erasure that was begun
    /// before is waited for: it has ended, or has been refused.
    ///
    /// In the store a hold keeps whole segments: neighbours of a covered entry stay as well. A
    /// segment that was archived before may be kept until the next run of the archiver finds that
    /// it holds no entry of the subject. In the bucket a hold keeps whole categories: the plan of
    /// [`lifecycle_plan`](Self::lifecycle_plan) leaves their expiry out. With `LIFECYCLE_APPLY` it
    /// is applied at once, else the log tells as an error which rule still removes what is held,
    /// and [`check_lifecycle`](Self::check_lifecycle) names it.
    ///
    /// The hold is an object of the bucket signed by the log's key, and an entry
    /// `audit.hold_placed` of the category `security`. Placing the same hold again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, for an id that was used
    /// for another hold, or for one outside the rules;
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) for a reason over 1024 bytes;
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) when an erasure is under way that does not end
    /// within ten seconds, or one broke off within the last ten minutes: the hold stands, and
    /// whether that erasure came first is not known. As of [`begin`](Self::begin), then nothing is
    /// held; else as of store and bucket. Calling again resumes.
    pub async fn hold(&self, hold: LegalHold, by: Actor) -> Result<()> {
        hold.check()?;
        let mut operation = self.begin_hold(by, PLACED, &hold.id).await?;
        let placed = self.placed(&hold, &mut operation).await;
        ended(operation, placed).await
    }

    async fn placed(&self, hold: &LegalHold, operation: &mut Operation) -> Result<()> {
        let inner = self.inner();
        operation.detail("reason", hold.reason.as_str());
        operation.detail("category", hold.category.map(Category::as_str));
        if let Some(subject) = &hold.subject {
            operation.detail("subject_type", subject.kind.as_str());
            // The entry outlives the erasure of its subject, so it has no name where there is
            // another word.
            let handles = match inner.keys() {
                Some(keys) => keys.handles(subject).await?,
                None => Vec::new(),
            };
            let name = handles.first().map_or(subject.id.as_str(), SubjectHandle::as_str);
            operation.detail("subject", name);
        }
        let archiver = self.archiver()?;
        let now = inner.clock().now();
        objects::place(archiver.archive(), inner.keys(), hold, now).await?;
        let change = Uuid::now_v7();
        for partition in 0..inner.store().partitions() {
            inner.store().announce_holds(partition, change).await?;
        }
        archiver.suspend().await?;
        erasing::wait(archiver.archive(), now).await?;
        // Else the bucket goes on removing what is held.
        self.tend_lifecycle().await
    }

    /// Releases a legal hold: the next run of the archiver gives the segments it kept the life they
    /// would have had, and those whose time is over go at once.
    ///
    /// The release is an object of the bucket of its own, and an entry `audit.hold_released`: the
    /// hold's object stays. Releasing it again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive or when there is no such
    /// hold; as of [`begin`](Self::begin), then nothing is released; else as of bucket and store.
    /// Calling again resumes.
    pub async fn release_hold(&self, id: &str, by: Actor) -> Result<()> {
        let operation = self.begin_hold(by, RELEASED, id).await?;
        let released = self.released(id).await;
        ended(operation, released).await
    }

    async fn released(&self, id: &str) -> Result<()> {
        let archive = self.archiver()?.archive();
        objects::release(archive, id, self.inner().clock().now()).await?;
        self.tend_lifecycle().await
    }

    /// The legal holds in force, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, else as of the bucket.
    pub async fn holds(&self) -> Result<Vec<LegalHold>> {
        self.archiver()?;
        Ok(self.known_holds().await?.0.into_iter().map(|hold| hold.terms).collect())
    }

    /// The legal holds that forbid erasing a subject: those over it, those that cover entries of
    /// everybody, and those over somebody of its kind whose name cannot be read any more. None
    /// without an archive, where no hold can be placed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Held`](crate::ErrorKind::Held) without an archive when others that have it have
    /// placed holds; else as of bucket, store and subject keys.
    pub async fn holds_of(&self, subject: &Actor) -> Result<Vec<LegalHold>> {
        let handles = match self.inner().keys() {
            Some(keys) => keys.handles(subject).await?,
            None => Vec::new(),
        };
        let holds = self.known_holds().await?.0.into_iter();
        Ok(holds.filter(|hold| hold.concerns(subject, &handles)).map(|hold| hold.terms).collect())
    }

    pub(crate) async fn known_holds(&self) -> Result<Holds> {
        match self.inner().archive() {
            Some(archive) => objects::in_force(archive, self.inner().keys()).await,
            None => self.refuse_unread_holds().await.map(|()| Holds::default()),
        }
    }

    /// Whoever changes a hold and goes away leaves an entry with the outcome `unknown`.
    async fn begin_hold(&self, by: Actor, action: &str, id: &str) -> Result<Operation> {
        self.archiver()?;
        self.begin(Category::Security, by, action, Resource::new(HOLD_RESOURCE, id)).await
    }
}

async fn ended(operation: Operation, outcome: Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => operation.succeed().await.map(drop),
        Err(error) => {
            if let Err(unrecorded) = operation.fail().await {
                tracing::error!(error = %unrecorded, "a failed change of a hold is not recorded");
            }
            Err(error)
        }
    }
}
