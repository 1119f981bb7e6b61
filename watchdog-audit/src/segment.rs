//! Segments: what they are, and every decision about them, without I/O, clock or environment.
//!
//! A partition has segments numbered 1, 2, 3, … One is open and takes frames; sealing it opens the
//! next. A sealed segment never changes. Only the gate, which asks for a verified archive, gives a
//! segment a life that ends. The scripts of the Redis store make the same decisions, and a
//! property test holds them against these.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::writer_id::WriterId;

/// One segment of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentId {
    /// The partition, from 0.
    pub partition: u16,
    /// The number within the partition, from 1.
    pub number: u64,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} of partition {}", self.number, self.partition)
    }
}

/// Where a frame stands: the store's time, and the frame's number in its partition.
///
/// Both grow, so the id finds by time and shows a missing frame. In Redis it is the stream id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId {
    /// Milliseconds since 1970 by the store's clock, never less than the frame before.
    pub millis: u64,
    /// 1 for the first frame of the partition, without gaps.
    pub number: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl std::str::FromStr for FrameId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once('-')
            .and_then(|(millis, number)| {
                Some(Self { millis: millis.parse().ok()?, number: number.parse().ok()? })
            })
            .ok_or_else(|| Error::corrupt("frame id is not two numbers"))
    }
}

/// When an open segment is due to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Frames of this many bytes together.
    pub max_bytes: u64,
    /// This long after its first frame.
    pub max_age: Duration,
}

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Entries.
    pub entries: u64,
    /// Frames.
    pub frames: u64,
    /// Bytes of the frames.
    pub bytes: u64,
    /// The store's time of the first frame, in milliseconds since 1970; 0 without frames.
    pub first_millis: u64,
    /// The store's time of the last frame, in milliseconds since 1970; 0 without frames.
    pub last_millis: u64,
}

/// A manifest by number and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// The number in the chain, from 1.
    pub number: u64,
    /// SHA-256 of the manifest object, 64 hexadecimal digits.
    pub sha256: String,
}

impl fmt::Display for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.sha256)
    }
}

impl std::str::FromStr for ManifestRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once(':')
            .and_then(|(number, sha256)| {
                crate::hex::decode::<32>(sha256)?;
                Some(Self { number: number.parse().ok()?, sha256: sha256.into() })
            })
            .ok_or_else(|| Error::corrupt("manifest reference is not a number and a hash"))
    }
}

/// Consecutive entries of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriterRange {
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

/// A partition as its store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Number of the open segment.
    pub open: u64,
    /// What the open segment holds.
    pub totals: Totals,
    /// Frames the partition ever took.
    pub frames: u64,
    /// The store's time of the last frame ever, in milliseconds since 1970.
    pub last_millis: u64,
    /// The newest fencing token the gate has seen; 0 while nobody has ever archived.
    pub fence: u64,
    /// The last segment that was sealed with a life because nobody archived; 0 for none. It and all
    /// before it are not in the archive.
    pub unarchived: u64,
    /// The newest manifest the gate has seen.
    pub head: Option<ManifestRef>,
    /// Names the last change of the legal holds, nil before the first. The gate asks for it, so that
    /// nothing is given a life by somebody who has not heard of a hold.
    #[serde(default)]
    pub holds: Uuid,
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            open: 1,
            totals: Totals::default(),
            frames: 0,
            last_millis: 0,
            fence: 0,
            unarchived: 0,
            head: None,
            holds: Uuid::nil(),
        }
    }
}

/// What is to be appended, and where the writer thinks it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    /// The segment the writer believes to be open.
    pub number: u64,
    /// The writer.
    pub writer: WriterId,
    /// Number of the frame's first entry.
    pub first: u64,
    /// Entries of the frame.
    pub count: u64,
    /// Bytes of the frame.
    pub bytes: u64,
}

