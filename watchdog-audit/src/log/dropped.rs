//! What a full queue dropped, until the log says so.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::telemetry;
use crate::writer_id::WriterId;

/// How many, in the order of [`Category::ALL`].
pub(crate) type Counts = [u64; Category::ALL.len()];

/// Entries that were dropped and not yet declared, by category.
#[derive(Debug, Default)]
pub(crate) struct Dropped([AtomicU64; Category::ALL.len()]);

impl Dropped {
    pub(crate) fn count(&self, category: Category) {
        telemetry::dropped(category);
        let place = Category::ALL.iter().position(|known| *known == category);
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was dropped since the last time; `None` when nothing was.
    pub(crate) fn take(&self) -> Option<Counts> {
        if self.0.iter().all(|count| count.load(Ordering::Relaxed) == 0) {
            return None;
        }
        Some(self.0.each_ref().map(|count| count.swap(0, Ordering::Relaxed)))
    }

    /// Takes back what could not be declared.
    pub(crate) fn put_back(&self, counts: Counts) {
        for (count, more) in self.0.iter().zip(counts) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// The entry that declares what was dropped.
pub(crate) fn declaration(counts: Counts, writer: WriterId, now: Timestamp) -> Entry {
    let actor = Actor::service("watchdog-audit");
    let resource = Resource::new("audit_writer", writer.to_string());
    let action = "audit.entries_dropped";
    let entry = Entry::new(Uuid::now_v7(), now, Category::Security, actor, action, resource);
    let counted = Category::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    counted.fold(entry.with_outcome(Outcome::Failure), |entry, (category, count)| {
        entry.with_detail(category.as_str(), count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dropped_entry_is_declared_once_under_its_category() {
        let dropped = Dropped::default();
        assert!(dropped.take().is_none());
        dropped.count(Category::Access);
        dropped.count(Category::Application);
        dropped.put_back(dropped.take().unwrap());
        dropped.count(Category::Access);
        let counts = dropped.take().unwrap();
        assert!(dropped.take().is_none());
        let writer = WriterId::from_bytes([1; 16]);
        let entry = declaration(counts, writer, Timestamp::UNIX_EPOCH);
        assert_eq!((entry.category, entry.outcome), (Category::Security, Outcome::Failure));
        assert_eq!(entry.details.len(), 2);
        assert_eq!(
            (&entry.details["access"], &entry.details["application"]),
            (&2.into(), &1.into())
        );
    }
}
