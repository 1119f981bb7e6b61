//! The entry as the log keeps it, and its one line of JSON.

mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};

use crate::error::{Error, ErrorKind, Result};
use crate::personal::{Personal, Sealed};
use crate::writer_id::WriterId;
use text::Text;

/// The version of the line, its field `v`.
pub(crate) const LINE_VERSION: u32 = 1;

/// Longest line of an entry, in bytes, without its newline: 64 KiB.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// How deep lists and objects of a detail may be nested in each other. Readers of JSON have limits
/// of their own, and what cannot be read back must not be acknowledged.
pub const MAX_DETAIL_DEPTH: usize = 32;

/// Refuses an entry whose line could be written and not be read.
pub(crate) fn check(entry: &Entry) -> Result<()> {
    match entry.details.iter().find(|(_, value)| is_deeper(value, MAX_DETAIL_DEPTH)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::new(
            ErrorKind::Misuse,
            format_args!("detail {name} is nested deeper than {MAX_DETAIL_DEPTH} levels"),
        )),
    }
}

fn is_deeper(value: &serde_json::Value, levels: usize) -> bool {
    use serde_json::Value;
    match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(values), Some(left)) => values.iter().any(|value| is_deeper(value, left)),
        (Value::Object(map), Some(left)) => map.values().any(|value| is_deeper(value, left)),
        _ => false,
    }
}

/// An entry as the log keeps it: with the time it was taken, and its place in the sequence of the
/// writer that took it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The process that took the entry.
    pub writer: WriterId,
    /// The place in the writer's sequence: 1 for its first entry, without gaps.
    pub sequence: u64,
    /// When the writer took the entry.
    pub recorded_at: Timestamp,
    /// What happened. Where the personal fields cannot be opened any more they are empty.
    pub entry: Entry,
    /// Whether the personal fields are there: false when their key is gone.
    pub is_readable: bool,
}

/// One line of the log: what is hashed, stored and archived, byte by byte. One that is read borrows
/// its texts from those bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    v: u32,
    pub(crate) writer: WriterId,
    #[serde(rename = "seq")]
    pub(crate) sequence: u64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) id: Uuid,
    pub(crate) occurred_at: Timestamp,
    pub(crate) category: Category,
    #[serde(borrow)]
    pub(crate) actor: LineActor<'a>,
    #[serde(borrow)]
    pub(crate) action: Text<'a>,
    #[serde(borrow)]
    pub(crate) resource: LineResource<'a>,
    pub(crate) outcome: Outcome,
    #[serde(default, skip_serializing_if = "Client::is_empty")]
    pub(crate) client: Client,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    pub(crate) request_id: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    pub(crate) trace_id: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) details: BTreeMap<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<Sealed>,
}

/// What every line begins with: enough to tell which entry it is.
#[cfg(feature = "objects")]
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    v: u32,
    pub(crate) writer: WriterId,
    #[serde(rename = "seq")]
    pub(crate) sequence: u64,
    pub(crate) recorded_at: Timestamp,
}

#[cfg(feature = "objects")]
impl Head {
    /// Reads the beginning of a line and passes over the rest.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let head: Self = decode(bytes)?;
        known(head.v).map(|()| head)
    }
}

/// The actor of a line: without an id when the personal fields are sealed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LineActor<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    pub(crate) id: Option<Text<'a>>,
}

/// The resource of a line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LineResource<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    #[serde(borrow)]
    pub(crate) id: Text<'a>,
}

/// Where an entry stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
    pub(crate) recorded_at: Timestamp,
}

impl<'a> Line<'a> {
    /// The line of an entry whose personal fields stand in the clear.
    pub(crate) fn plain(place: Place, entry: Entry) -> Self {
        Self {
            v: LINE_VERSION,
            writer: place.writer,
            sequence: place.sequence,
            recorded_at: place.recorded_at,
            id: entry.id,
            occurred_at: entry.occurred_at,
            category: entry.category,
            actor: LineActor { kind: entry.actor.kind.into(), id: Some(entry.actor.id.into()) },
            action: entry.action.into(),
            resource: LineResource {
                kind: entry.resource.kind.into(),
                id: entry.resource.id.into(),
            },
            outcome: entry.outcome,
            client: entry.client,
            request_id: entry.request_id.map(Text::from),
            trace_id: entry.trace_id.map(Text::from),
            details: entry.details,
            sealed: None,
        }
    }

