//! The archive read from its beginning: object by object, each verified before it is handed out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use watchdog_core::Timestamp;
use watchdog_core::audit::Category;

use crate::chain::{Chain, FaultKind};
use crate::entry::Head;
use crate::error::{Error, Result};
use crate::log::AuditLog;
use crate::manifest::ArchivedObject;
use crate::pack::split;
use crate::progress::Progress;
use crate::writer_id::WriterId;

/// Which objects of the archive are read. Everything set must match.
///
/// Objects are picked by what their manifest says and come whole: with a range of time, entries
/// just outside of it come along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveRange {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    categories: Vec<Category>,
    after: Option<ArchivePlace>,
}

impl ArchiveRange {
    /// The whole archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only objects with an entry recorded at this instant or later.
    #[must_use]
    pub fn with_from(mut self, from: Timestamp) -> Self {
        self.from = Some(from);
        self
    }

    /// Only objects with an entry recorded before this instant.
    #[must_use]
    pub fn with_to(mut self, to: Timestamp) -> Self {
        self.to = Some(to);
        self
    }

    /// Only objects of this category; called again, of either.
    #[must_use]
    pub fn with_category(mut self, category: Category) -> Self {
        self.categories.push(category);
        self
    }

    /// Only objects after this one: where an earlier walk ended.
    #[must_use]
    pub fn with_after(mut self, place: ArchivePlace) -> Self {
        self.after = Some(place);
        self
    }

    fn takes(&self, place: ArchivePlace, object: &ArchivedObject) -> bool {
        self.after.is_none_or(|after| place > after)
            && self.from.is_none_or(|from| object.recorded.to >= from)
            && self.to.is_none_or(|to| object.recorded.from < to)
            && (self.categories.is_empty() || self.categories.contains(&object.category))
    }
}

/// Where an object stands in the archive. Places grow in the order of the walk, and an object
/// keeps its place for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArchivePlace {
    /// The number of the manifest that names it, from 1.
    pub manifest: u64,
    /// Its place in [`Manifest::objects`](crate::Manifest::objects), from 0.
    pub object: u32,
}

/// A walk over the archive, from [`AuditLog::archived`]. Holds one object in memory at a time.
#[derive(Debug)]
pub struct ArchiveWalk {
    log: AuditLog,
    chain: Arc<Chain>,
    range: ArchiveRange,
    /// Indices of the next manifest and of its next object.
    next: (usize, usize),
    progress: Progress,
    missing: u64,
}

/// The lines of one object of the archive: hash and chain of manifests were checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedBatch {
    place: ArchivePlace,
    object: ArchivedObject,
    lines: Vec<u8>,
}

/// One line of the archive with its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedLine<'a> {
    /// The process that took the entry.
    pub writer: WriterId,
    /// The place in the writer's sequence. With the writer it names the entry, once in the archive.
    pub sequence: u64,
    /// When the writer took the entry.
    pub recorded_at: Timestamp,
    /// The line as it was stored and hashed, without its newline; see [`format`](mod@crate::format).
    pub bytes: &'a [u8],
}

impl AuditLog {
    /// Walks over the archive in the order it was written, object by object; what is archived
    /// after the call is not part of it.
    ///
    /// Neither asks for a role nor is recorded: it is meant for copies and restores.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive,
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the chain of manifests is not sound,
    /// else as of the bucket.
    pub async fn archived(&self, range: ArchiveRange) -> Result<ArchiveWalk> {
        let chain = self.archiver()?.archive().refreshed().await?;
        let mut walk = ArchiveWalk {
            log: self.clone(),
            chain,
            range,
            next: (0, 0),
            progress: Progress::new(0, 0),
            missing: 0,
        };
        while walk.step().is_some() {
            walk.progress.total += 1;
        }
        walk.next = (0, 0);
        Ok(walk)
    }
}

impl ArchiveWalk {
    /// The next object, `None` at the end. One that is not in the bucket any more is passed over
    /// and counted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when an object is not what was archived,
    /// else as of the bucket. Calling again after an error tries the same object again.
    pub async fn next(&mut self) -> Result<Option<ArchivedBatch>> {
        loop {
            let begun = self.next;
            let Some((place, object)) = self.step() else { return Ok(None) };
            let object = object.clone();
            // Until the object is read the walk stands before it, also when this future is dropped.
            let passed = std::mem::replace(&mut self.next, begun);
            let read = self.log.archiver()?.archive().lines(&object).await?;
            let batch = match read {
                Ok(lines) => Some(ArchivedBatch { place, object, lines }),
                Err(fault) if fault.kind == FaultKind::MissingObject => None,
                Err(fault) => return Err(Error::corrupt(fault)),
            };
            self.next = passed;
            self.progress.done += 1;
            if batch.is_some() {
                return Ok(batch);
            }
            self.missing += 1;
        }
    }

    /// How far the walk is, in objects.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Objects so far that are named by a manifest and not in the bucket: expired there, or
    /// deleted. [`AuditLog::verify`] tells which.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Finds the next object of the range and goes past it.
    fn step(&mut self) -> Option<(ArchivePlace, &ArchivedObject)> {
        loop {
            let (at, index) = self.next;
            let manifest = self.chain.manifest(at as u64 + 1)?;
            let Some(object) = manifest.objects.get(index) else {
                self.next = (at + 1, 0);
                continue;
            };
            self.next = (at, index + 1);
            let place = ArchivePlace {
                manifest: manifest.number,
                // A manifest has an object for each category and day of one segment.
                object: u32::try_from(index).unwrap_or(u32::MAX),
            };
            if self.range.takes(place, object) {
                return self.chain.manifest(at as u64 + 1)?.objects.get(index).map(|o| (place, o));
            }
        }
    }
}

impl ArchivedBatch {
    /// Where the object stands: hand it to [`ArchiveRange::with_after`] to go on after it.
    pub fn place(&self) -> ArchivePlace {
        self.place
    }

    /// What the manifest says of the object.
    pub fn object(&self) -> &ArchivedObject {
        &self.object
    }

    /// The lines in their order, each with its place in the log.
    ///
    /// # Errors
    ///
    /// Each item is [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when it is not a line this
    /// version reads.
    pub fn lines(&self) -> impl Iterator<Item = Result<ArchivedLine<'_>>> {
        split(&self.lines).map(|bytes| {
            let head = Head::decode(bytes)?;
            Ok(ArchivedLine {
                writer: head.writer,
                sequence: head.sequence,
                recorded_at: head.recorded_at,
                bytes,
            })
        })
    }
}