/// The last frame of a writer that a partition took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighWater {
    /// The writer's last accepted number, 0 before its first.
    pub last: u64,
    /// The checksum in the header of the frame that held it.
    pub checksum: Checksum,
}

/// The checksum in the header of a frame.
pub type Checksum = [u8; 16];

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The frame is in the open segment.
    Stored {
        /// The frame's id.
        frame: FrameId,
        /// Whether the segment is due to be sealed.
        is_due: bool,
    },
    /// Every number of the frame was taken before: a replay, or another's frame.
    Duplicate {
        /// The writer's last accepted number, and the frame it came with: a replay of that frame
        /// has the same checksum.
        high_water: HighWater,
    },
    /// The frame does not follow the writer's last accepted entry; nothing was stored.
    OutOfOrder {
        /// The writer's last accepted number.
        high_water: u64,
    },
    /// The segment is not the open one; nothing was stored.
    NotOpen {
        /// Number of the open segment.
        open: u64,
    },
}

/// How sealing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// The segment is sealed and the next one open.
    Sealed,
    /// The segment was sealed before.
    AlreadySealed,
    /// The segment holds nothing and stays open.
    Empty,
}

/// What becomes of a segment that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// It waits for the gate.
    Waits(Totals),
    /// Nobody archives: it expires.
    Expires {
        /// When, in milliseconds since 1970 by the store's clock.
        at: u64,
    },
}

/// What the gate asks for before a segment may expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveProof {
    /// Entries read from the segment, each covered by a verified manifest.
    pub entries: u64,
    /// Frames read from the segment.
    pub frames: u64,
    /// Frames that were counted and are gone; the manifest says so.
    pub missing: u64,
    /// The last frame that was read; `None` is not compared. A store that was emptied and filled
    /// anew may have another segment under the number, with as many frames.
    pub last: Option<FrameId>,
    /// The fencing token of the archiver.
    pub token: u64,
    /// The manifest that covers the segment.
    pub manifest: ManifestRef,
    /// How long the last entry lives after it was stored.
    pub ttl: Duration,
    /// The change of the legal holds that the archiver knows: [`Partition::holds`], read before the
    /// holds themselves.
    pub holds: Uuid,
    /// Whether a legal hold covers an entry of the segment.
    pub is_held: bool,
}

/// How the gate decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The segment is archived and expires.
    Archived {
        /// When, in milliseconds since 1970 by the store's clock.
        expires_at: u64,
    },
    /// The segment is archived, and lives until it is released: a legal hold covers it.
    Held,
    /// The legal holds have changed since the archiver read them; nothing was done.
    HoldsChanged,
    /// The segment had passed the gate before.
    AlreadyArchived,
    /// The segment takes frames still.
    NotSealed,
    /// An archiver with a newer token exists.
    Fenced {
        /// The newest token.
        newest: u64,
    },
    /// The proof is not about what the store holds.
    Mismatch,
}

/// How giving a held segment its life back ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resuming {
    /// The segment expires again.
    Resumed {
        /// When, in milliseconds since 1970 by the store's clock.
        expires_at: u64,
    },
    /// No hold keeps the segment.
    NotHeld,
    /// The legal holds have changed since the caller read them; nothing was done.
    HoldsChanged,
}

/// How long a segment lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The store holds nothing under this number.
    Missing,
    /// It lives until the gate says otherwise.
    Never,
    /// It expires in this many milliseconds.
    InMillis(u64),
}

