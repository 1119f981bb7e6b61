//! What a verification is asked for.

use watchdog_core::Timestamp;

use crate::manifest::ArchivedObject;
use crate::tlog::Checkpoint;

/// What to verify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    since: Option<Checkpoint>,
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

    pub(super) fn since(&self) -> Option<&Checkpoint> {
        self.since.as_ref()
    }

    /// Whether an object may hold entries of the time.
    pub(super) fn covers(&self, object: &ArchivedObject) -> bool {
        self.from.is_none_or(|from| object.recorded.to >= from)
            && self.to.is_none_or(|to| object.recorded.from < to)
    }
}
