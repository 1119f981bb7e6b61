//! The chain of manifests, as a fold without I/O.

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use crate::fault::{Fault, FaultKind};
use crate::manifest::{ArchivedObject, Manifest, TreeHead, reference};
use crate::pages::Pages;
use crate::segment::{ManifestRef, SegmentId};
use crate::signed::{self, Unsound};
use crate::signing::PublicKey;
use crate::signing::Signer;
use crate::writer_id::WriterId;

/// Most segments in a row that no manifest covers.
const MAX_UNCOVERED: usize = 1 << 24;

/// Most bytes of zone maps a process keeps: 64 MiB, which is 20 million entries of resources and
/// requests that all differ, and more where they repeat. Of older objects queries know the times,
/// the category and the outcomes alone.
const ZONE_BYTES: usize = 64 * 1024 * 1024;

/// What a fold over the manifests keeps, without the manifests themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    head: Option<ManifestRef>,
    epoch: u64,
    tree: Option<TreeHead>,
    /// The keys that signed, in the order they came; the last one signs what follows.
    keys: Vec<PublicKey>,
    /// How far each writer is archived.
    marks: Arc<HashMap<WriterId, Mark>>,
    /// Of each partition, how many entries of its segments could not be read.
    lost: HashMap<u16, u64>,
    /// Segments that could not be read whole.
    unreadable: u64,
    /// Of each partition, the last segment that was sealed before it was archived.
    unarchived: HashMap<u16, u64>,
}

/// How far a writer is archived.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Its last archived number.
    last: u64,
    /// Entries of its partition that could not be read before the manifest with that number.
    lost: u64,
}

/// Everything the manifests so far say. A copy shares nearly all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    links: Links,
    manifests: Pages<Arc<Manifest>>,
    covered: Covered,
    /// Bytes of the zone maps in memory, and of how many manifests they were given back.
    zones: (usize, usize),
}

/// Of each partition, the number of the newest manifest that covers a segment, by the segment's
/// number; 0 for none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Covered(HashMap<u16, Pages<u64>>);

impl Covered {
    /// The newest manifest that covers a segment.
    pub(crate) fn by(&self, segment: SegmentId) -> Option<u64> {
        let numbers = self.0.get(&segment.partition)?;
        let number = numbers.get(usize::try_from(segment.number).ok()?)?;
        Some(*number).filter(|number| *number > 0)
    }

    pub(crate) fn note(&mut self, manifest: &Manifest) {
        let numbers = self.0.entry(manifest.segment.partition).or_default();
        // Segments are archived in order; after a rollback of the store, again.
        let Ok(index) = usize::try_from(manifest.segment.number) else { return };
        if index < numbers.len() {
            return numbers.set(index, manifest.number);
        }
        // No partition seals so many before its first archive.
        if index - numbers.len() > MAX_UNCOVERED {
            return;
        }
        while numbers.len() < index {
            numbers.push(0);
        }
        numbers.push(manifest.number);
    }
}

impl Chain {
    pub(crate) fn head(&self) -> Option<&ManifestRef> {
        self.links.head.as_ref()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.links.epoch
    }

    /// The manifests from the first one on.
    pub(crate) fn manifests(&self) -> &Pages<Arc<Manifest>> {
        &self.manifests
    }

