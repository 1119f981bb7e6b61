//! The cache as a whole: shards behind locks, and whether they can be trusted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::shard::{Known, Shard, TokenText};
use crate::place::{Location, Place};
use crate::record::Millis;
use crate::store::{Changed, GLOBAL_STALENESS, SessionChanges};
use crate::telemetry;

/// Locks, so that requests rarely wait for each other.
const SHARDS: usize = 64;

/// How long a store may answer with a stamp for everybody that it knew before, and a little more.
const SETTLING: Duration = Duration::from_millis(GLOBAL_STALENESS + 100);

/// What a read has to hand in with its answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    epoch: u64,
    version: u64,
    location: Location,
}

/// All shards.
#[derive(Debug)]
pub(super) struct Shelf {
    shards: Vec<Mutex<Shard>>,
    /// Even while the store tells of every change, odd while it may not; each turn adds one, so
    /// that a read under way at a turn is recognised.
    epoch: AtomicU64,
}

impl Shelf {
    pub(super) fn new(capacity: u32) -> Self {
        // Never more in sum than was asked for.
        let capacity = capacity as usize;
        let shard = |index: usize| capacity / SHARDS + usize::from(index < capacity % SHARDS);
        let shards = (0..SHARDS).map(|index| Mutex::new(Shard::new(shard(index)))).collect();
        Self { shards, epoch: AtomicU64::new(1) }
    }

    pub(super) fn is_standing(&self) -> bool {
        is_standing(self.epoch.load(Ordering::SeqCst))
    }

    pub(super) fn find(&self, place: Place, token: &[u8], now: Millis) -> Option<Known> {
        self.shard(place.location.bucket).find(place, token, now)
    }

    pub(super) fn begin(&self, location: Location, at: Instant) -> Option<Ticket> {
        // The epoch first: a turn after this makes the ticket worthless.
        let epoch = self.epoch.load(Ordering::SeqCst);
        let version = self.shard(location.bucket).begin(at)?;
        is_standing(epoch).then_some(Ticket { epoch, version, location })
    }

    pub(super) fn keep(
        &self,
        ticket: &Ticket,
        token: TokenText,
        known: &Known,
        until: Millis,
        now: Millis,
    ) {
        let mut shard = self.shard(ticket.location.bucket);
        // Within the lock: who turns the epoch empties the shard afterwards.
        if self.epoch.load(Ordering::SeqCst) == ticket.epoch {
            shard.keep(ticket.version, token, known, until, now);
        }
    }

    pub(super) fn forget(&self, location: Location) {
        self.shard(location.bucket).forget(location);
    }

    pub(super) fn forget_everybody(&self) {
        self.clear(None);
    }

    fn shard(&self, bucket: u16) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(bucket) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self, closed_until: Option<Instant>) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear(closed_until);
        }
    }
}

impl SessionChanges for Shelf {
    fn changed(&self, change: Changed) {
        match change {
            Changed::User(location) => self.forget(location),
            Changed::Everybody { bucket } => {
                let until = Instant::now() + SETTLING;
                self.shard(bucket).clear(Some(until));
            }
        }
    }

    fn lost(&self) {
        let epoch = self.epoch.load(Ordering::SeqCst);
        if is_standing(epoch) {
            self.epoch.store(epoch + 1, Ordering::SeqCst);
        }
        self.clear(None);
        telemetry::cache_emptied();
    }

    fn restored(&self) {
        self.clear(Some(Instant::now() + SETTLING));
        let epoch = self.epoch.load(Ordering::SeqCst);
        if !is_standing(epoch) {
            self.epoch.store(epoch + 1, Ordering::SeqCst);
        }
    }
}

fn is_standing(epoch: u64) -> bool {
    epoch.is_multiple_of(2)
}

#[cfg(test)]
mod tests;
