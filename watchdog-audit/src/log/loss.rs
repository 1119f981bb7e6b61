//! What a writer does when it cannot go on under its id: it says so in the log.

use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::entry::Line;
use crate::error::{ErrorKind, Result};
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::personal::SubjectKeys;
use crate::segment::WriterRange;
use crate::telemetry;
use crate::writer_id::WriterId;

/// The entry that declares what became of a writer: acknowledged entries the store lost, or an id
/// that somebody else uses.
pub(crate) fn declaration(old: WriterId, lost: Option<WriterRange>, now: Timestamp) -> Entry {
    let action = if lost.is_some() { "audit.entries_lost" } else { "audit.writer_superseded" };
    let resource = Resource::new("audit_writer", old.to_string());
    let actor = Actor::service("watchdog-audit");
    let entry = Entry::new(Uuid::now_v7(), now, Category::Security, actor, action, resource)
        .with_outcome(Outcome::Failure);
    match lost {
        Some(range) => entry.with_detail("first", range.first).with_detail("last", range.last),
        None => entry,
    }
}

/// The detail of an entry whose personal fields could not be opened when it was encoded again.
const PERSONAL_FIELDS_LOST: &str = "personal_fields_lost";

/// The entry of a line, to be encoded again; waits for keys that do not answer. Where the key is
/// gone, the entry comes with its clear fields, and says that the others are lost.
pub(crate) async fn entry(line: &[u8], keys: Option<&dyn SubjectKeys>) -> Result<Entry> {
    let mut pause = FIRST_PAUSE;
    loop {
        match open(line, keys).await {
            Err(error) if error.is_retryable() => {
                telemetry::append_failed(&error);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

async fn open(line: &[u8], keys: Option<&dyn SubjectKeys>) -> Result<Entry> {
    let line = Line::decode(line)?;
    let opened = match (&line.sealed, keys) {
        (Some(sealed), Some(keys)) => match sealed.open(keys, line.writer, line.sequence).await {
            Err(error) if error.kind() == ErrorKind::Key => None,
            outcome => outcome?,
        },
        _ => None,
    };
    let record = line.into_record(opened);
    if record.is_readable {
        return Ok(record.entry);
    }
    tracing::error!(
        entry = %record.entry.id,
        "the personal fields of an audit entry cannot be opened any more; its others are recorded"
    );
    Ok(record.entry.with_detail(PERSONAL_FIELDS_LOST, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Place;

    #[tokio::test]
    async fn an_entry_whose_key_is_gone_keeps_its_clear_fields_and_says_so() {
        let writer = WriterId::from_bytes([7; 16]);
        let now = Timestamp::UNIX_EPOCH;
        let resource = Resource::new("file", "1");
        let actor = Actor::user("alice");
        let entry_before =
            Entry::new(Uuid::now_v7(), now, Category::Access, actor, "file.read", resource)
                .with_outcome(Outcome::Success)
                .with_detail("name", "Alice");
        let place = Place { writer, sequence: 3, recorded_at: now };
        let line = Line::plain(place, entry_before.clone());
        let mut json: serde_json::Value = serde_json::from_slice(&line.encode().unwrap()).unwrap();
        json["actor"].as_object_mut().unwrap().remove("id");
        json.as_object_mut().unwrap().remove("details");
        json["sealed"] = serde_json::json!({"subject": "0".repeat(32), "key": "k", "box": ""});
        let after = entry(&serde_json::to_vec(&json).unwrap(), None).await.unwrap();
        assert_eq!(after.id, entry_before.id);
        assert_eq!((&*after.action, after.outcome), ("file.read", Outcome::Success));
        assert_eq!((&*after.actor.kind, &*after.actor.id), ("user", ""));
        assert_eq!(after.resource, entry_before.resource);
        assert_eq!(after.details.len(), 1);
        assert_eq!(after.details[PERSONAL_FIELDS_LOST], true);
    }
}
