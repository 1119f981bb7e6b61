//! Queries over what waits in the store and what is archived, as one ordered list.

mod best;
mod cursor;
mod filter;
mod run;
#[cfg(feature = "objects")]
mod scan;

use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Outcome, Resource};

use crate::entry::Record;

#[cfg(feature = "objects")]
pub(crate) use best::Hit;
pub use cursor::Cursor;
pub(crate) use filter::Filter;

/// Most records of one page.
pub const MAX_PAGE: usize = 1000;

/// What to look for. Everything set must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub(crate) actor: Option<Actor>,
    pub(crate) action: Option<String>,
    pub(crate) resource: Option<(String, Option<String>)>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) categories: Vec<Category>,
    pub(crate) request: Option<String>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) order: Order,
}

/// In which order records come, by when they occurred; then by writer and sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            actor: None,
            action: None,
            resource: None,
            outcome: None,
            categories: Vec::new(),
            request: None,
            from: None,
            to: None,
            limit: 100,
            cursor: None,
            order: Order::NewestFirst,
        }
    }
}

impl Query {
    /// Everything, newest first, 100 records a page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only what this actor did.
    #[must_use]
    pub fn with_actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Only this action.
    #[must_use]
    pub fn with_action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Only what was done to this resource.
    #[must_use]
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.resource = Some((resource.kind, Some(resource.id)));
        self
    }

    /// Only what was done to resources of this kind.
    #[must_use]
    pub fn with_resource_kind(mut self, kind: impl Into<String>) -> Self {
        self.resource = Some((kind.into(), None));
        self
    }

    /// Only what ended like this.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Only this category; called again, either.
    #[must_use]
    pub fn with_category(mut self, category: Category) -> Self {
        self.categories.push(category);
        self
    }

    /// Only what belongs to this request.
    #[must_use]
    pub fn with_request_id(mut self, request: impl Into<String>) -> Self {
        self.request = Some(request.into());
        self
    }

    /// Only what occurred at this instant or later.
    #[must_use]
    pub fn with_from(mut self, from: Timestamp) -> Self {
        self.from = Some(from);
        self
    }

    /// Only what occurred before this instant.
    #[must_use]
    pub fn with_to(mut self, to: Timestamp) -> Self {
        self.to = Some(to);
        self
    }

    /// At most this many records a page, from 1 to [`MAX_PAGE`]. Long ones make a page shorter:
    /// whether there is more, [`Page::next`] tells.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, MAX_PAGE);
        self
    }

    /// The page after the one that gave this cursor, of the same query.
    #[must_use]
    pub fn with_cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// The order.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }
}

/// One page of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The records, in the order of the query.
    pub records: Vec<Record>,
    /// Where to go on, `None` at the end.
    pub next: Option<Cursor>,
    /// Objects of the archive that were read for this page.
    pub objects_read: u64,
    /// Objects of the archive there are.
    pub objects_total: u64,
    /// Objects that could hold more and are not in the bucket: expired there, or deleted.
    pub objects_missing: u64,
}
