//! The archiver under legal holds: which segments get no life, lose it, or get it back.

use std::collections::HashMap;

use uuid::Uuid;

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

/// Segments a run reads at most to tell whether a hold covers them; the others are kept until a later
/// run.
const READ_AT_ONCE: usize = 64;

/// Segments that were read, and whether a hold covers them: each is read once.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// The holds they were read for.
    holds: Holds,
    covered: HashMap<SegmentId, bool>,
}

impl Examined {
    fn is_free(&self, segment: SegmentId) -> bool {
        self.covered.get(&segment) == Some(&false)
    }
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
            *examined = Examined { holds: holds.clone(), covered: HashMap::new() };
        }
        examined.covered.extend(watch.free.iter().map(|segment| (*segment, false)));
        let chain = self.archive.refreshed().await?;
        if !holds.is_empty() {
            self.suspend_covered(holds, &chain, examined).await?;
        }
        let contents = contents(&chain, holds);
        let mut reads = READ_AT_ONCE;
        for partition in 0..self.store.partitions() {
            let unarchived = self.store.partition(partition).await?.unarchived;
            for number in self.store.held(partition).await? {
                let segment = SegmentId { partition, number };
                // They expire in order, and readers rely on it.
                let is_covered = match known(&contents, segment, holds) {
                    _ if segment.number <= unarchived => !holds.is_empty(),
                    Coverage::Free => false,
                    Coverage::Covered => true,
                    Coverage::Unknown => match examined.covered.get(&segment) {
                        Some(is_covered) => *is_covered,
                        None if reads == 0 => true,
                        None => {
                            reads -= 1;
                            let is_covered = self.is_covered(segment, holds).await?;
                            examined.covered.insert(segment, is_covered);
                            is_covered
                        }
                    },
                };
                if is_covered {
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
        let contents = contents(chain, holds);
        for partition in 0..self.store.partitions() {
            let held = self.store.partition(partition).await?;
            let candidates: Vec<u64> = (1..held.open)
                .filter(|number| {
                    let segment = SegmentId { partition, number: *number };
                    known(&contents, segment, holds) != Coverage::Free && !examined.is_free(segment)
                })
                .collect();
            self.store.suspend_expiry(partition, &candidates).await?;
        }
        Ok(())
    }

    /// Reads a segment to tell whether a hold covers an entry of it.
    async fn is_covered(&self, segment: SegmentId, holds: &Holds) -> Result<bool> {
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
        Ok(is_covered)
    }
}

/// Whether the holds cover an entry of a segment, `None` where the chain does not tell all of it.
type Contents = HashMap<SegmentId, Option<Coverage>>;

fn contents(chain: &Chain, holds: &Holds) -> Contents {
    let mut contents = Contents::new();
    for manifest in chain.manifests() {
        let found = contents.entry(manifest.segment).or_insert(Some(Coverage::Free));
        if manifest.repeated > 0 || manifest.unreadable.is_some() {
            *found = None;
        } else if let Some(found) = found {
            let each = manifest.objects.iter().map(|object| holds.cover_object(object));
            *found = each.fold(*found, Coverage::max);
        }
    }
    contents
}

fn known(contents: &Contents, segment: SegmentId, holds: &Holds) -> Coverage {
    contents.get(&segment).copied().flatten().unwrap_or_else(|| holds.cover_unknown())
}
