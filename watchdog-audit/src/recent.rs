//! The ids of entries taken lately, so that a second delivery is recognised.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::receipt::Receipt;

/// How many entries back a second delivery is recognised.
pub const REMEMBERED_ENTRIES: usize = 65_536;

/// Receipts by entry id; the oldest leaves first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    receipts: HashMap<Uuid, Receipt>,
    order: VecDeque<Uuid>,
}

impl Recent {
    pub(crate) fn find(&self, id: &Uuid) -> Option<Receipt> {
        self.receipts.get(id).copied()
    }

    /// Remembers an entry; one that is remembered already gets the new receipt.
    pub(crate) fn insert(&mut self, id: Uuid, receipt: Receipt) {
        if self.receipts.insert(id, receipt).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > REMEMBERED_ENTRIES {
            if let Some(oldest) = self.order.pop_front() {
                self.receipts.remove(&oldest);
            }
        }
    }

    /// Forgets the entries whose receipts match: they are not stored under them, and when they are
    /// recorded again they are new.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(&Receipt) -> bool) {
        self.receipts.retain(|_, receipt| !is_gone(receipt));
        self.order.retain(|id| self.receipts.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer_id::WriterId;

    #[test]
    fn what_is_forgotten_is_new_again() {
        let writer = WriterId::from_bytes([0; 16]);
        let mut recent = Recent::default();
        for sequence in 1..=3_u64 {
            let receipt = Receipt { writer, sequence, partition: 0 };
            recent.insert(Uuid::from_u128(u128::from(sequence)), receipt);
        }
        recent.forget(|receipt| receipt.sequence == 2);
        assert!(recent.find(&Uuid::from_u128(2)).is_none());
        assert!(recent.find(&Uuid::from_u128(3)).is_some());
        assert_eq!(recent.order.len(), 2);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let writer = WriterId::from_bytes([0; 16]);
        let mut recent = Recent::default();
        for sequence in 1..=REMEMBERED_ENTRIES as u64 + 1 {
            let receipt = Receipt { writer, sequence, partition: 0 };
            recent.insert(Uuid::from_u128(u128::from(sequence)), receipt);
        }
        assert!(recent.find(&Uuid::from_u128(1)).is_none());
        assert_eq!(recent.find(&Uuid::from_u128(2)).map(|receipt| receipt.sequence), Some(2));
        assert_eq!(recent.receipts.len(), REMEMBERED_ENTRIES);
    }
}
