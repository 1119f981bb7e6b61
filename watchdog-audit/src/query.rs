//! Queries over what waits in the store and what is archived, as one ordered list.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use watchdog_core::Timestamp;
use watchdog_core::audit::Actor;

#[cfg(feature = "objects")]
use crate::chain::{Chain, FaultKind};
use crate::entry::{Line, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::live;
use crate::log::AuditLog;
#[cfg(feature = "objects")]
use crate::manifest::{ArchivedObject, TimeRange};
use crate::personal::SubjectHandle;
use crate::writer_id::WriterId;

/// Most records of one page.
pub const MAX_PAGE: usize = 1000;

/// What to look for. Everything set must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    actor: Option<Actor>,
    action: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: usize,
    cursor: Option<Cursor>,
    order: Order,
}

/// In which order records come, by when they occurred.
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

    /// At most this many records a page, from 1 to [`MAX_PAGE`].
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

    fn takes(&self, line: &Line, handles: &[SubjectHandle]) -> bool {
        self.action.as_ref().is_none_or(|action| *action == line.action)
            && self.from.is_none_or(|from| line.occurred_at >= from)
            && self.to.is_none_or(|to| line.occurred_at < to)
            && self.actor.as_ref().is_none_or(|actor| {
                let is_plain = line.actor.kind == actor.kind
                    && line.actor.id.as_ref().is_some_and(|id| *id == actor.id);
                let sealed = line.sealed.as_ref();
                is_plain || sealed.is_some_and(|sealed| handles.contains(&sealed.subject))
            })
            && self.cursor.is_none_or(|cursor| self.is_before(cursor, Cursor::of(line)))
    }

    /// Whether `a` comes before `b` in the order of this query.
    fn is_before(&self, a: Cursor, b: Cursor) -> bool {
        match self.order {
            Order::NewestFirst => a > b,
            Order::OldestFirst => a < b,
        }
    }

    #[cfg(feature = "objects")]
    fn may_be_in(&self, range: TimeRange) -> bool {
        let cursor = self.cursor.map(|cursor| cursor.occurred_at);
        let (from, to) = match self.order {
            Order::NewestFirst => (self.from, cursor),
            Order::OldestFirst => (self.from.max(cursor), None),
        };
        from.is_none_or(|from| range.to >= from)
            && to.is_none_or(|to| range.from <= to)
            && self.to.is_none_or(|to| range.from < to)
    }
}

/// Where a page ended: opaque text, to be handed back with the same query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    occurred_at: Timestamp,
    writer: WriterId,
    sequence: u64,
}

impl Cursor {
    fn of(line: &Line) -> Self {
        Self { occurred_at: line.occurred_at, writer: line.writer, sequence: line.sequence }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.occurred_at.as_nanosecond(), self.writer, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split('.');
            let nanos = parts.next()?.parse().ok()?;
            let cursor = Self {
                occurred_at: Timestamp::from_nanosecond(nanos).ok()?,
                writer: parts.next()?.parse().ok()?,
                sequence: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(cursor)
        };
        parse().ok_or_else(|| Error::new(ErrorKind::Misuse, "not a cursor of this log"))
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

/// The best lines so far: as many as the page takes, and one more to know whether there is a next.
struct Best<'a> {
    query: &'a Query,
    handles: Vec<SubjectHandle>,
    lines: BTreeMap<Cursor, Line>,
}

impl Best<'_> {
    fn offer(&mut self, line: Line) {
        if !self.query.takes(&line, &self.handles) {
            return;
        }
        self.lines.insert(Cursor::of(&line), line);
        if self.lines.len() > self.query.limit + 1 {
            match self.query.order {
                Order::NewestFirst => self.lines.pop_first(),
                Order::OldestFirst => self.lines.pop_last(),
            };
        }
    }

    /// Whether nothing of this range can come into the page any more.
    #[cfg(feature = "objects")]
    fn is_settled_before(&self, range: TimeRange) -> bool {
        if self.lines.len() <= self.query.limit {
            return false;
        }
        match self.query.order {
            Order::NewestFirst => {
                self.lines.first_key_value().is_some_and(|(worst, _)| worst.occurred_at > range.to)
            }
            Order::OldestFirst => {
                self.lines.last_key_value().is_some_and(|(worst, _)| worst.occurred_at < range.from)
            }
        }
    }
}

impl AuditLog {
    /// One page of the records a query asks for: what waits in the store and what is archived,
    /// each record once. Holds at most a page and one object in memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when an object of the archive is not what was archived, else as of
    /// store and bucket.
    pub async fn query(&self, query: &Query) -> Result<Page> {
        let inner = self.inner();
        let handles = match (&query.actor, inner.keys()) {
            (Some(actor), Some(keys)) => keys.handles(actor).await?,
            _ => Vec::new(),
        };
        let mut best = Best { query, handles, lines: BTreeMap::new() };
        // The store first: what is archived in between is then found in the archive, once.
        for partition in 0..inner.store().partitions() {
            let waiting = live::list(inner.store(), partition).await?.segments;
            let unarchived = live::list_unarchived(inner.store(), partition).await?;
            for segment in waiting.into_iter().map(|(segment, _)| segment).chain(unarchived) {
                live::read(inner.store(), segment, |_, frame| {
                    // A frame that was read has lines that decode.
                    frame.lines().filter_map(|line| Line::decode(line).ok()).for_each(|line| {
                        best.offer(line);
                    });
                })
                .await?;
            }
        }
        let mut page = Page::default();
        #[cfg(feature = "objects")]
        if let Some(archive) = inner.archive() {
            let chain = archive.refreshed().await?;
            for object in candidates(&chain, query, &mut page) {
                if best.is_settled_before(object.occurred) {
                    break;
                }
                match archive.lines(object).await? {
                    Ok(lines) => {
                        page.objects_read += 1;
                        for line in lines.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
                            best.offer(Line::decode(line)?);
                        }
                    }
                    Err(fault) if fault.kind == FaultKind::MissingObject => {
                        page.objects_missing += 1;
                    }
                    Err(fault) => return Err(Error::corrupt(fault)),
                }
            }
        }
        self.fill(&mut page, best).await?;
        Ok(page)
    }

    async fn fill(&self, page: &mut Page, best: Best<'_>) -> Result<()> {
        let limit = best.query.limit;
        let is_reversed = best.query.order == Order::NewestFirst;
        let mut lines: Vec<_> = best.lines.into_iter().collect();
        if is_reversed {
            lines.reverse();
        }
        let has_more = lines.len() > limit;
        lines.truncate(limit);
        page.next = lines.last().filter(|_| has_more).map(|(cursor, _)| *cursor);
        for (_, line) in lines {
            let opened = match (&line.sealed, self.inner().keys()) {
                (Some(sealed), Some(keys)) => sealed.open(keys, line.writer, line.sequence).await?,
                _ => None,
            };
            page.records.push(line.into_record(opened));
        }
        Ok(())
    }
}

/// The objects that may hold what is asked for, the most promising first.
#[cfg(feature = "objects")]
fn candidates<'a>(chain: &'a Chain, query: &Query, page: &mut Page) -> Vec<&'a ArchivedObject> {
    let all = chain.manifests().iter().flat_map(|manifest| &manifest.objects);
    let mut found = Vec::new();
    for object in all {
        page.objects_total += 1;
        if query.may_be_in(object.occurred) {
            found.push(object);
        }
    }
    match query.order {
        Order::NewestFirst => found.sort_by_key(|object| std::cmp::Reverse(object.occurred.to)),
        Order::OldestFirst => found.sort_by_key(|object| object.occurred.from),
    }
    found
}
