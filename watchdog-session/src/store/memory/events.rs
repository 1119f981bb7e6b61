//! The outbox of a store in memory.

use std::collections::{BTreeMap, HashMap};

use crate::store::{Event, StoredEvent};

#[derive(Debug, Default)]
pub(super) struct MemoryOutbox {
    buckets: HashMap<u16, BTreeMap<u64, Event>>,
    last: u64,
}

impl MemoryOutbox {
    pub(super) fn add(&mut self, bucket: u16, events: Vec<Event>) {
        for event in events {
            self.last += 1;
            self.buckets.entry(bucket).or_default().insert(self.last, event);
        }
    }

    pub(super) fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Vec<StoredEvent> {
        let after = after.and_then(|handle| handle.parse::<u64>().ok()).unwrap_or(0);
        let waiting =
            self.buckets.get(&bucket).into_iter().flat_map(|events| events.range(after + 1..));
        waiting
            .take(limit as usize)
            .map(|(handle, event)| StoredEvent {
                handle: handle.to_string(),
                event: Some(event.clone()),
            })
            .collect()
    }

    pub(super) fn acknowledge(&mut self, bucket: u16, handles: &[&str]) {
        if let Some(events) = self.buckets.get_mut(&bucket) {
            for handle in handles.iter().filter_map(|handle| handle.parse().ok()) {
                events.remove(&handle);
            }
            if events.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }
}
