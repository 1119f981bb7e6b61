//! From the frames of a segment to the objects of the archive, without I/O.

mod gaps;

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
use crate::merkle::{Hash, Tree, sha256};
use crate::segment::{SegmentId, WriterRange};
use crate::tlog::Commitment;
use crate::writer_id::WriterId;
use crate::zone::ZoneBuilder;

pub(crate) use gaps::{Gaps, distinct};

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

/// From how many bytes on compressing and hashing are worth two threads: 256 KiB.
const WORTH_A_THREAD: u64 = 256 * 1024;

struct Open {
    lines: Vec<u8>,
    entries: u64,
    recorded: TimeRange,
    occurred: TimeRange,
    zone: ZoneBuilder,
}

/// Sorts the lines of a segment that no manifest covers into objects by category and day.
///
/// Equal segments over equal chains give equal objects, byte by byte.
pub(crate) fn pack_segment(
    segment: SegmentId,
    mut gaps: Gaps<'_>,
    frames: &[Frame],
    chain: &Chain,
) -> Result<PackedSegment> {
    let mut packed = PackedSegment::default();
    let mut open: BTreeMap<(Category, i64), Open> = BTreeMap::new();
    for frame in frames {
        if frame.is_restored() {
            // They are in the archive they come from.
            packed.repeated += frame.count();
            continue;
        }
        for entry in frame.entries() {
            let (bytes, line) = entry?;
            let before = packed.writers.get(&line.writer).map_or(0, |range| range.last);
            if line.sequence <= before.max(chain.high_water(&line.writer)) {
                packed.repeated += 1;
                continue;
            }
            count(&mut packed, chain, (segment, &mut gaps), &line)?;
            let object =
                open.entry((line.category, day(line.recorded_at))).or_insert_with(|| Open {
                    lines: Vec::new(),
                    entries: 0,
                    recorded: TimeRange::at(line.recorded_at),
                    occurred: TimeRange::at(line.occurred_at),
                    zone: ZoneBuilder::default(),
                });
            object.lines.extend_from_slice(bytes);
            object.lines.push(b'\n');
            object.entries += 1;
            object.recorded = object.recorded.including(line.recorded_at);
            object.occurred = object.occurred.including(line.occurred_at);
            object.zone.push(&line);
        }
    }
    for ((category, _), object) in open {
        packed.objects.push(close(segment, category, &object)?);
    }
    Ok(packed)
}

fn count(
    packed: &mut PackedSegment,
    chain: &Chain,
    (segment, gaps): (SegmentId, &mut Gaps<'_>),
    line: &Line,
) -> Result<()> {
    let range = packed.writers.get(&line.writer);
    let before = range.map_or_else(|| chain.high_water(&line.writer), |range| range.last);
    if !gaps.takes(&line.writer, before, line.sequence, range.is_none()) {
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

fn close(segment: SegmentId, category: Category, object: &Open) -> Result<PackedObject> {
    let raw_bytes = object.lines.len() as u64;
    if raw_bytes > MAX_RAW_BYTES {
        return Err(Error::corrupt(format_args!("{segment} is larger than any the log writes")));
    }
    let ((leaves, root, zone), content) = both(
        raw_bytes >= WORTH_A_THREAD,
        || {
            let (leaves, root) = leaves(category, &object.lines);
            (leaves, root, object.zone.finish())
        },
        || pack(&object.lines),
    );
    let content = content?;
    let sha256 = hex::encode(&sha256(&[&content]));
    let meta = ArchivedObject {
        key: object_key(category, &date(object.recorded.from), segment, &sha256),
        category,
        entries: object.entries,
        bytes: content.len() as u64,
        raw_bytes,
        sha256,
        root: hex::encode(&root),
        recorded: object.recorded,
        occurred: object.occurred,
        zone,
    };
    Ok(PackedObject { meta, content, leaves })
}

/// What stands in the tree for the lines of an object, and the root over it.
fn leaves(category: Category, lines: &[u8]) -> (Vec<Commitment>, Hash) {
    let leaves: Vec<_> = split(lines).map(|line| Commitment::of(category, line)).collect();
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push_hash(leaf.hash()));
    (leaves, tree.root())
}

/// Does two things at once, where that is asked for and there is a thread for it.
fn both<A, B: Send>(
    is_apart: bool,
    first: impl FnOnce() -> A,
    second: impl Fn() -> B + Sync,
) -> (A, B) {
    if !is_apart {
        return (first(), second());
    }
    let second = &second;
    std::thread::scope(|scope| {
        let apart = std::thread::Builder::new().name("audit-pack".into());
        let apart = apart.spawn_scoped(scope, second).ok();
        let first = first();
        let second = apart.and_then(|apart| apart.join().ok()).unwrap_or_else(second);
        (first, second)
    })
}

/// The day of an instant in UTC, counted from 1970.
fn day(instant: Timestamp) -> i64 {
    instant.as_second().div_euclid(86_400)
}

/// The day of an instant in UTC: `2026-01-31`.
pub(crate) fn date(instant: Timestamp) -> String {
    instant.to_string().get(..10).unwrap_or_default().to_owned()
}
