//! What a writer does when it cannot go on under its id: it says so in the log.

use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::entry::Line;
use crate::error::{Error, ErrorKind, Result};
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

/// The entry of a line, to be encoded again; waits for keys that do not answer.
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
        (Some(sealed), Some(keys)) => sealed.open(keys, line.writer, line.sequence).await?,
        _ => None,
    };
    let record = line.into_record(opened);
    if record.is_readable {
        Ok(record.entry)
    } else {
        Err(Error::new(ErrorKind::Key, "personal fields cannot be opened any more"))
    }
}
