//! What a caller holds for an entry that is acknowledged.

use crate::writer_id::WriterId;

/// Proof that the store acknowledged an entry, and where to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The process that took it.
    pub writer: WriterId,
    /// Its number in the writer's sequence; 0 when the log is switched off and nothing was stored.
    pub sequence: u64,
    /// The partition it is in.
    pub partition: u16,
}

impl Receipt {
    /// Whether the entry is stored: false only when the log is switched off by configuration.
    pub fn is_stored(&self) -> bool {
        self.sequence > 0
    }
}
