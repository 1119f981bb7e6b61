//! From a line of the archive to a row, without I/O.
//!
//! A line can hold what a column cannot: U+0000, which neither `text` nor `jsonb` takes, text that
//! is too long for an index (a third of a page, 2704 bytes), years before the common era. Such a
//! value is changed to fit and the row says so, since a row that is refused would hold up all after
//! it. The line itself is a column, too, and never changed.

use std::borrow::Cow;

use serde_json::Value;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Category, Outcome};

use crate::copy::month::Month;
use crate::entry::Line;
use crate::error::{Error, Result};

/// Most bytes of a text that is part of an index: three of them and a time fit into one entry.
pub(crate) const MAX_INDEXED_BYTES: usize = 512;

/// The first and the last instant a row holds: the years 1 to 9999.
const FIRST: Timestamp = Timestamp::constant(-62_135_596_800, 0);
const LAST: Timestamp = Timestamp::constant(253_370_764_799, 0);

/// One row.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) month: Month,
    pub(crate) category: Category,
    pub(crate) recorded_at: String,
    pub(crate) writer: [u8; 16],
    pub(crate) sequence: i64,
    pub(crate) id: String,
    pub(crate) occurred_at: String,
    pub(crate) actor_type: String,
    pub(crate) actor_id: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) action: String,
    pub(crate) resource_type: String,
    pub(crate) resource_id: String,
    pub(crate) outcome: &'static str,
    pub(crate) client_ip: Option<String>,
    pub(crate) client_agent: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) details: Option<String>,
    pub(crate) is_exact: bool,
    pub(crate) line: String,
}

impl Row {
    /// The row of a line.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self> {
        let line = Line::decode(bytes)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::corrupt("line is not UTF-8").with_source(error))?;
        let sequence = i64::try_from(line.sequence)
            .map_err(|error| Error::corrupt("line has an absurd number").with_source(error))?;
        let mut fit = Fit { is_exact: true };
        let recorded_at = fit.instant(line.recorded_at);
        let details = (!line.details.is_empty()).then(|| {
            // Only this escape can stand for U+0000.
            if !text.contains("\\u0000") {
                return serde_json::to_string(&line.details).ok();
            }
            let details = line.details.iter().map(|(name, value)| (name.clone(), value.clone()));
            Some(fit.json(Value::Object(details.collect())).to_string())
        });
        Ok(Self {
            month: Month::of(recorded_at),
            category: line.category,
            recorded_at: recorded_at.to_string(),
            writer: *line.writer.as_bytes(),
            sequence,
            id: line.id.to_string(),
            occurred_at: fit.instant(line.occurred_at).to_string(),
            actor_type: fit.indexed(&line.actor.kind),
            actor_id: line.actor.id.as_deref().map(|id| fit.indexed(id)),
            subject: line.sealed.as_ref().map(|sealed| fit.indexed(sealed.subject.as_str())),
            action: fit.indexed(&line.action),
            resource_type: fit.indexed(&line.resource.kind),
            resource_id: fit.indexed(&line.resource.id),
            outcome: outcome(line.outcome),
            client_ip: line.client.ip.map(|ip| ip.to_string()),
            client_agent: line.client.user_agent.as_deref().map(|agent| fit.text(agent).into()),
            request_id: line.request_id.as_deref().map(|id| fit.indexed(id)),
            trace_id: line.trace_id.as_deref().map(|id| fit.text(id).into()),
            details: details.flatten(),
            is_exact: fit.is_exact,
            line: text.to_owned(),
        })
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Denied => "denied",
        Outcome::Failure => "failure",
        _ => "unknown",
    }
}

/// Changes values so that a column takes them, and remembers whether it had to.
struct Fit {
    is_exact: bool,
}

impl Fit {
    /// In microseconds, as Postgres keeps time: never later than it was.
    fn instant(&mut self, instant: Timestamp) -> Timestamp {
        let kept = instant.clamp(FIRST, LAST);
        self.is_exact &= kept == instant;
        Timestamp::from_microsecond(kept.as_nanosecond().div_euclid(1_000).try_into().unwrap_or(0))
            .unwrap_or(kept)
    }

    fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        if !text.contains('\0') {
            return Cow::Borrowed(text);
        }
        self.is_exact = false;
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    }

    fn indexed(&mut self, text: &str) -> String {
        let mut text = self.text(text).into_owned();
        if text.len() > MAX_INDEXED_BYTES {
            self.is_exact = false;
            text.truncate(text.floor_char_boundary(MAX_INDEXED_BYTES));
        }
        text
    }

    /// Details are nested 32 levels deep at most.
    fn json(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(values) => {
                Value::Array(values.into_iter().map(|value| self.json(value)).collect())
            }
            Value::Object(map) => Value::Object(
                map.into_iter()
                    .map(|(name, value)| (self.text(&name).into_owned(), self.json(value)))
                    .collect(),
            ),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use watchdog_core::audit::{Actor, Client, Entry, Resource};

    use crate::entry::Place;
    use crate::writer_id::WriterId;

    fn entry() -> Entry {
        Entry::new(
            Uuid::from_u128(1),
            Timestamp::constant(1_767_225_600, 1_999),
            Category::Security,
            Actor::user("alice"),
            "session.issued",
            Resource::new("session", "s1"),
        )
        .with_outcome(Outcome::Denied)
    }

    fn row_at(recorded_at: Timestamp, entry: Entry) -> Row {
        let place = Place { writer: WriterId::from_bytes([7; 16]), sequence: 3, recorded_at };
        Row::of(&Line::plain(place, entry).encode().unwrap()).unwrap()
    }

    fn row(entry: Entry) -> Row {
        row_at(Timestamp::constant(1_767_225_601, 5_000), entry)
    }

    #[test]
    fn a_row_has_every_field_of_its_line() {
        let client = Client::new(Some([192, 0, 2, 1].into()), Some("curl".into()));
        let entry = entry().with_client(client).with_request_id("r1").with_detail("n", 1);
        let row = row(entry);
        assert_eq!(row.recorded_at, "2026-01-01T00:00:01.000005Z");
        assert_eq!(row.occurred_at, "2026-01-01T00:00:00.000001Z");
        assert_eq!((row.writer, row.sequence), ([7; 16], 3));
        assert_eq!((row.actor_type.as_str(), row.actor_id.as_deref()), ("user", Some("alice")));
        assert_eq!((row.outcome, row.action.as_str()), ("denied", "session.issued"));
        assert_eq!((row.resource_type.as_str(), row.resource_id.as_str()), ("session", "s1"));
        assert_eq!(row.client_ip.as_deref(), Some("192.0.2.1"));
        assert_eq!(row.client_agent.as_deref(), Some("curl"));
        assert_eq!(row.request_id.as_deref(), Some("r1"));
        assert_eq!(row.details.as_deref(), Some("{\"n\":1}"));
        assert!(row.is_exact && row.subject.is_none() && row.trace_id.is_none());
        assert_eq!(Row::of(row.line.as_bytes()).unwrap(), row);
    }

    #[test]
    fn a_nul_is_replaced_wherever_it_stands_and_kept_in_the_line() {
        let mut entry = entry()
            .with_request_id("r\0")
            .with_detail("k\0", serde_json::json!({"a\0": ["b\0", {"c": "d\0"}]}));
        entry.action = "a\0".into();
        entry.resource = Resource::new("t\0", "i\0");
        entry.actor = Actor { kind: "k\0".into(), id: "u\0".into() };
        entry.trace_id = Some("t\0".into());
        entry.client.user_agent = Some("g\0".into());
        let row = row(entry);
        let shown = format!("{row:?}");
        assert!(!row.is_exact);
        assert!(row.line.contains("\\u0000"));
        let without_line = shown.split(", line: ").next().unwrap();
        assert!(!without_line.contains("\\0") && !without_line.contains("u0000"), "{shown}");
        assert_eq!(row.resource_id, "i\u{FFFD}");
    }

    #[test]
    fn an_escaped_backslash_before_u0000_is_no_nul() {
        let row = row(entry().with_detail("path", "C:\\u0000"));
        assert!(row.is_exact);
        assert_eq!(row.details.as_deref(), Some("{\"path\":\"C:\\\\u0000\"}"));
    }

    #[test]
    fn what_is_too_long_for_an_index_is_cut_between_characters() {
        let mut long = entry();
        long.resource = Resource::new("file", format!("x{}", "ä".repeat(300)));
        let cut = row(long);
        assert!(!cut.is_exact);
        assert_eq!(cut.resource_id.len(), 511);
        let mut fits = entry();
        fits.resource = Resource::new("file", "x".repeat(MAX_INDEXED_BYTES));
        assert!(row(fits).is_exact);
    }

    #[test]
    fn absurd_times_are_moved_into_what_postgres_takes() {
        let mut early = entry();
        early.occurred_at = Timestamp::MIN;
        let row = row_at(Timestamp::MAX, early);
        assert!(!row.is_exact);
        assert_eq!(row.occurred_at, "0001-01-01T00:00:00Z");
        assert_eq!(row.month.first_day(), "9998-12-01");
    }

    #[test]
    fn what_is_not_a_line_is_refused() {
        assert!(Row::of(b"{}").is_err());
        assert!(Row::of(b"\xff").is_err());
    }
}
