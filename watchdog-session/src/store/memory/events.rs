//! The outbox of a store in memory.

use std::collections::HashMap;
use std::time::Duration;

use crate::error::Result;
use crate::model::EventQueue;
use crate::record::Millis;
use crate::store::{Event, StoredEvent, Waiting};

#[derive(Debug, Default)]
pub(super) struct MemoryOutbox {
    buckets: HashMap<u16, EventQueue>,
    /// A bucket that is forgotten and begun anew gives no handle twice.
    last: u64,
}

impl MemoryOutbox {
    pub(super) fn add(&mut self, bucket: u16, events: Vec<Event>) {
        for event in events {
            self.change(bucket, |queue| queue.add(event));
        }
    }

    pub(super) fn claim(
        &mut self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
        now: Millis,
    ) -> Result<Vec<StoredEvent>> {
        let mut seed = [0; 16];
        watchdog_core::fill_random(&mut seed)?;
        seed[..6].copy_from_slice(&now.to_be_bytes()[2..]);
        let claimed = self.change(bucket, |queue| queue.claim(consumer, limit, idle, seed, now));
        Ok(claimed.into_iter().map(|(handle, event)| stored(handle, event)).collect())
    }

    pub(super) fn acknowledge(&mut self, bucket: u16, handles: &[&str]) {
        self.change(bucket, |queue| queue.acknowledge(parsed(handles)));
    }

    pub(super) fn postpone(&mut self, bucket: u16, handles: &[&str], now: Millis) {
        self.change(bucket, |queue| queue.postpone(parsed(handles), now));
    }

    pub(super) fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Vec<StoredEvent> {
        let after = after.and_then(|handle| handle.parse::<u64>().ok()).unwrap_or(0);
        let queue = self.buckets.get(&bucket).into_iter();
        let waiting = queue.flat_map(|queue| queue.entries.range(after + 1..));
        waiting
            .take(limit as usize)
            .map(|(&handle, queued)| stored(handle, queued.event.clone()))
            .collect()
    }

    pub(super) fn waiting(&self, bucket: u16) -> Waiting {
        self.buckets.get(&bucket).map(EventQueue::waiting).unwrap_or_default()
    }

    fn change<T>(&mut self, bucket: u16, change: impl FnOnce(&mut EventQueue) -> T) -> T {
        let queue = self
            .buckets
            .entry(bucket)
            .or_insert_with(|| EventQueue { last: self.last, ..EventQueue::default() });
        let answer = change(queue);
        self.last = self.last.max(queue.last);
        if queue.is_empty() {
            self.buckets.remove(&bucket);
        }
        answer
    }
}

fn stored(handle: u64, event: Event) -> StoredEvent {
    StoredEvent { handle: handle.to_string(), event: Some(event) }
}

fn parsed(handles: &[&str]) -> impl Iterator<Item = u64> {
    handles.iter().filter_map(|handle| handle.parse().ok())
}
