//! Where a page ends.

use std::fmt;
use std::str::FromStr;

use watchdog_core::Timestamp;

use crate::entry::Line;
use crate::error::{Error, ErrorKind, Result};
use crate::query::Order;
use crate::writer_id::WriterId;

/// Where an entry stands among all: by time, then by its place in the log. It is the same in the
/// store and in the archive, so an entry that moves between two pages keeps its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) occurred_at: Timestamp,
    writer: WriterId,
    sequence: u64,
}

impl Position {
    pub(crate) fn of(line: &Line) -> Self {
        Self { occurred_at: line.occurred_at, writer: line.writer, sequence: line.sequence }
    }

    /// Whether it comes before `other` in this order.
    pub(crate) fn is_before(self, other: Self, order: Order) -> bool {
        match order {
            Order::NewestFirst => self > other,
            Order::OldestFirst => self < other,
        }
    }
}

/// Where a page ended: opaque text, to be handed back with the same query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) after: Position,
    /// Reads of the log recorded at this instant or later are left out: the pages of one query do
    /// not show the reads that those pages are.
    pub(crate) reads_until: Option<Timestamp>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { occurred_at, writer, sequence } = self.after;
        write!(f, "{}.{writer}.{sequence}", occurred_at.as_nanosecond())?;
        self.reads_until.map_or(Ok(()), |until| write!(f, ".r{}", until.as_nanosecond()))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let instant = |text: &str| Timestamp::from_nanosecond(text.parse().ok()?).ok();
        let parse = || {
            let mut parts = text.split('.');
            let after = Position {
                occurred_at: instant(parts.next()?)?,
                writer: parts.next()?.parse().ok()?,
                sequence: parts.next()?.parse().ok()?,
            };
            let reads_until = match parts.next() {
                Some(part) => Some(instant(part.strip_prefix('r')?)?),
                None => None,
            };
            parts.next().is_none().then_some(Self { after, reads_until })
        };
        parse().ok_or_else(|| Error::new(ErrorKind::Misuse, "not a cursor of this log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_from_its_text() {
        let after = Position {
            occurred_at: Timestamp::constant(-5, 0),
            writer: WriterId::from_bytes([9; 16]),
            sequence: 7,
        };
        for reads_until in [None, Some(Timestamp::constant(1_767_225_600, 1))] {
            let cursor = Cursor { after, reads_until };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        let text = Cursor { after, reads_until: None }.to_string();
        for wrong in [format!("{text}.1"), format!("{text}.r"), format!("{text}.r1.r1")] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
