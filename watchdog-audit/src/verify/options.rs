//! What a verification is asked for.

use watchdog_core::Timestamp;

use crate::manifest::ArchivedObject;
use crate::signing::PublicKey;
use crate::tlog::Checkpoint;

/// What to verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    since: Option<Checkpoint>,
    key: Option<PublicKey>,
}

impl VerifyOptions {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads only objects with entries that were recorded in this time, the end not included. The
    /// chain is checked from its beginning, and what waits in the store as always; the tree is
    /// checked for the manifests of the time, and that it is the beginning of the tree today.
    #[must_use]
    pub fn with_range(mut self, from: Timestamp, to: Timestamp) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// Also checks that the log still holds what it held at this checkpoint.
    #[must_use]
    pub fn with_since(mut self, checkpoint: Checkpoint) -> Self {
        self.since = Some(checkpoint);
        self
    }

    /// Also checks that this is the key the log is signed with now: the last one of
    /// [`AuditLog::signing_keys`](crate::AuditLog::signing_keys), from where the verifier trusts it.
    ///
    /// Without it the first key of the log is what everything rests on, and whoever has got at a key
    /// that was replaced, at the bucket and at the store can cut the log off before the rotation and
    /// go on from there. A log that has signed nothing yet does not pass.
    #[must_use]
    pub fn with_key(mut self, key: PublicKey) -> Self {
        self.key = Some(key);
        self
    }

    pub(super) fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    pub(super) fn since(&self) -> Option<&Checkpoint> {
        self.since.as_ref()
    }

    /// Whether an object may hold entries of the time.
    pub(super) fn covers(&self, object: &ArchivedObject) -> bool {
        self.from.is_none_or(|from| object.recorded.to >= from)
            && self.to.is_none_or(|to| object.recorded.from < to)
    }
}
