//! Erasing again after a backup of the vault was restored: the log tells who was erased.

use std::collections::BTreeSet;

use watchdog_core::Timestamp;
use watchdog_core::audit::Outcome;

use super::erase::{BEGUN, ERASED};
use crate::entry::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::personal::SubjectHandle;
use crate::query::{Order, Query};

/// What erasing again has come to.
#[derive(Debug, Default)]
struct Again {
    destroyed: u64,
    /// Subjects that a hold keeps.
    held: BTreeSet<SubjectHandle>,
    /// Objects that could tell of more.
    missing: u64,
}

impl AuditLog {
    /// Erases again whom the log says was erased since then: after a backup of the vault was
    /// restored, which brings destroyed keys back. Keys that were made after their subject was
    /// erased stay. Answers how many keys were destroyed.
    ///
    /// An erasure that was begun counts, whether or not the log tells how it ended: the process may
    /// have been killed, or its caller gone. `since` is the time of the backup, less the time it
    /// took and what clocks may differ by.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Held`] when subjects are under legal hold: every other is erased.
    /// [`ErrorKind::Corrupt`] when objects of the archive are gone that could tell of more. Else as
    /// [`erase`](Self::erase) and [`query`](Self::query). Calling again is right in each case.
    pub async fn erase_again(&self, since: Timestamp) -> Result<u64> {
        let mut again = Again::default();
        for action in [BEGUN, ERASED] {
            self.erase_all(Query::new().with_action(action).with_from(since), &mut again).await?;
        }
        let Again { destroyed, held, missing } = again;
        if !held.is_empty() {
            return Err(Error::new(
                ErrorKind::Held,
                format_args!(
                    "{} subjects are not erased again under legal hold; {destroyed} keys of others \
                     are destroyed",
                    held.len()
                ),
            ));
        }
        if missing > 0 {
            return Err(Error::corrupt(format_args!(
                "{missing} objects that may tell of erasures are not in the archive any more; \
                 {destroyed} keys are destroyed"
            )));
        }
        Ok(destroyed)
    }

    async fn erase_all(&self, query: Query, again: &mut Again) -> Result<()> {
        let keys = self.subject_keys()?;
        let mut query = query.with_order(Order::OldestFirst);
        loop {
            let page = self.query(&query).await?;
            again.missing = again.missing.max(page.objects_missing);
            let handles: Vec<_> = page.records.iter().filter_map(erased).collect();
            let held = self.held_among(handles.iter().map(|(handle, _)| handle)).await?;
            for (handle, before) in handles {
                if held.contains(&handle) {
                    again.held.insert(handle);
                } else {
                    again.destroyed += keys.erase_made_before(&handle, before).await?;
                }
            }
            match page.next {
                Some(next) => query = query.with_cursor(next),
                None => return Ok(()),
            }
        }
    }

    /// Those that must stay.
    #[cfg(feature = "objects")]
    async fn held_among(
        &self,
        handles: impl Iterator<Item = &SubjectHandle> + Send,
    ) -> Result<BTreeSet<SubjectHandle>> {
        let holds = self.known_holds().await?;
        let is_held = |handle: &&SubjectHandle| holds.0.iter().any(|hold| hold.keeps(handle));
        Ok(handles.filter(is_held).cloned().collect())
    }

    #[cfg(not(feature = "objects"))]
    async fn held_among(
        &self,
        _handles: impl Iterator<Item = &SubjectHandle> + Send,
    ) -> Result<BTreeSet<SubjectHandle>> {
        self.refuse_unread_holds().await.map(|()| BTreeSet::new())
    }
}

/// Whose keys an entry says are gone, and until when they were made.
fn erased(record: &Record) -> Option<(SubjectHandle, Timestamp)> {
    // What was denied is not undone by a backup; what failed had begun before if it had.
    let is_done = record.entry.action == BEGUN || record.entry.outcome == Outcome::Success;
    let handle = SubjectHandle::parse(&record.entry.resource.id).filter(|_| is_done)?;
    Some((handle, record.recorded_at))
}
