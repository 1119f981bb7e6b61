//! Placing and releasing holds.

use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use super::{HOLD_RESOURCE, LegalHold, PLACED, RELEASED, erasing, objects};
use crate::error::Result;
use crate::log::AuditLog;

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
    /// [`ErrorKind::Misuse`] without an archive, for an id that was used for another hold, or for
    /// one outside the rules; [`ErrorKind::TooLarge`] for a reason over 1024 bytes;
    /// [`ErrorKind::Busy`] when an erasure is under way that does not end within ten seconds, or one
    /// broke off within the last ten minutes: the hold stands, and whether that erasure came first
    /// is not known. Else as of store and bucket. Calling again resumes.
    pub async fn hold(&self, hold: LegalHold, by: Actor) -> Result<()> {
        hold.check()?;
        let inner = self.inner();
        let archiver = self.archiver()?;
        let now = inner.clock().now();
        objects::place(archiver.archive(), inner.keys(), &hold, now).await?;
        let change = Uuid::now_v7();
        for partition in 0..inner.store().partitions() {
            inner.store().announce_holds(partition, change).await?;
        }
        archiver.suspend().await?;
        erasing::wait(archiver.archive(), now).await?;
        // Else the bucket goes on removing what is held.
        self.tend_lifecycle().await?;
        let category = hold.category.map(Category::as_str);
        let entry = self
            .hold_entry(by, PLACED, &hold.id)
            .with_detail("reason", hold.reason)
            .with_detail("category", category);
        let entry = match hold.subject {
            Some(subject) => {
                entry.with_detail("subject_type", subject.kind).with_detail("subject", subject.id)
            }
            None => entry,
        };
        self.record(entry).await.map(drop)
    }

    /// Releases a legal hold: the next run of the archiver gives the segments it kept the life they
    /// would have had, and those whose time is over go at once.
    ///
    /// The release is an object of the bucket of its own, and an entry `audit.hold_released`: the
    /// hold's object stays. Releasing it again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without an archive or when there is no such hold, else as of bucket
    /// and store. Calling again resumes.
    pub async fn release_hold(&self, id: &str, by: Actor) -> Result<()> {
        let archiver = self.archiver()?;
        objects::release(archiver.archive(), id, self.inner().clock().now()).await?;
        self.tend_lifecycle().await?;
        self.record(self.hold_entry(by, RELEASED, id)).await.map(drop)
    }

    /// The legal holds in force, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without an archive, else as of the bucket.
    pub async fn holds(&self) -> Result<Vec<LegalHold>> {
        let archive = self.archiver()?.archive();
        let holds = objects::in_force(archive, self.inner().keys()).await?;
        Ok(holds.0.into_iter().map(|hold| hold.terms).collect())
    }

    /// The legal holds that forbid erasing a subject: those over it, and those that cover entries
    /// of everybody. None without an archive, where no hold can be placed.
    ///
    /// # Errors
    ///
    /// As of the bucket and of the vault.
    pub async fn holds_of(&self, subject: &Actor) -> Result<Vec<LegalHold>> {
        let inner = self.inner();
        let Some(archive) = inner.archive() else { return Ok(Vec::new()) };
        let handles = match inner.keys() {
            Some(keys) => keys.handles(subject).await?,
            None => Vec::new(),
        };
        let holds = objects::in_force(archive, inner.keys()).await?.0.into_iter();
        let concerning = holds.filter(|hold| hold.concerns(subject, &handles));
        Ok(concerning.map(|hold| hold.terms).collect())
    }

    fn hold_entry(&self, by: Actor, action: &str, id: &str) -> Entry {
        let now = self.inner().clock().now();
        let resource = Resource::new(HOLD_RESOURCE, id);
        Entry::new(Uuid::now_v7(), now, Category::Security, by, action, resource)
            .with_outcome(Outcome::Success)
    }
}
