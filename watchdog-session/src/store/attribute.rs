//! What a store keeps for the application: named values, each with a version.

use std::fmt;

use super::Outbox;
use crate::place::Place;
use crate::record::Millis;

/// Most attributes of one session.
pub const MAX_ATTRIBUTES: usize = 64;
/// Longest name of an attribute, in bytes.
pub const MAX_ATTRIBUTE_NAME_BYTES: usize = 64;
/// Longest sealed value of an attribute, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 16 * 1024;

/// For how long a repeated update is known for one, in milliseconds.
pub const UPDATE_MEMORY: Millis = 60_000;
/// Most updates of one session that are remembered. A repeat that comes in after more than so many
/// others within [`UPDATE_MEMORY`] counts as a new update.
pub const MAX_REMEMBERED_UPDATES: usize = 64;

/// One attribute as it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAttribute {
    /// The name.
    pub name: String,
    /// The version of the session's attributes as a whole when this one was written.
    pub version: u64,
    /// The value, sealed.
    pub value: Vec<u8>,
}

impl fmt::Debug for StoredAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAttribute")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// All attributes of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAttributes {
    /// How many updates there were; 0 without any.
    pub version: u64,
    /// The attributes, by name.
    pub values: Vec<StoredAttribute>,
}

/// A change of some attributes: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Update {
    /// The session.
    pub place: Place,
    /// The version of the whole that must stand; `None` for any.
    pub expected: Option<u64>,
    /// Whether all attributes are removed first.
    pub clear: bool,
    /// The changes, in order; the names differ.
    pub changes: Vec<Change>,
    /// Random mark of this call: a repeat carries the same.
    pub nonce: [u8; 8],
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// A change of one attribute.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub name: String,
    /// The version of this attribute that must stand, 0 when it must be absent; `None` for any.
    pub expected: Option<u64>,
    /// The new value, sealed; `None` removes the attribute.
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("name", &self.name)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The store's time.
    pub now: Millis,
    /// What happened.
    pub outcome: UpdateOutcome,
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateOutcome {
    /// It is made, or it was, by this very call.
    Done {
        /// The version of the whole that it made.
        version: u64,
    },
    /// Another version stands than the one expected. Nothing changed.
    Conflict {
        /// The version of the whole that stands.
        version: u64,
    },
    /// The session would have more than [`MAX_ATTRIBUTES`]. Nothing changed.
    Full,
    /// There is no such session. Nothing changed.
    Gone,
    /// The session is over by idleness or age, and removed now, with its attributes.
    Expired,
}
