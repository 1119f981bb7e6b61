//! The local cache: sessions that were checked once, until the store says that they changed.
//!
//! A hit answers without a round trip and without cryptography: the exact token that was checked
//! is presented again, and nothing about its session has changed since. The store pushes every
//! change ([`SessionStore::track`]); whenever a push may be missed the cache is emptied, and every
//! check asks the store until all shards push again.
//!
//! What bounds how stale a hit can be:
//!
//! - a push is processed as soon as it arrives;
//! - a hit needs proof, at most [`MAX_BEHIND`] old, that all earlier changes arrived;
//! - an entry is kept for [`MAX_AGE`] at most, and never beyond the end of its session.
//!
//! A read that was under way when its user's sessions changed is not kept, so an old answer cannot
//! outlive the push that told of the change.

mod forgetting;
mod shard;
mod shelf;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::record::Millis;
use crate::store::{ChangeTracking, GLOBAL_STALENESS, SessionChanges, SessionStore};
use crate::token::place_of;

pub(crate) use forgetting::Forgetting;
pub(crate) use shard::Known;
use shelf::{Shelf, Ticket};

/// Longest life of an entry, in milliseconds.
const MAX_AGE: Millis = 30_000;
/// How old the proof may be that nothing was missed. It is renewed four times a second. Whoever
/// revokes everybody waits as long before it says so.
const MAX_BEHIND: Duration = Duration::from_millis(GLOBAL_STALENESS);

/// Sessions kept in the memory of this process.
#[derive(Debug)]
pub(crate) struct LocalCache {
    shelf: Arc<Shelf>,
    tracking: Box<dyn ChangeTracking>,
}

impl LocalCache {
    /// A cache of so many sessions, and the store that keeps it true; `None` for a store that
    /// does not tell what changes.
    pub(crate) fn new(
        store: &Arc<dyn SessionStore>,
        capacity: u32,
    ) -> Option<(Self, Arc<dyn SessionStore>)> {
        let shelf = Arc::new(Shelf::new(capacity));
        let to: Arc<dyn SessionChanges> = Arc::clone(&shelf) as _;
        let tracking = store.track(to)?;
        let forgetting = Forgetting::new(Arc::clone(store), Arc::clone(&shelf));
        Some((Self { shelf, tracking }, Arc::new(forgetting)))
    }

    /// What is known of the session of exactly this token.
    pub(crate) fn find(&self, token: &str, now: Millis) -> Option<Known> {
        self.staleness().filter(|&behind| behind <= MAX_BEHIND)?;
        self.shelf.find(place_of(token)?, token.as_bytes(), now)
    }

    /// Before a read whose answer may be kept.
    pub(crate) fn begin(&self, place: Place) -> Option<Ticket> {
        self.shelf.begin(place.location, Instant::now())
    }

    /// Keeps the answer, unless something changed since the read began.
    pub(crate) fn keep(&self, ticket: &Ticket, token: &str, known: &Known, now: Millis) {
        let common = &known.common;
        let idle_end = common.last_seen.saturating_add(common.idle_timeout);
        let until = idle_end.min(common.absolute_deadline).min(now.saturating_add(MAX_AGE));
        if let (Ok(token), true) = (token.as_bytes().try_into(), now < until) {
            self.shelf.keep(ticket, token, known, until, now);
        }
    }

    /// How long ago a change may have been that a hit does not know of; `None` while there are no
    /// hits.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        self.tracking.confirmed_at().filter(|_| self.shelf.is_standing()).map(|at| at.elapsed())
    }
}
