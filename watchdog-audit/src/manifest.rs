//! Manifests: what was archived, signed, each naming the one before.

mod unreadable;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watchdog_core::Timestamp;
use watchdog_core::audit::Category;

use crate::hex;
use crate::merkle::{Hash, sha256};
use crate::rotation::KeyRotation;
use crate::segment::{ManifestRef, SegmentId, WriterRange};
use crate::signed::Document;
use crate::writer_id::WriterId;
use crate::zone::ZoneMap;

pub use unreadable::{Unreadable, UnreadableObject};

/// What the field `format` of a manifest says.
pub const MANIFEST_FORMAT: &str = "watchdog-audit-manifest/v1";

/// One step of the archive: the entries of one segment that no earlier manifest covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: String,
    /// The number in the chain, from 1, without gaps.
    pub number: u64,
    /// SHA-256 of the object of the manifest before, empty for the first.
    pub previous: String,
    /// The epoch of the archiver that wrote it; never falls along the chain.
    pub epoch: u64,
    /// When it was written, by the archiver's clock.
    pub created_at: Timestamp,
    /// The segment that was read.
    pub segment: SegmentId,
    /// The last segment of the partition that was sealed while nobody archived, 0 for none. It and
    /// all before it are not in the archive, so a writer of theirs may begin above 1.
    pub unarchived: u64,
    /// Frames read from the segment.
    pub frames: u64,
    /// Entries read from the segment that an earlier manifest covers: a store that was rolled back
    /// had taken them again.
    pub repeated: u64,
    /// Entries this manifest covers.
    pub entries: u64,
    /// The ranges of the writers' numbers this manifest covers, by writer. Where some of the segment
    /// could not be read, numbers may be missing in them.
    pub writers: BTreeMap<WriterId, WriterRange>,
    /// The objects that hold the entries, by key.
    pub objects: Vec<ArchivedObject>,
    /// The tree over all archived entries, those of this manifest included: object by object, line
    /// by line.
    pub tree: TreeHead,
    /// What could not be read of the segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<Unreadable>,
    /// The id of the key that signed it.
    pub key: String,
    /// The key that signs the manifests after this one, when it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<KeyRotation>,
}

/// A state of the tree over all archived entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// How many entries it has.
    pub size: u64,
    /// The RFC 6962 root over them, 64 hexadecimal digits.
    pub root: String,
}

impl TreeHead {
    pub(crate) fn new(size: u64, root: &Hash) -> Self {
        Self { size, root: hex::encode(root) }
    }

    /// The tree before the first entry.
    pub(crate) fn empty() -> Self {
        Self::new(0, &sha256(&[]))
    }

    /// The bytes of the root, `None` when it is not one.
    pub(crate) fn hash(&self) -> Option<Hash> {
        hex::decode(&self.root)
    }
}

/// One object of the archive: the entries of one category and one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedObject {
    /// The key in the bucket.
    pub key: String,
    /// The category of all its entries.
    pub category: Category,
    /// How many entries it holds.
    pub entries: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The size of its lines in bytes, newlines included.
    pub raw_bytes: u64,
    /// SHA-256 of the object, 64 hexadecimal digits.
    pub sha256: String,
    /// RFC 6962 root over its lines, newlines left out, 64 hexadecimal digits.
    pub root: String,
    /// The earliest and the latest `recorded_at`.
    pub recorded: TimeRange,
    /// The earliest and the latest `occurred_at`.
    pub occurred: TimeRange,
    /// What it may hold, for queries.
    pub zone: ZoneMap,
}

/// The earliest and the latest of some instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeRange {
    /// The earliest.
    pub from: Timestamp,
    /// The latest.
    pub to: Timestamp,
}

impl TimeRange {
    pub(crate) fn at(instant: Timestamp) -> Self {
        Self { from: instant, to: instant }
    }

    pub(crate) fn including(self, instant: Timestamp) -> Self {
        Self { from: self.from.min(instant), to: self.to.max(instant) }
    }
}

impl Document for Manifest {
    const FORMAT: &'static str = MANIFEST_FORMAT;

    fn format(&self) -> &str {
        &self.format
    }

    fn key(&self) -> &str {
        &self.key
    }
}

/// The reference to a manifest object.
pub(crate) fn reference(number: u64, object: &[u8]) -> ManifestRef {
    ManifestRef { number, sha256: hex::encode(&sha256(&[object])) }
}

#[cfg(test)]
mod tests {
    use watchdog_core::{RootKeys, Secret};

    use super::*;
    use crate::signed::{self, Unsound};
    use crate::signing::Signer;

    fn signer() -> Signer {
        let secret = Secret::from("0123456789abcdef0123456789abcdef");
        Signer::new(&RootKeys::new(&secret, &[]).unwrap(), &[]).unwrap()
    }

    fn manifest(signer: &Signer) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT.into(),
            number: 1,
            previous: String::new(),
            epoch: 1,
            created_at: Timestamp::UNIX_EPOCH,
            segment: SegmentId { partition: 0, number: 1 },
            unarchived: 0,
            frames: 1,
            repeated: 0,
            entries: 2,
            writers: BTreeMap::from([(
                WriterId::from_bytes([9; 16]),
                WriterRange { first: 1, last: 2 },
            )]),
            objects: vec![ArchivedObject {
                key: "k".into(),
                category: Category::Access,
                entries: 2,
                bytes: 10,
                raw_bytes: 20,
                sha256: "00".repeat(32),
                root: "11".repeat(32),
                recorded: TimeRange::at(Timestamp::UNIX_EPOCH),
                occurred: TimeRange::at(Timestamp::UNIX_EPOCH),
                zone: ZoneMap::default(),
            }],
            tree: TreeHead::empty(),
            unreadable: None,
            key: signer.public_key().id(),
            rotation: None,
        }
    }

    fn decode(bytes: &[u8], signer: &Signer) -> Result<Manifest, Unsound> {
        signed::decode(bytes, |id| signer.accepted(id))
    }

    #[test]
    fn a_manifest_reads_back() {
        let signer = signer();
        let bytes = signed::encode(&manifest(&signer), &signer).unwrap();
        assert_eq!(decode(&bytes, &signer).unwrap(), manifest(&signer));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let signer = signer();
        let bytes = signed::encode(&manifest(&signer), &signer).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&altered, &signer).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], &signer).is_err(), "length {length}");
        }
    }

    #[test]
    fn another_key_is_told_from_a_wrong_signature() {
        let signer = signer();
        let other = Signer::new(&RootKeys::ephemeral().unwrap(), &[]).unwrap();
        let foreign = signed::encode(&manifest(&other), &other).unwrap();
        assert_eq!(decode(&foreign, &signer).unwrap_err(), Unsound::UnknownKey);
        assert!(signed::encode(&manifest(&signer), &other).is_err(), "it has not the key");
        let mut forged = signed::encode(&manifest(&signer), &signer).unwrap();
        let signed = foreign.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let end = forged.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        forged.splice(end.., foreign[signed..].iter().copied());
        assert_eq!(decode(&forged, &signer).unwrap_err(), Unsound::WrongSignature);
    }
}
