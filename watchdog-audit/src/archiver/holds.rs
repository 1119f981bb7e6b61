//! The archiver under legal holds: which segments get no life, lose it, or get it back.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;
use watchdog_core::audit::Category;

use super::Archiver;
use crate::chain::Chain;
use crate::error::{ErrorKind, Result};
use crate::hold::{self, Coverage, Holds};
use crate::live;
use crate::segment::{Resuming, SegmentId};

/// The holds a run knows, and the change of each partition it knows them after.
#[derive(Debug, Default)]
pub(super) struct Watch {
    changes: Vec<Uuid>,
    pub(super) holds: Holds,
    /// Segments that passed the gate and that none of them covers.
    pub(super) free: Vec<SegmentId>,
}

impl Watch {
    pub(super) fn change(&self, partition: u16) -> Uuid {
        self.changes.get(usize::from(partition)).copied().unwrap_or_default()
    }
}

/// Segments that were read and that no hold covers, so that they are read once.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// The holds they were read for.
    holds: Holds,
    free: HashSet<SegmentId>,
}

impl Archiver {
    /// Reads the holds. The changes come first: whoever places a hold writes it first, so a gate
    /// that sees the change this run has read can rely on the holds read after it.
    pub(super) async fn watch(&self) -> Result<Watch> {
        let mut changes = Vec::new();
        for partition in 0..self.store.partitions() {
            changes.push(self.store.partition(partition).await?.holds);
        }
        let holds = hold::in_force(&self.archive, self.keys.as_deref()).await?;
        Ok(Watch { changes, holds, free: Vec::new() })
    }

    /// Takes the life of every archived segment that a hold covers or may cover.
    pub(crate) async fn suspend(&self) -> Result<()> {
        let holds = hold::in_force(&self.archive, self.keys.as_deref()).await?;
        let chain = self.archive.refreshed().await?;
        self.suspend_covered(&holds, &chain, &Examined::default()).await
    }

    /// Brings the lives of archived segments in line with the holds.
    pub(super) async fn settle(&self, watch: &Watch, examined: &mut Examined) -> Result<()> {
        let holds = &watch.holds;
        if examined.holds != *holds {
            *examined = Examined { holds: holds.clone(), free: HashSet::new() };
        }
        examined.free.extend(&watch.free);
        let chain = self.archive.refreshed().await?;
        if !holds.is_empty() {
            self.suspend_covered(holds, &chain, examined).await?;
        }
        let categories = categories(&chain);
        for partition in 0..self.store.partitions() {
            let unarchived = self.store.partition(partition).await?.unarchived;
            for number in self.store.held(partition).await? {
                let segment = SegmentId { partition, number };
                if self.is_covered(segment, unarchived, holds, &categories, examined).await? {
                    continue;
                }
                let change = watch.change(partition);
                match self.store.resume_expiry(segment, self.ttl, change).await? {
                    Resuming::Resumed { .. } | Resuming::NotHeld => {}
                    // The next run knows the new holds.
                    Resuming::HoldsChanged => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Also in a store that was rolled back to before a hold: this runs as long as one is in force.
    async fn suspend_covered(
        &self,
        holds: &Holds,
        chain: &Chain,
        examined: &Examined,
    ) -> Result<()> {
        let categories = categories(chain);
        for partition in 0..self.store.partitions() {
            let held = self.store.partition(partition).await?;
            let candidates: Vec<u64> = (1..held.open)
                .filter(|number| {
                    let segment = SegmentId { partition, number: *number };
                    let found = known(&categories, segment);
                    holds.cover_some(found.as_deref()) != Coverage::Free
                        && !examined.free.contains(&segment)
                })
                .collect();
            self.store.suspend_expiry(partition, &candidates).await?;
        }
        Ok(())
    }

    async fn is_covered(
        &self,
        segment: SegmentId,
        unarchived: u64,
        holds: &Holds,
        categories: &Contents,
        examined: &mut Examined,
    ) -> Result<bool> {
        // They expire in order, and readers rely on it.
        if segment.number <= unarchived {
            return Ok(!holds.is_empty());
        }
        match holds.cover_some(known(categories, segment).as_deref()) {
            Coverage::Free => return Ok(false),
            Coverage::Covered => return Ok(true),
            Coverage::Unknown if examined.free.contains(&segment) => return Ok(false),
            Coverage::Unknown => {}
        }
        let mut is_covered = false;
        let read = live::read(self.store.as_ref(), segment, |_, frame| {
            is_covered = is_covered || holds.cover([frame]);
        });
        match read.await {
            Ok(()) => {}
            // What cannot be read is kept.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(true),
            Err(error) => return Err(error),
        }
        self.store.lease(&self.holder, super::LEASE).await?;
        if !is_covered {
            examined.free.insert(segment);
        }
        Ok(is_covered)
    }
}

/// The categories of the entries of a segment, `None` where the chain does not tell all of them.
type Contents = HashMap<SegmentId, Option<BTreeSet<Category>>>;

fn categories(chain: &Chain) -> Contents {
    let mut contents = Contents::new();
    for manifest in chain.manifests() {
        let found = contents.entry(manifest.segment).or_insert_with(|| Some(BTreeSet::new()));
        if manifest.repeated > 0 || manifest.unreadable.is_some() {
            *found = None;
        } else if let Some(found) = found {
            found.extend(manifest.objects.iter().map(|object| object.category));
        }
    }
    contents
}

fn known(contents: &Contents, segment: SegmentId) -> Option<Vec<Category>> {
    Some(contents.get(&segment)?.as_ref()?.iter().copied().collect())
}