    /// The line with texts of its own.
    pub(crate) fn into_owned(self) -> Line<'static> {
        Line {
            v: self.v,
            writer: self.writer,
            sequence: self.sequence,
            recorded_at: self.recorded_at,
            id: self.id,
            occurred_at: self.occurred_at,
            category: self.category,
            actor: LineActor {
                kind: self.actor.kind.into_owned(),
                id: self.actor.id.map(Text::into_owned),
            },
            action: self.action.into_owned(),
            resource: LineResource {
                kind: self.resource.kind.into_owned(),
                id: self.resource.id.into_owned(),
            },
            outcome: self.outcome,
            client: self.client,
            request_id: self.request_id.map(Text::into_owned),
            trace_id: self.trace_id.map(Text::into_owned),
            details: self.details,
            sealed: self.sealed,
        }
    }

    /// Takes the personal fields out and puts what they were sealed to in their place.
    pub(crate) fn with_sealed(mut self, sealed: Sealed) -> Self {
        self.actor.id = None;
        self.client = Client::default();
        self.details.clear();
        self.sealed = Some(sealed);
        self
    }

    /// Puts the personal fields back in the place of what they were sealed to.
    #[cfg(feature = "objects")]
    pub(crate) fn with_opened(mut self, personal: Personal) -> Self {
        self.actor.id = Some(personal.actor.into());
        self.client = personal.client;
        self.details = personal.details;
        self.sealed = None;
        self
    }

    /// The bytes of the line, without a newline.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::Misuse, "entry is not JSON").with_source(error)
        })?;
        if bytes.len() > MAX_LINE_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format_args!("entry takes {} bytes, at most {MAX_LINE_BYTES} fit", bytes.len()),
            ));
        }
        Ok(bytes)
    }

    /// Reads a line.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self> {
        let line: Self = decode(bytes)?;
        known(line.v).map(|()| line)
    }

    /// The record, with the personal fields as they were opened: `None` when their key is gone.
    pub(crate) fn into_record(self, opened: Option<Personal>) -> Record {
        let is_readable = self.sealed.is_none() || opened.is_some();
        let personal = opened.unwrap_or(Personal {
            actor: self.actor.id.map(String::from).unwrap_or_default(),
            client: self.client,
            details: self.details,
        });
        Record {
            writer: self.writer,
            sequence: self.sequence,
            recorded_at: self.recorded_at,
            entry: Entry {
                id: self.id,
                occurred_at: self.occurred_at,
                category: self.category,
                actor: Actor { kind: self.actor.kind.into(), id: personal.actor },
                action: self.action.into(),
                resource: Resource { kind: self.resource.kind.into(), id: self.resource.id.into() },
                outcome: self.outcome,
                client: personal.client,
                request_id: self.request_id.map(String::from),
                trace_id: self.trace_id.map(String::from),
                details: personal.details,
            },
            is_readable,
        }
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    if bytes.len() > MAX_LINE_BYTES {
        return Err(Error::corrupt("line is longer than any the log writes"));
    }
    // Checked as a whole: from bytes every text of a line would be checked on its own.
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::corrupt("line is not UTF-8").with_source(error))?;
    serde_json::from_str(text)
        .map_err(|error| Error::corrupt("line is not an entry").with_source(error))
}

fn known(version: u32) -> Result<()> {
    if version == LINE_VERSION {
        return Ok(());
    }
    Err(Error::corrupt(format_args!("line has the unknown version {version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            writer: WriterId::from_bytes([7; 16]),
            sequence: 3,
            recorded_at: Timestamp::constant(1_767_225_601, 5_000),
        }
    }

    fn entry() -> Entry {
        Entry::new(
            Uuid::from_u128(1),
            Timestamp::constant(1_767_225_600, 0),
            Category::Security,
            Actor::user("alice"),
            "session.issued",
            Resource::new("session", "s1"),
        )
        .with_outcome(Outcome::Success)
        .with_detail("n", 1)
    }

    #[test]
    fn the_line_of_version_1_stays_as_it_is() {
        let line = Line::plain(place(), entry()).encode().unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"v\":1,\"writer\":\"07070707070707070707070707070707\",\"seq\":3,\
             \"recorded_at\":\"2026-01-01T00:00:01.000005Z\",\
             \"id\":\"00000000-0000-0000-0000-000000000001\",\
             \"occurred_at\":\"2026-01-01T00:00:00Z\",\"category\":\"security\",\
             \"actor\":{\"type\":\"user\",\"id\":\"alice\"},\"action\":\"session.issued\",\
             \"resource\":{\"type\":\"session\",\"id\":\"s1\"},\"outcome\":\"success\",\
             \"details\":{\"n\":1}}"
        );
    }

    #[test]
    fn a_line_reads_back_as_the_entry() {
        let line = Line::plain(place(), entry()).encode().unwrap();
        let record = Line::decode(&line).unwrap().into_record(None);
        assert_eq!(record.entry, entry());
        assert_eq!((record.writer, record.sequence), (place().writer, 3));
        assert!(record.is_readable);
    }

    #[test]
    fn an_entry_over_64_kib_is_refused() {
        let long = "x".repeat(MAX_LINE_BYTES);
        let error = Line::plain(place(), entry().with_detail("x", long)).encode().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_detail_of_32_levels_is_read_back_and_a_deeper_one_refused() {
        let nested = |levels: usize| {
            (1..levels).fold(serde_json::json!([]), |inner, level| {
                if level % 2 == 0 {
                    serde_json::json!([inner])
                } else {
                    serde_json::json!({"n": inner})
                }
            })
        };
        let deepest = entry().with_detail("x", nested(MAX_DETAIL_DEPTH));
        check(&deepest).unwrap();
        Line::decode(&Line::plain(place(), deepest).encode().unwrap()).unwrap();
        for levels in [MAX_DETAIL_DEPTH + 1, 127, 500] {
            let error = check(&entry().with_detail("x", nested(levels))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse, "{levels} levels");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let line = Line::plain(place(), entry()).encode().unwrap();
        let line = String::from_utf8(line).unwrap().replace("\"v\":1", "\"v\":2");
        assert_eq!(Line::decode(line.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
