//! The best lines so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::Line;
use crate::error::Result;
#[cfg(feature = "objects")]
use crate::manifest::TimeRange;
use crate::query::cursor::{Cursor, Position};
use crate::query::{Filter, Order};

/// Most bytes the lines of a page take, unless it is a single one: 16 MiB.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// A line that is asked for, and its bytes as they are stored.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) line: Line<'static>,
    size: usize,
    #[cfg(feature = "objects")]
    pub(crate) bytes: Vec<u8>,
}

/// As many lines as a page takes, and one more to know whether there is a next page.
#[derive(Debug)]
pub(crate) struct Best {
    filter: Arc<Filter>,
    hits: BTreeMap<Position, Hit>,
    /// Bytes of the lines.
    bytes: usize,
    /// Nothing that does not come before this is of interest.
    bound: Option<Position>,
    /// Whether lines from the bound on were left out because the others take enough bytes.
    is_cut: bool,
}

impl Best {
    pub(crate) fn new(filter: Arc<Filter>) -> Self {
        Self { filter, hits: BTreeMap::new(), bytes: 0, bound: None, is_cut: false }
    }

    /// An empty one of the same query that takes only what would still come into the page.
    #[cfg(feature = "objects")]
    pub(crate) fn branch(&self) -> Self {
        Self { bound: self.worst(), ..Self::new(Arc::clone(&self.filter)) }
    }

    #[cfg(feature = "objects")]
    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Looks at a line by its bytes.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.filter.may_take(bytes) {
            return Ok(());
        }
        // Most lines of a wide query are beyond the page, and reading JSON is what costs.
        if let Some(at) = self.filter.occurred_at(bytes) {
            let is_late = self.worst().is_some_and(|worst| match self.filter.order() {
                Order::NewestFirst => at < worst.occurred_at,
                Order::OldestFirst => at > worst.occurred_at,
            });
            if is_late || !self.filter.takes_instant(at) {
                return Ok(());
            }
        }
        let line = Line::decode(bytes)?;
        if self.filter.takes(&line) {
            let hit = Hit {
                #[cfg(feature = "objects")]
                bytes: bytes.to_vec(),
                size: bytes.len(),
                line: line.into_owned(),
            };
            self.insert(Position::of(&hit.line), hit);
        }
        Ok(())
    }

    /// Takes what a branch has found.
    #[cfg(feature = "objects")]
    pub(crate) fn merge(&mut self, branch: Self) {
        for (position, hit) in branch.hits {
            self.insert(position, hit);
        }
        if let (true, Some(bound)) = (branch.is_cut, branch.bound) {
            self.cut(bound);
        }
    }

    fn insert(&mut self, position: Position, hit: Hit) {
        let order = self.filter.order();
        if self.worst().is_some_and(|worst| !position.is_before(worst, order)) {
            return;
        }
        self.bytes += hit.size;
        // The same entry from store and archive is one.
        if let Some(same) = self.hits.insert(position, hit) {
            self.bytes -= same.size;
        }
        if self.hits.len() > self.filter.limit() + 1 {
            self.pop();
        }
        while self.bytes > PAGE_BYTES && self.hits.len() > 1 {
            self.bound = self.pop();
            self.is_cut = true;
        }
    }

    /// Takes the last one out.
    fn pop(&mut self) -> Option<Position> {
        let (position, hit) = match self.filter.order() {
            Order::NewestFirst => self.hits.pop_first(),
            Order::OldestFirst => self.hits.pop_last(),
        }?;
        self.bytes -= hit.size;
        Some(position)
    }

    /// Leaves out what does not come before a position.
    #[cfg(feature = "objects")]
    fn cut(&mut self, bound: Position) {
        let order = self.filter.order();
        if self.bound.is_none_or(|own| bound.is_before(own, order)) {
            self.bound = Some(bound);
        }
        self.is_cut = true;
        self.hits.retain(|position, _| position.is_before(bound, order));
        self.bytes = self.hits.values().map(|hit| hit.size).sum();
    }

    /// The last position that still matters, once the page is full.
    fn worst(&self) -> Option<Position> {
        if self.hits.len() <= self.filter.limit() {
            return self.bound;
        }
        let worst = match self.filter.order() {
            Order::NewestFirst => self.hits.first_key_value(),
            Order::OldestFirst => self.hits.last_key_value(),
        };
        worst.map(|(position, _)| *position)
    }

    /// Whether nothing of this range can come into the page any more.
    #[cfg(feature = "objects")]
    pub(crate) fn is_settled_before(&self, range: TimeRange) -> bool {
        self.worst().is_some_and(|worst| match self.filter.order() {
            Order::NewestFirst => worst.occurred_at > range.to,
            Order::OldestFirst => worst.occurred_at < range.from,
        })
    }

    /// The page in the order of the query, and where to go on.
    pub(crate) fn finish(self) -> (Vec<Hit>, Option<Cursor>) {
        let has_more = self.hits.len() > self.filter.limit() || self.is_cut;
        let reads_until = self.filter.reads_until();
        let mut hits: Vec<_> = self.hits.into_iter().collect();
        if self.filter.order() == Order::NewestFirst {
            hits.reverse();
        }
        hits.truncate(self.filter.limit());
        let last = hits.last().filter(|_| has_more).map(|(after, _)| *after);
        let next = last.map(|after| Cursor { after, reads_until });
        (hits.into_iter().map(|(_, hit)| hit).collect(), next)
    }
}

#[cfg(test)]
mod tests;
