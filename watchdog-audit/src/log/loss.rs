//! What a writer does when it cannot go on under its id: it says so in the log.

use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::entry::Line;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::personal::SubjectKeys;
use crate::segment::WriterRange;
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

/// The entries of a frame, to be encoded again.
pub(crate) async fn entries(frame: &Frame, keys: Option<&dyn SubjectKeys>) -> Vec<Result<Entry>> {
    let mut entries = Vec::new();
    for line in frame.lines() {
        entries.push(entry(line, keys).await);
    }
    entries
}

async fn entry(line: &[u8], keys: Option<&dyn SubjectKeys>) -> Result<Entry> {
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
