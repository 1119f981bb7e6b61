//! A part of the cache: a bounded table, without locks, clock or I/O.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::place::{Location, Place};
use crate::record::{Common, Millis};
use crate::session::Facts;
use crate::token::SESSION_TOKEN_CHARS;

/// The text of a token.
pub(super) type TokenText = [u8; SESSION_TOKEN_CHARS];

/// What was read and checked of a session.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) place: Place,
    pub(crate) facts: Arc<Facts>,
    pub(crate) common: Common,
}

struct Entry {
    token: TokenText,
    known: Known,
    until: Millis,
    /// Found since the hand passed last.
    is_used: bool,
}

/// Entries in a ring: whoever needs room takes that of the first one, after a hand that goes
/// round, which was not found since it passed last.
pub(super) struct Shard {
    capacity: usize,
    ring: Vec<Option<Entry>>,
    free: Vec<u32>,
    hand: usize,
    users: HashMap<Location, Vec<u32>>,
    /// Counts whatever makes an answer under way worthless.
    version: u64,
    /// No read begun before may be kept.
    closed_until: Option<Instant>,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("entries", &self.len()).finish_non_exhaustive()
    }
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ring: Vec::new(),
            free: Vec::new(),
            hand: 0,
            users: HashMap::new(),
            version: 0,
            closed_until: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len() - self.free.len()
    }

    pub(super) fn find(&mut self, place: Place, token: &[u8], now: Millis) -> Option<Known> {
        let indices = self.users.get(&place.location)?;
        let index = *indices.iter().find(|&&index| self.is_at(index, place))?;
        let entry = self.ring.get_mut(index as usize)?.as_mut()?;
        // Whoever guesses at a token must not learn from the time it takes.
        verify_slices_are_equal(&entry.token, token).ok()?;
        if now >= entry.until {
            self.remove(index);
            return None;
        }
        entry.is_used = true;
        Some(entry.known.clone())
    }

    /// What a read has to hand in with its answer; `None` when the answer could not be kept.
    pub(super) fn begin(&self, at: Instant) -> Option<u64> {
        self.closed_until.is_none_or(|until| at >= until).then_some(self.version)
    }

    /// Keeps an answer if nothing changed since its read began.
    pub(super) fn keep(
        &mut self,
        version: u64,
        token: TokenText,
        known: &Known,
        until: Millis,
        now: Millis,
    ) {
        if version != self.version || self.capacity == 0 {
            return;
        }
        let place = known.place;
        let entry = Entry { token, known: known.clone(), until, is_used: false };
        let indices = self.users.get(&place.location);
        let known_index =
            indices.and_then(|all| all.iter().copied().find(|&index| self.is_at(index, place)));
        let index = match known_index {
            Some(index) => index,
            None => {
                let index = self.room(now);
                self.users.entry(place.location).or_default().push(index);
                index
            }
        };
        if let Some(slot) = self.ring.get_mut(index as usize) {
            *slot = Some(entry);
        }
    }

    /// Forgets a user, and what is being read of any.
    pub(super) fn forget(&mut self, location: Location) {
        self.version += 1;
        for index in self.users.remove(&location).unwrap_or_default() {
            self.vacate(index);
        }
    }

    /// Forgets everybody; no read begun before `closed_until` is kept.
    pub(super) fn clear(&mut self, closed_until: Option<Instant>) {
        self.version += 1;
        self.closed_until = self.closed_until.max(closed_until);
        self.ring = Vec::new();
        self.free = Vec::new();
        self.users = HashMap::new();
        self.hand = 0;
    }

    fn is_at(&self, index: u32, place: Place) -> bool {
        let entry = self.ring.get(index as usize).and_then(Option::as_ref);
        entry.is_some_and(|entry| entry.known.place == place)
    }

    /// An empty place in the ring.
    fn room(&mut self, now: Millis) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        if self.ring.len() < self.capacity {
            self.ring.push(None);
            return u32::try_from(self.ring.len() - 1).unwrap_or(u32::MAX);
        }
        // Ends after two rounds at the latest: the first one takes all marks away.
        loop {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.ring.len();
            match self.ring.get_mut(index).and_then(Option::as_mut) {
                Some(entry) if entry.is_used && now < entry.until => entry.is_used = false,
                _ => {
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    self.remove(index);
                    // What was made free just now is the last one.
                    return self.free.pop().unwrap_or(index);
                }
            }
        }
    }

    fn remove(&mut self, index: u32) {
        let entry = self.ring.get(index as usize).and_then(Option::as_ref);
        let Some(location) = entry.map(|entry| entry.known.place.location) else { return };
        self.vacate(index);
        if let Some(indices) = self.users.get_mut(&location) {
            indices.retain(|&other| other != index);
            if indices.is_empty() {
                self.users.remove(&location);
            }
        }
    }

    fn vacate(&mut self, index: u32) {
        if let Some(slot) = self.ring.get_mut(index as usize)
            && slot.take().is_some()
        {
            self.free.push(index);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