    /// The objects they name.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ArchivedObject> {
        self.manifests.iter().flat_map(|manifest| &manifest.objects)
    }

    /// The manifest with a number.
    pub(crate) fn manifest(&self, number: u64) -> Option<&Manifest> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.manifests.get(index).map(AsRef::as_ref)
    }

    /// The number the next manifest has.
    pub(crate) fn next(&self) -> u64 {
        self.links.next()
    }

    /// The last archived number of a writer, 0 before its first.
    pub(crate) fn high_water(&self, writer: &WriterId) -> u64 {
        self.links.high_water(writer)
    }

    /// How many numbers a writer may pass over.
    pub(crate) fn allowance(&self, partition: u16, writer: &WriterId) -> u64 {
        self.links.allowance(partition, writer)
    }

    /// How many segments could not be read whole.
    pub(crate) fn unreadable(&self) -> u64 {
        self.links.unreadable
    }

    /// The tree after the last manifest.
    pub(crate) fn tree(&self) -> TreeHead {
        self.links.tree()
    }

    /// The key that signs what follows, `None` before the first manifest.
    pub(crate) fn active_key(&self) -> Option<PublicKey> {
        self.links.active_key()
    }

    /// The key with an id, when it has ever signed or was introduced.
    pub(crate) fn key(&self, id: &str) -> Option<PublicKey> {
        self.links.key(id)
    }

    /// The keys that signed, in the order they came.
    pub(crate) fn keys(&self) -> &[PublicKey] {
        self.links.keys()
    }

    /// The manifest with a number, by its content.
    pub(crate) fn reference(&self, number: u64) -> Option<ManifestRef> {
        let head = self.head()?;
        if head.number == number {
            return Some(head.clone());
        }
        // Each manifest names the content of the one before.
        let next = self.manifest(number.checked_add(1)?)?;
        (number > 0).then(|| ManifestRef { number, sha256: next.previous.clone() })
    }

    /// The last segment of a partition that was sealed before it was archived, `None` while no
    /// manifest tells.
    pub(crate) fn unarchived(&self, partition: u16) -> Option<u64> {
        self.links.unarchived(partition)
    }

    /// The newest manifest that covers a segment.
    pub(crate) fn covering(&self, segment: SegmentId) -> Option<ManifestRef> {
        self.reference(self.covered.by(segment)?)
    }

    /// Adds the object found under `key`, which is to be the next manifest.
    pub(crate) fn extend(
        &mut self,
        key: &str,
        object: &[u8],
        signer: &Signer,
    ) -> Result<&Manifest, Fault> {
        let manifest = self.links.extend(key, object, signer)?;
        self.covered.note(&manifest);
        self.zones.0 += manifest.objects.iter().map(|object| object.zone.size()).sum::<usize>();
        self.manifests.push(Arc::new(manifest));
        self.bound_zones(ZONE_BYTES);
        let last = self.manifests.last().map(AsRef::as_ref);
        last.ok_or_else(|| Fault::new(FaultKind::AlteredManifest, key, "it vanished"))
    }
}

impl Chain {
    /// Keeps the zone maps of the newest manifests, within a bound of memory.
    fn bound_zones(&mut self, most: usize) {
        let (held, given_back) = &mut self.zones;
        while *held > most
            && let Some(oldest) = self.manifests.get(*given_back)
        {
            let mut oldest = Manifest::clone(oldest);
            for object in &mut oldest.objects {
                *held -= object.zone.size();
                object.zone.forget();
            }
            self.manifests.set(*given_back, Arc::new(oldest));
            *given_back += 1;
        }
    }
}

impl Links {
    pub(crate) fn head(&self) -> Option<&ManifestRef> {
        self.head.as_ref()
    }

