//! What stands: which primaries are tracked, and whether that is all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Invalidations;
use super::slots::{Owner, View, is_covered};
use crate::redis::metric;

/// One tracked primary.
#[derive(Debug)]
struct Node {
    id: String,
    /// When the last question was sent that has its answer.
    confirmed: Instant,
    /// How it sees the Cluster; `None` where there is none.
    view: Option<View>,
}

#[derive(Debug, Default)]
struct State {
    is_standing: bool,
    nodes: HashMap<u64, Node>,
    next: u64,
    /// What the last node said that could not be tracked itself, such as a replica.
    hint: Option<View>,
}

impl State {
    fn is_whole(&self) -> bool {
        let views =
            || self.nodes.values().filter_map(|node| Some((&*node.id, node.view.as_ref()?)));
        // Without a Cluster one primary is all there is.
        self.nodes.values().any(|node| node.view.is_none()) || is_covered(views())
    }
}

/// Shared by the connections of one [`Tracking`](super::Tracking).
pub(super) struct Board {
    to: Arc<dyn Invalidations>,
    start: Instant,
    /// [`Board::confirmed_at`] in nanoseconds after `start`; 0 while lost.
    confirmed: AtomicU64,
    is_closed: AtomicBool,
    /// Held while `lost` and `restored` are called, so that they keep their order.
    state: Mutex<State>,
    /// Something changed that the supervisor looks at.
    pub(super) news: Notify,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("confirmed_at", &self.confirmed_at()).finish_non_exhaustive()
    }
}

impl Board {
    pub(super) fn new(to: Arc<dyn Invalidations>) -> Self {
        // A moment back, so that no later instant is 0.
        let start =
            Instant::now().checked_sub(Duration::from_nanos(1)).unwrap_or_else(Instant::now);
        Self {
            to,
            start,
            confirmed: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            state: Mutex::default(),
            news: Notify::new(),
        }
    }

    pub(super) fn confirmed_at(&self) -> Option<Instant> {
        match self.confirmed.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(self.start + Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn changed(&self, key: &[u8]) {
        metric::invalidated();
        if !self.is_closed.load(Ordering::Acquire) {
            self.to.changed(key);
        }
    }

    /// The server dropped all keys.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        self.lose(&mut state);
        self.settle(&mut state);
    }

    /// A primary is tracked from now on, for as long as the guard lives; `None` when it is
    /// tracked already, under another address.
    pub(super) fn stand(
        self: &Arc<Self>,
        id: &str,
        view: Option<View>,
        confirmed: Instant,
    ) -> Option<Standing> {
        let mut state = self.state();
        if state.nodes.values().any(|node| node.id == id) {
            return None;
        }
        let key = state.next;
        state.next += 1;
        state.nodes.insert(key, Node { id: id.to_owned(), confirmed, view });
        metric::tracked(1.0);
        self.settle(&mut state);
        self.news.notify_one();
        Some(Standing { board: Arc::clone(self), key })
    }

    /// What a node knows that cannot be tracked.
    pub(super) fn hint(&self, view: View) {
        self.state().hint = Some(view);
        self.news.notify_one();
    }

    /// The primaries that are known of and not tracked; `None` when nothing is tracked and
    /// nothing known.
    pub(super) fn missing(&self) -> Option<Vec<Owner>> {
        let state = self.state();
        let mut views: Vec<&View> = state.nodes.values().filter_map(|n| n.view.as_ref()).collect();
        let is_blind = views.is_empty();
        views.extend(state.hint.as_ref().filter(|_| is_blind));
        let mut missing: Vec<Owner> = Vec::new();
        for owner in views.iter().flat_map(|view| view.owners()) {
            let is_known = state.nodes.values().any(|node| node.id == owner.id)
                || missing.iter().any(|known| known.id == owner.id);
            if !is_known {
                missing.push(owner.clone());
            }
        }
        (!is_blind || !missing.is_empty()).then_some(missing)
    }

    /// Whether any primary is tracked.
    pub(super) fn has_nodes(&self) -> bool {
        !self.state().nodes.is_empty()
    }

    /// Ends it: nobody is told anything after this, but that it is lost.
    pub(super) fn close(&self) {
        let mut state = self.state();
        self.lose(&mut state);
        self.is_closed.store(true, Ordering::Release);
    }

    /// Compares what stands with what has to.
    fn settle(&self, state: &mut State) {
        if self.is_closed.load(Ordering::Acquire) {
            return;
        }
        if !state.is_whole() {
            self.lose(state);
            return;
        }
        let oldest = state.nodes.values().map(|node| node.confirmed).min();
        let since = oldest.unwrap_or(self.start).saturating_duration_since(self.start);
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.confirmed.store(nanos, Ordering::Release);
        if !state.is_standing {
            state.is_standing = true;
            tracing::debug!(connections = state.nodes.len(), "redis reports changes");
            self.to.restored();
        }
    }

    fn lose(&self, state: &mut State) {
        if std::mem::take(&mut state.is_standing) {
            self.confirmed.store(0, Ordering::Release);
            metric::tracking_lost();
            tracing::debug!("redis may not report changes");
            self.to.lost();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A primary that is tracked; dropping it says that it no longer is.
#[derive(Debug)]
pub(super) struct Standing {
    board: Arc<Board>,
    key: u64,
}

impl Standing {
    /// Every change before `sent` has arrived from this primary.
    pub(super) fn confirm(&self, sent: Instant) {
        self.change(|node| node.confirmed = sent);
    }

    /// How it sees the Cluster now.
    pub(super) fn see(&self, view: View) {
        self.change(|node| node.view = Some(view));
        self.board.news.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut Node)) {
        let mut state = self.board.state();
        if let Some(node) = state.nodes.get_mut(&self.key) {
            change(node);
        }
        self.board.settle(&mut state);
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.nodes.remove(&self.key);
        metric::tracked(-1.0);
        // Even when others cover its slots: they were its own until now.
        self.board.lose(&mut state);
        self.board.settle(&mut state);
        self.board.news.notify_one();
    }
}

#[cfg(test)]
mod tests;
