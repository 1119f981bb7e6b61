use std::time::Duration;

use super::Sessions;

impl Sessions {
    /// How far back a change may lie that [`Sessions::authenticate`] does not know of when it
    /// answers from the local cache; `None` while every answer comes from the store: without a
    /// cache, and while the store may not tell of every change.
    ///
    /// A quarter of a second on a quiet day; beyond 1 s nothing is answered from the cache. In a
    /// Cluster a slot that moves to a primary unknown so far is noticed within a second more.
    pub fn staleness(&self) -> Option<Duration> {
        self.inner.cache.as_ref()?.staleness()
    }
}