impl Partition {
    /// Decides an append at `now` (milliseconds), given the writer's last accepted frame.
    pub fn append(
        &mut self,
        request: AppendRequest,
        high_water: HighWater,
        limits: SegmentLimits,
        now: u64,
    ) -> Appended {
        let last = request.first.saturating_add(request.count).saturating_sub(1);
        if last <= high_water.last {
            return Appended::Duplicate { high_water };
        }
        let high_water = high_water.last;
        if request.first != high_water + 1 {
            return Appended::OutOfOrder { high_water };
        }
        if request.number != self.open {
            return Appended::NotOpen { open: self.open };
        }
        let millis = now.max(self.last_millis);
        self.frames += 1;
        self.last_millis = millis;
        if self.totals.frames == 0 {
            self.totals.first_millis = millis;
        }
        self.totals.frames += 1;
        self.totals.entries += request.count;
        self.totals.bytes += request.bytes;
        self.totals.last_millis = millis;
        let frame = FrameId { millis, number: self.frames };
        Appended::Stored { frame, is_due: self.is_due(limits, millis) }
    }

    /// Whether the open segment is to be sealed at `now` (milliseconds).
    pub fn is_due(&self, limits: SegmentLimits, now: u64) -> bool {
        let age = u128::from(now.saturating_sub(self.totals.first_millis));
        self.totals.frames > 0
            && (self.totals.bytes >= limits.max_bytes || age >= limits.max_age.as_millis())
    }

    /// Decides sealing by a caller that archives nothing when there is a `ttl`. What becomes of the
    /// segment comes along when it is sealed now.
    pub fn seal(&mut self, number: u64, ttl: Option<Duration>) -> (Sealing, Option<Sealed>) {
        if number != self.open {
            return (Sealing::AlreadySealed, None);
        }
        if self.totals.frames == 0 {
            return (Sealing::Empty, None);
        }
        self.open += 1;
        let totals = std::mem::take(&mut self.totals);
        // Each process knows only of its own archive; the fence tells of everybody's.
        let sealed = match ttl {
            Some(ttl) if self.fence == 0 => {
                self.unarchived = number;
                Sealed::Expires { at: expires_at(totals.last_millis, ttl) }
            }
            _ => Sealed::Waits(totals),
        };
        (Sealing::Sealed, Some(sealed))
    }

    /// Decides whether a segment may expire. `sealed` are its totals while it waits for the gate,
    /// `held` the frames the store really holds.
    pub fn gate(
        &mut self,
        number: u64,
        sealed: Option<Totals>,
        held: u64,
        proof: &ArchiveProof,
    ) -> Gate {
        if proof.token < self.fence {
            return Gate::Fenced { newest: self.fence };
        }
        self.fence = proof.token;
        if number >= self.open {
            return Gate::NotSealed;
        }
        let Some(sealed) = sealed else { return Gate::AlreadyArchived };
        if proof.holds != self.holds {
            return Gate::HoldsChanged;
        }
        // A store may hold a frame twice, after two crashes: what was read is what is there.
        let is_short = sealed.entries != proof.entries
            || proof.frames.saturating_add(proof.missing) < sealed.frames;
        if is_short || held != proof.frames {
            return Gate::Mismatch;
        }
        if self.head.as_ref().is_none_or(|head| head.number < proof.manifest.number) {
            self.head = Some(proof.manifest.clone());
        }
        if proof.is_held {
            return Gate::Held;
        }
        Gate::Archived { expires_at: expires_at(sealed.last_millis, proof.ttl) }
    }

    /// Decides whether a segment gets its life back that a hold took: its last entry is of
    /// `last_millis` when it is held, and the caller has read the legal holds after the change
    /// `holds`.
    pub fn resume(&self, last_millis: Option<u64>, ttl: Duration, holds: Uuid) -> Resuming {
        match last_millis {
            _ if holds != self.holds => Resuming::HoldsChanged,
            Some(last) => Resuming::Resumed { expires_at: expires_at(last, ttl) },
            None => Resuming::NotHeld,
        }
    }

    /// Raises the fence and says which token is the newest.
    pub fn raise_fence(&mut self, token: u64) -> u64 {
        self.fence = self.fence.max(token);
        self.fence
    }
}

/// When a segment expires, so that its last entry, stored at `last_millis`, lives exactly `ttl`.
pub fn expires_at(last_millis: u64, ttl: Duration) -> u64 {
    last_millis.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
