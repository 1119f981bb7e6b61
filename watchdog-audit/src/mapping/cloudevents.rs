//! A record as a CloudEvent 1.0.

use std::fmt::Write as _;

use serde_json::{Value, json};
use watchdog_core::audit::Resource;

use crate::entry::Record;
use crate::error::{Error, ErrorKind, Result};

/// What the types of events begin with.
const TYPE: &str = "watchdog.audit.v1.";

/// A record as a CloudEvent in structured JSON mode, to be sent as `application/cloudevents+json`.
/// `source` is a URI reference that says which service the log is of: `/notes/audit`,
/// `https://example.com/notes`. Source and id together are unique.
///
/// # Errors
///
/// [`ErrorKind::Misuse`] when `source` is empty or has letters that no URI has.
pub fn to_cloudevent(record: &Record, source: &str) -> Result<Value> {
    if !is_reference(source) {
        return Err(Error::new(ErrorKind::Misuse, "the source of a CloudEvent is a URI reference"));
    }
    let entry = &record.entry;
    let mut event = json!({
        "specversion": "1.0",
        "id": entry.id.to_string(),
        "source": source,
        "type": format!("{TYPE}{}", plain(&entry.action)),
        "time": entry.occurred_at.to_string(),
        "datacontenttype": "application/json",
        "recordedtime": record.recorded_at.to_string(),
        // As text its order is that of the numbers.
        "sequence": format!("{:020}", record.sequence),
        "partitionkey": record.writer.to_string(),
        "data": data(record),
    });
    if let Some(subject) = subject(&entry.resource) {
        event["subject"] = subject.into();
    }
    Ok(event)
}

fn data(record: &Record) -> Value {
    let entry = &record.entry;
    json!({
        "category": entry.category,
        "actor": entry.actor,
        "action": entry.action,
        "resource": entry.resource,
        "outcome": entry.outcome,
        "client": entry.client,
        "request_id": entry.request_id,
        "trace_id": entry.trace_id,
        "details": entry.details,
        "readable": record.is_readable,
    })
}

fn subject(resource: &Resource) -> Option<String> {
    let Resource { kind, id } = resource;
    match (kind.is_empty(), id.is_empty()) {
        (true, true) => None,
        (false, true) => Some(plain(kind)),
        (true, false) => Some(plain(id)),
        (false, false) => Some(plain(&format!("{kind}/{id}"))),
    }
}

/// The letters of a URI (RFC 3986, section 2), which are all that a reference is checked for.
fn is_reference(text: &str) -> bool {
    let is_letter =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

/// Text with what the type String of CloudEvents 1.0 forbids, control characters and
/// noncharacters, written as `%` and the bytes.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_forbidden(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // Writing into a text does not fail.
                let _ = write!(plain, "%{byte:02X}");
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use watchdog_core::Timestamp;
    use watchdog_core::audit::{Actor, Category, Entry, Outcome};

    use super::*;
    use crate::writer_id::WriterId;

    fn record(resource: Resource) -> Record {
        let (id, actor) = (Uuid::from_u128(7), Actor::user("alice"));
        let occurred_at = Timestamp::constant(1_767_225_600, 0);
        let category = Category::Application;
        let entry = Entry::new(id, occurred_at, category, actor, "note.read", resource)
            .with_outcome(Outcome::Success);
        Record {
            writer: WriterId::from_bytes([1; 16]),
            sequence: 12,
            recorded_at: Timestamp::constant(1_767_225_601, 0),
            entry,
            is_readable: true,
        }
    }

    #[test]
    fn the_attributes_say_what_when_and_of_what() {
        let event = to_cloudevent(&record(Resource::new("note", "7")), "/notes").unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(event["type"], "watchdog.audit.v1.note.read");
        assert_eq!(event["subject"], "note/7");
        assert_eq!(event["time"], "2026-01-01T00:00:00Z");
        assert_eq!(event["sequence"], "00000000000000000012");
        assert_eq!(event["data"]["actor"], json!({ "type": "user", "id": "alice" }));
        assert_eq!(event["data"]["outcome"], "success");
    }

    #[test]
    fn a_subject_is_never_empty_and_holds_no_control_character() {
        for (kind, id, subject) in [
            ("note", "", Some("note")),
            ("", "7", Some("7")),
            ("", "", None),
            ("note", "a\nb\u{85}\u{FDD0}\u{1FFFE}", Some("note/a%0Ab%C2%85%EF%B7%90%F0%9F%BF%BE")),
        ] {
            let event = to_cloudevent(&record(Resource::new(kind, id)), "/notes").unwrap();
            assert_eq!(event.get("subject").and_then(Value::as_str), subject, "{kind} {id:?}");
        }
    }

    #[test]
    fn a_source_that_is_no_uri_reference_is_refused() {
        let record = record(Resource::new("note", "7"));
        for source in ["", "two words", "/a\nb", "/ä"] {
            let error = to_cloudevent(&record, source).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse, "{source:?}");
        }
        for source in ["/notes", "https://example.com/a?b#c", "urn:uuid:1"] {
            to_cloudevent(&record, source).unwrap();
        }
    }
}
