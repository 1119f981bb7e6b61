//! From the frames of a segment to the objects of the archive, without I/O.

use std::collections::BTreeMap;

use watchdog_core::Timestamp;
use watchdog_core::audit::Category;

use crate::archive::{MAX_RAW_BYTES, object_key, pack};
use crate::chain::Chain;
use crate::entry::Line;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::hex;
use crate::manifest::{ArchivedObject, TimeRange};
use crate::merkle::{Tree, sha256};
use crate::segment::{SegmentId, WriterRange};
use crate::tlog::Commitment;
use crate::writer_id::WriterId;
use crate::zone::ZoneBuilder;

/// The lines of an object, without their newlines.
pub(crate) fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// One object to be written.
#[derive(Debug)]
pub(crate) struct PackedObject {
    pub(crate) meta: ArchivedObject,
    pub(crate) content: Vec<u8>,
    /// What its lines are in the tree over all entries, in order.
    pub(crate) leaves: Vec<Commitment>,
}

/// What a segment adds to the archive.
#[derive(Debug, Default)]
pub(crate) struct PackedSegment {
    pub(crate) objects: Vec<PackedObject>,
    pub(crate) writers: BTreeMap<WriterId, WriterRange>,
    pub(crate) entries: u64,
    /// Entries that earlier manifests cover, or that stand in the segment a second time.
    pub(crate) repeated: u64,
}

struct Open {
    lines: Vec<u8>,
    tree: Tree,
    leaves: Vec<Commitment>,
    entries: u64,
    recorded: TimeRange,
    occurred: TimeRange,
    zone: ZoneBuilder,
}

/// Sorts the lines of a segment that no manifest covers into objects by category and day.
///
/// With `may_begin_late` a writer the chain does not know may begin above 1: the partition was not
/// archived before.
///
/// Equal segments over equal chains give equal objects, byte by byte.
pub(crate) fn pack_segment(
    segment: SegmentId,
    may_begin_late: bool,
    frames: &[Frame],
    chain: &Chain,
) -> Result<PackedSegment> {
    let mut packed = PackedSegment::default();
    let mut open: BTreeMap<(Category, String), Open> = BTreeMap::new();
    for frame in frames {
        if frame.is_restored() {
            // They are in the archive they come from.
            packed.repeated += frame.count();
            continue;
        }
        for bytes in frame.lines() {
            let line = Line::decode(bytes)?;
            let before = packed.writers.get(&line.writer).map_or(0, |range| range.last);
            if line.sequence <= before.max(chain.high_water(&line.writer)) {
                packed.repeated += 1;
                continue;
            }
            count(&mut packed, chain, (segment, may_begin_late), &line)?;
            let object =
                open.entry((line.category, day(line.recorded_at))).or_insert_with(|| Open {
                    lines: Vec::new(),
                    tree: Tree::default(),
                    leaves: Vec::new(),
                    entries: 0,
                    recorded: TimeRange::at(line.recorded_at),
                    occurred: TimeRange::at(line.occurred_at),
                    zone: ZoneBuilder::default(),
                });
            object.lines.extend_from_slice(bytes);
            object.lines.push(b'\n');
            object.tree.push(bytes);
            object.leaves.push(Commitment::of(line.category, bytes));
            object.entries += 1;
            object.recorded = object.recorded.including(line.recorded_at);
            object.occurred = object.occurred.including(line.occurred_at);
            object.zone.push(&line);
        }
    }
    for ((category, date), object) in open {
        packed.objects.push(close(segment, category, &date, object)?);
    }
    Ok(packed)
}

fn count(
    packed: &mut PackedSegment,
    chain: &Chain,
    (segment, may_begin_late): (SegmentId, bool),
    line: &Line,
) -> Result<()> {
    let before = packed
        .writers
        .get(&line.writer)
        .map_or_else(|| chain.high_water(&line.writer), |range| range.last);
    let is_begin = before == 0 && may_begin_late;
    if line.sequence != before + 1 && !is_begin {
        return Err(Error::corrupt(format_args!(
            "{segment} goes on with entry {} of writer {}, entry {} is due",
            line.sequence,
            line.writer,
            before + 1
        )));
    }
    let range = WriterRange { first: line.sequence, last: line.sequence };
    packed.writers.entry(line.writer).or_insert(range).last = line.sequence;
    packed.entries += 1;
    Ok(())
}

fn close(segment: SegmentId, category: Category, date: &str, object: Open) -> Result<PackedObject> {
    let raw_bytes = object.lines.len() as u64;
    if raw_bytes > MAX_RAW_BYTES {
        return Err(Error::corrupt(format_args!("{segment} is larger than any the log writes")));
    }
    let content = pack(&object.lines)?;
    let sha256 = hex::encode(&sha256(&[&content]));
    let meta = ArchivedObject {
        key: object_key(category, date, segment, &sha256),
        category,
        entries: object.entries,
        bytes: content.len() as u64,
        raw_bytes,
        sha256,
        root: hex::encode(&object.tree.root()),
        recorded: object.recorded,
        occurred: object.occurred,
        zone: object.zone.finish(),
    };
    Ok(PackedObject { meta, content, leaves: object.leaves })
}

/// The day of an instant in UTC: `2026-01-31`.
pub(crate) fn day(instant: Timestamp) -> String {
    instant.to_string().get(..10).unwrap_or_default().to_owned()
}
