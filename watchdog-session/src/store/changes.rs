//! Being told what changes in a store, by whichever process.

use std::fmt;
use std::time::Instant;

use crate::place::Location;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// A session of a user, or what is known of all of the user's sessions.
    User(Location),
    /// The time before which all sessions of a bucket are revoked.
    Everybody {
        /// The bucket.
        bucket: u16,
    },
}

/// Who is told what changes. The calls must not block.
pub trait SessionChanges: fmt::Debug + Send + Sync + 'static {
    /// Something changed. It may be told twice, and for nothing.
    fn changed(&self, change: Changed);

    /// Changes may be missed from now on: forget everything, keep nothing until `restored`.
    fn lost(&self);

    /// What is read from now on will be reported when it changes.
    fn restored(&self);
}

/// Being told; dropping it ends it.
pub trait ChangeTracking: fmt::Debug + Send + Sync {
    /// Every change before this instant has been told; `None` while changes may be missed.
    fn confirmed_at(&self) -> Option<Instant>;
}
