//! What a caller holds for an entry that is acknowledged.

use crate::writer_id::WriterId;

/// Proof that the store acknowledged an entry, and where to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The process that took it.
    pub writer: WriterId,
    /// Its number in the writer's sequence; 0 when nothing was stored.
    pub sequence: u64,
    /// The partition it is in.
    pub partition: u16,
}

impl Receipt {
    /// Whether the entry is stored: false when the log is switched off by configuration, and when a
    /// full queue dropped the entry as [`FullQueue`](crate::FullQueue) says.
    pub fn is_stored(&self) -> bool {
        self.sequence > 0
    }
}
