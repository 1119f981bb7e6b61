//! The chain of manifests, as a fold without I/O.

use std::collections::HashMap;
use std::fmt;

use crate::manifest::{Manifest, Unsound, reference};
use crate::segment::{ManifestRef, SegmentId};
use crate::signing::Signer;
use crate::writer_id::WriterId;

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// A manifest of the chain is not in the bucket.
    MissingManifest,
    /// A manifest is not one, or not the one its place asks for.
    AlteredManifest,
    /// A manifest is signed by a key that is not accepted.
    UnknownKey,
    /// A manifest's signature is not that of its key.
    WrongSignature,
    /// A manifest does not continue the one before it.
    BrokenChain,
    /// The chain ends before a manifest the store has seen.
    TruncatedChain,
    /// An object of the archive is not in the bucket.
    MissingObject,
    /// An object's bytes are not those that were archived.
    AlteredObject,
    /// Entries were taken out of an object.
    EntriesDropped,
    /// Entries were put into an object.
    EntriesInserted,
    /// Entries of an object stand in another order.
    EntriesReordered,
    /// A number is missing in a writer's sequence, or stands twice.
    SequenceGap,
    /// An object stands where the archive's do, and is not one of them.
    UnknownObject,
    /// A segment is neither archived nor in the store.
    MissingSegment,
    /// What waits in the store for its archive is not what was written.
    AlteredSegment,
}

/// The first thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// Where: an object of the bucket, or a segment of the store.
    pub place: String,
    /// What was found, in words.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.kind, self.place, self.detail)
    }
}

impl Fault {
    pub(crate) fn new(
        kind: FaultKind,
        place: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, place: place.into(), detail: detail.into() }
    }
}

/// Everything the manifests so far say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    head: Option<ManifestRef>,
    epoch: u64,
    manifests: Vec<Manifest>,
    /// Last archived number of each writer.
    high_water: HashMap<WriterId, u64>,
    /// Of each partition, the last segment that was sealed before it was archived.
    unarchived: HashMap<u16, u64>,
    /// The newest manifest that covers a segment.
    segments: HashMap<SegmentId, ManifestRef>,
}

impl Chain {
    pub(crate) fn head(&self) -> Option<&ManifestRef> {
        self.head.as_ref()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The number the next manifest has.
    pub(crate) fn next(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.number) + 1
    }

    /// The last archived number of a writer, 0 before its first.
    pub(crate) fn high_water(&self, writer: &WriterId) -> u64 {
        self.high_water.get(writer).copied().unwrap_or(0)
    }

    pub(crate) fn high_waters(&self) -> impl Iterator<Item = (&WriterId, &u64)> {
        self.high_water.iter()
    }

    /// The manifest with a number, by its content.
    pub(crate) fn reference(&self, number: u64) -> Option<ManifestRef> {
        let head = self.head.as_ref()?;
        if head.number == number {
            return Some(head.clone());
        }
        // Each manifest names the content of the one before.
        let next = self.manifests.get(usize::try_from(number).ok()?)?;
        (number > 0).then(|| ManifestRef { number, sha256: next.previous.clone() })
    }

    /// The last segment of a partition that was sealed before it was archived, `None` while no
    /// manifest tells.
    pub(crate) fn unarchived(&self, partition: u16) -> Option<u64> {
        self.unarchived.get(&partition).copied()
    }

    pub(crate) fn covering(&self, segment: SegmentId) -> Option<&ManifestRef> {
        self.segments.get(&segment)
    }

    /// Adds the object found under `key`, which is to be the next manifest.
    pub(crate) fn extend(
        &mut self,
        key: &str,
        object: &[u8],
        signer: &Signer,
    ) -> Result<&Manifest, Fault> {
        let fault = |kind, detail: &str| Fault::new(kind, key, detail);
        let manifest = Manifest::decode(object, signer).map_err(|unsound| match unsound {
            Unsound::Malformed => fault(FaultKind::AlteredManifest, "it is not a manifest"),
            Unsound::UnknownKey => {
                fault(FaultKind::UnknownKey, "the key it names is not one of the accepted keys")
            }
            Unsound::WrongSignature => {
                fault(FaultKind::WrongSignature, "the signature does not verify")
            }
        })?;
        if manifest.number != self.next() {
            return Err(Fault::new(
                FaultKind::AlteredManifest,
                key,
                format!("manifest {} stands in the place of {}", manifest.number, self.next()),
            ));
        }
        let previous = self.head.as_ref().map_or("", |head| head.sha256.as_str());
        if manifest.previous != previous {
            return Err(fault(FaultKind::BrokenChain, "it does not name the manifest before it"));
        }
        if manifest.epoch < self.epoch {
            return Err(fault(FaultKind::BrokenChain, "its epoch is older than the one before it"));
        }
        let partition = manifest.segment.partition;
        let unarchived = self.unarchived(partition).unwrap_or(manifest.unarchived);
        if manifest.unarchived != unarchived {
            return Err(fault(
                FaultKind::BrokenChain,
                "it says something else of the time before the archive than the ones before it",
            ));
        }
        self.check_counts(key, &manifest)?;
        self.unarchived.insert(partition, unarchived);
        self.epoch = manifest.epoch;
        for (writer, range) in &manifest.writers {
            self.high_water.insert(*writer, range.last);
        }
        let head = reference(manifest.number, object);
        self.segments.insert(manifest.segment, head.clone());
        self.head = Some(head);
        self.manifests.push(manifest);
        self.manifests.last().ok_or_else(|| fault(FaultKind::AlteredManifest, "it vanished"))
    }

    fn check_counts(&self, key: &str, manifest: &Manifest) -> Result<(), Fault> {
        let mut ranged: u64 = 0;
        for (writer, range) in &manifest.writers {
            let wanted = self.high_water(writer) + 1;
            let is_begin = wanted == 1 && manifest.unarchived > 0;
            let goes_on = range.first == wanted || (is_begin && range.first > 0);
            if !goes_on || range.last < range.first {
                return Err(Fault::new(
                    FaultKind::SequenceGap,
                    key,
                    format!(
                        "writer {writer} goes on with entry {}, entry {wanted} is due",
                        range.first
                    ),
                ));
            }
            ranged = ranged.saturating_add(range.last - range.first + 1);
        }
        let held =
            manifest.objects.iter().fold(0_u64, |sum, object| sum.saturating_add(object.entries));
        if (ranged, held) == (manifest.entries, manifest.entries) {
            Ok(())
        } else {
            Err(Fault::new(
                FaultKind::SequenceGap,
                key,
                format!(
                    "it counts {} entries, its writers {ranged}, its objects {held}",
                    manifest.entries
                ),
            ))
        }
    }
}
