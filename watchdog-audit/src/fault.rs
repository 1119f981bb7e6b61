//! What a verification names.

use std::fmt;

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// A manifest of the chain is not in the bucket.
    MissingManifest,
    /// A manifest is not one, or not the one its place asks for.
    AlteredManifest,
    /// A manifest or the checkpoint is signed by a key that is neither accepted nor introduced by
    /// the chain, or by one that the chain has retired.
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
    /// A legal hold the log tells of is not in the bucket.
    MissingHold,
    /// A legal hold is not one that a key of the log has signed.
    AlteredHold,
    /// A segment is neither archived nor in the store.
    MissingSegment,
    /// A segment could not be read whole when it was archived; what could not is kept as it was.
    UnreadableSegment,
    /// What waits in the store for its archive is not what was written.
    AlteredSegment,
    /// The tree that a manifest states is not the one over the archived entries.
    WrongTree,
    /// A tile or an entry bundle of the log is not in the bucket.
    MissingTile,
    /// A tile or an entry bundle of the log holds something else than the tree does.
    AlteredTile,
    /// The checkpoint in the bucket is not there, though entries are archived.
    MissingCheckpoint,
    /// The checkpoint in the bucket is not one, or states a tree the chain does not know.
    AlteredCheckpoint,
    /// The checkpoint in the bucket is an older one than there was.
    CheckpointRolledBack,
    /// The log does not hold what a checkpoint kept elsewhere says it held.
    LogRolledBack,
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
