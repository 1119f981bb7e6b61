//! What this process ended lately, for as long as a failover may bring it back.
//!
//! Redis acknowledges a write before its replicas have it: a replica that takes over may not know
//! of the last revocations. Whoever made one remembers it for a while and asserts it again. Nothing
//! here calls a store or asks a clock.
//!
//! An entry is asserted twice when a connection had to be made anew, the second time a little
//! later: the first new connection may lead to a primary that is about to be replaced. And it is
//! asserted when its life ends, before it is forgotten. An entry whose assertion nobody answers
//! stays: an outage does not age it out.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::place::{Location, Place};
use crate::record::Millis;
use crate::store::Outbox;

/// How long an entry is kept at least.
pub(crate) const JOURNAL_LIFE: Duration = Duration::from_secs(60);
/// Most entries; beyond it the oldest goes.
pub(crate) const MOST_ENTRIES: usize = 4096;
/// From the first assertion after a connection was made anew to the second.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// One session.
    Session(Place),
    /// All sessions of a user created up to a time, by the store's clock.
    User { location: Location, up_to: Millis },
    /// All sessions of everybody created up to a time, by the store's clock.
    Everybody { up_to: Millis },
}

/// Whose sessions an entry is about: there is one entry for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Session(Place),
    User(Location),
    Everybody,
}

impl Ended {
    fn whose(self) -> Whose {
        match self {
            Self::Session(place) => Whose::Session(place),
            Self::User { location, .. } => Whose::User(location),
            Self::Everybody { .. } => Whose::Everybody,
        }
    }

    /// Both in one; they are about the same sessions.
    fn or_later(self, other: Self) -> Self {
        match (self, other) {
            (Self::User { location, up_to }, Self::User { up_to: other, .. }) => {
                Self::User { location, up_to: up_to.max(other) }
            }
            (Self::Everybody { up_to }, Self::Everybody { up_to: other }) => {
                Self::Everybody { up_to: up_to.max(other) }
            }
            _ => self,
        }
    }
}

/// What is needed to end it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Why, for the event.
    pub(crate) reason: &'static str,
    /// What its events carried.
    pub(crate) outbox: Option<Outbox>,
}

#[derive(Debug)]
struct Entry {
    ended: Ended,
    cause: Cause,
    number: u64,
    noted_at: Instant,
    due: Instant,
    /// How often it is to be asserted before it may go.
    left: u8,
    tries: u32,
    is_under_way: bool,
}

/// Something to assert now, with the mark to report the answer by.
#[derive(Clone, Debug)]
pub(crate) struct Assertion {
    pub(crate) ended: Ended,
    pub(crate) cause: Cause,
    pub(crate) ticket: Ticket,
}

/// Names one try to assert one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    whose: Whose,
    number: u64,
    round: u64,
}

/// What this process ended lately.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: HashMap<Whose, Entry>,
    /// The entries by age.
    order: BTreeMap<u64, Whose>,
    noted: u64,
    /// How often the connections were made anew.
    round: u64,
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers an end. `false` when the oldest entry had to go for it.
    pub(crate) fn note(&mut self, ended: Ended, cause: Cause, now: Instant) -> bool {
        let whose = ended.whose();
        let before = self.remove(whose);
        let ended = before.map_or(ended, |entry| ended.or_later(entry.ended));
        let is_full = self.entries.len() >= MOST_ENTRIES;
        if is_full && let Some((_, oldest)) = self.order.pop_first() {
            self.entries.remove(&oldest);
        }
        self.noted += 1;
        let number = self.noted;
        let due = now + JOURNAL_LIFE;
        let (left, tries, is_under_way) = (1, 0, false);
        let entry = Entry { ended, cause, number, noted_at: now, due, left, tries, is_under_way };
        self.entries.insert(whose, entry);
        self.order.insert(number, whose);
        !is_full
    }

    /// Whether a session that was created at a time has been ended.
    pub(crate) fn covers(&self, place: &Place, created_at: Millis) -> bool {
        let up_to = |whose| match self.entries.get(&whose).map(|entry| entry.ended) {
            Some(Ended::User { up_to, .. } | Ended::Everybody { up_to }) => created_at <= up_to,
            Some(Ended::Session(_)) => true,
            None => false,
        };
        up_to(Whose::Session(*place))
            || up_to(Whose::User(place.location))
            || up_to(Whose::Everybody)
    }

    /// A connection was made anew: everything is to be asserted, now and once more.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        self.round += 1;
        for entry in self.entries.values_mut() {
            entry.due = now;
            entry.left = 2;
            entry.tries = 0;
            entry.is_under_way = false;
        }
    }

    /// What is to be asserted now, at most so much, the oldest first.
    pub(crate) fn take_due(&mut self, most: usize, now: Instant) -> Vec<Assertion> {
        let mut due = Vec::new();
        for (&number, &whose) in &self.order {
            if due.len() >= most {
                break;
            }
            let Some(entry) = self.entries.get_mut(&whose) else { continue };
            if entry.is_under_way || now < entry.due {
                continue;
            }
            entry.is_under_way = true;
            let ticket = Ticket { whose, number, round: self.round };
            due.push(Assertion { ended: entry.ended, cause: entry.cause.clone(), ticket });
        }
        due
    }

    /// When something is to be asserted next, of what is not under way.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter(|entry| !entry.is_under_way).map(|entry| entry.due).min()
    }

    /// The store answered. An answer to a call from before the connections were made anew says
    /// nothing: an old primary may have given it.
    pub(crate) fn answered(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.under_way(ticket) else { return };
        let end = entry.noted_at + JOURNAL_LIFE;
        entry.is_under_way = false;
        entry.tries = 0;
        entry.left -= 1;
        match entry.left {
            0 if now >= end => {
                self.remove(ticket.whose);
            }
            0 => (entry.left, entry.due) = (1, end),
            _ => entry.due = now + AGAIN_AFTER,
        }
    }

    /// The store did not answer.
    pub(crate) fn failed(&mut self, ticket: Ticket, now: Instant) {
        let Some(entry) = self.under_way(ticket) else { return };
        entry.is_under_way = false;
        entry.due = now + LONGEST_PAUSE.min(FIRST_PAUSE * (1 << entry.tries.min(6)));
        entry.tries = entry.tries.saturating_add(1);
    }

    fn under_way(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        let is_current = ticket.round == self.round;
        let entry = self.entries.get_mut(&ticket.whose)?;
        (is_current && entry.number == ticket.number && entry.is_under_way).then_some(entry)
    }

    fn remove(&mut self, whose: Whose) -> Option<Entry> {
        let entry = self.entries.remove(&whose)?;
        self.order.remove(&entry.number);
        Some(entry)
    }
}