    pub(crate) fn next(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.number) + 1
    }

    pub(crate) fn tree(&self) -> TreeHead {
        self.tree.clone().unwrap_or_else(TreeHead::empty)
    }

    pub(crate) fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    pub(crate) fn active_key(&self) -> Option<PublicKey> {
        self.keys.last().copied()
    }

    pub(crate) fn key(&self, id: &str) -> Option<PublicKey> {
        self.keys.iter().find(|key| key.id() == id).copied()
    }

    pub(crate) fn high_water(&self, writer: &WriterId) -> u64 {
        self.marks.get(writer).map_or(0, |mark| mark.last)
    }

    pub(crate) fn high_waters(&self) -> impl Iterator<Item = (WriterId, u64)> {
        self.marks.iter().map(|(writer, mark)| (*writer, mark.last))
    }

    /// How many numbers a writer may pass over: as many as entries of its partition could not be
    /// read since it was archived last.
    pub(crate) fn allowance(&self, partition: u16, writer: &WriterId) -> u64 {
        let before = self.marks.get(writer).map_or(0, |mark| mark.lost);
        self.lost_in(partition).saturating_sub(before)
    }

    fn lost_in(&self, partition: u16) -> u64 {
        self.lost.get(&partition).copied().unwrap_or(0)
    }

    pub(crate) fn unarchived(&self, partition: u16) -> Option<u64> {
        self.unarchived.get(&partition).copied()
    }

    /// The key of an id, when it may sign the next manifest: the last one the chain knows, or one
    /// that may follow without being introduced. The first manifest any accepted key may have signed.
    fn signing_key(&self, id: &str, signer: &Signer) -> Option<PublicKey> {
        match self.active_key() {
            None => signer.accepted(id),
            Some(active) if active.id() == id => Some(active),
            // Who holds a key that was replaced cannot go on with it.
            Some(_) if self.key(id).is_some() => None,
            Some(_) => signer.successor(id),
        }
    }

    /// Checks the object found under `key`, which is to be the next manifest.
    pub(crate) fn extend(
        &mut self,
        key: &str,
        object: &[u8],
        signer: &Signer,
    ) -> Result<Manifest, Fault> {
        let fault = |kind, detail: &str| Fault::new(kind, key, detail);
        let key_of = |id: &str| self.signing_key(id, signer);
        let manifest = signed::decode::<Manifest>(object, key_of).map_err(|unsound| match unsound {
            Unsound::Malformed => fault(FaultKind::AlteredManifest, "it is not a manifest"),
            Unsound::UnknownKey => {
                fault(FaultKind::UnknownKey, "the key it names may not sign it: the chain has not introduced it, or has replaced it")
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
        self.turn_keys(key, &manifest, signer)?;
        self.unarchived.insert(partition, unarchived);
        self.epoch = manifest.epoch;
        let lost = self.lost_in(partition);
        let marks = Arc::make_mut(&mut self.marks);
        for (writer, range) in &manifest.writers {
            marks.insert(*writer, Mark { last: range.last, lost });
        }
        if let Some(unreadable) = &manifest.unreadable {
            self.lost.insert(partition, lost.saturating_add(unreadable.entries));
            self.unreadable += 1;
        }
        self.tree = Some(manifest.tree.clone());
        self.head = Some(reference(manifest.number, object));
        Ok(manifest)
    }

    /// Notes with which key a manifest was signed, and which one it introduces. What is refused
    /// changes nothing.
    fn turn_keys(&mut self, key: &str, manifest: &Manifest, signer: &Signer) -> Result<(), Fault> {
        let signed = self.signing_key(&manifest.key, signer);
        let fault = |detail| Err(Fault::new(FaultKind::UnknownKey, key, detail));
        let introduced = match &manifest.rotation {
            None => None,
            Some(rotation) => {
                match rotation.introduced(&manifest.key, manifest.number, &manifest.previous) {
                    None => return fault("the key it introduces has not signed that it follows"),
                    Some(next) if signed == Some(next) || self.key(&next.id()).is_some() => {
                        return fault("the key it introduces was replaced before");
                    }
                    next => next,
                }
            }
        };
        if self.active_key() != signed {
            self.keys.extend(signed);
        }
        self.keys.extend(introduced);
        Ok(())
    }

    fn check_counts(&self, key: &str, manifest: &Manifest) -> Result<(), Fault> {
        let partition = manifest.segment.partition;
        let lost = manifest.unreadable.as_ref().map_or(0, |unreadable| unreadable.entries);
        let mut ranged: u64 = 0;
        for (writer, range) in &manifest.writers {
            let wanted = self.high_water(writer) + 1;
            let is_begin = wanted == 1 && manifest.unarchived > 0;
            let may_skip = self.allowance(partition, writer).saturating_add(lost);
            let goes_on = range.first >= wanted && (is_begin || range.first - wanted <= may_skip);
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
        let grown = self.tree().size.checked_add(manifest.entries);
        if grown != Some(manifest.tree.size) || manifest.tree.hash().is_none() {
            return Err(Fault::new(
                FaultKind::WrongTree,
                key,
                format!(
                    "its tree has {} entries, {} were in it before and it adds {}",
                    manifest.tree.size,
                    self.tree().size,
                    manifest.entries
                ),
            ));
        }
        let held =
            manifest.objects.iter().fold(0_u64, |sum, object| sum.saturating_add(object.entries));
        // What could not be read may be missing in the ranges.
        let missing = ranged.checked_sub(manifest.entries);
        if held == manifest.entries && missing.is_some_and(|missing| missing <= lost) {
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
