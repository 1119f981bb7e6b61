//! What the store holds that waits for its archive, and whether it goes on where the archive ends.

use std::collections::{BTreeMap, HashSet};

use crate::archive::manifest_key;
use crate::chain::{Fault, FaultKind};
use crate::error::{ErrorKind, Result};
use crate::live;
use crate::segment::{ManifestRef, Partition, SegmentId, Totals, WriterRange};
use crate::store::SegmentStore;
use crate::verify::{Verification, Walked};
use crate::writer_id::WriterId;

/// What was seen in the store before the archive was read.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) heads: Vec<(u16, ManifestRef)>,
    partitions: Vec<Partition>,
    /// The segments that waited, the open ones among them.
    pub(super) segments: HashSet<SegmentId>,
    /// Frames in order, as ranges of their writers.
    ranges: Vec<(SegmentId, WriterId, WriterRange)>,
    pub(super) fault: Option<Fault>,
}

/// Reads what waits.
pub(super) async fn waiting(store: &dyn SegmentStore) -> Result<Waiting> {
    let mut waiting = Waiting::default();
    for partition in 0..store.partitions() {
        let found = live::list(store, partition).await?;
        if let Some(head) = found.held.head.clone() {
            waiting.heads.push((partition, head));
        }
        let open = found.held.totals;
        waiting.partitions.push(found.held);
        for (segment, totals) in found.segments {
            waiting.segments.insert(segment);
            let held = totals.unwrap_or(open);
            if let Some(fault) = segment_waits(store, segment, held, &mut waiting).await? {
                waiting.fault.get_or_insert(fault);
            }
        }
    }
    Ok(waiting)
}

/// Checks that a segment holds at least what the store says: the open one may have grown since, and a
/// sealed one may hold a frame twice.
async fn segment_waits(
    store: &dyn SegmentStore,
    segment: SegmentId,
    held: Totals,
    waiting: &mut Waiting,
) -> Result<Option<Fault>> {
    let fault = |detail: String| Fault::new(FaultKind::AlteredSegment, segment.to_string(), detail);
    let mut ranges = Vec::new();
    let (mut entries, mut frames, mut hole) = (0, 0, None);
    let mut last = None;
    let read = live::read(store, segment, |id, frame| {
        // A frame may stand there twice, after two crashes of Redis.
        if last.is_some_and(|last| id.number > last + 1) {
            hole = hole.or(Some(id.number));
        }
        last = Some(id.number);
        entries += frame.count();
        frames += 1;
        let range = WriterRange { first: frame.first(), last: frame.last() };
        if !frame.is_restored() {
            ranges.push((segment, frame.writer(), range));
        }
    });
    match read.await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            return Ok(Some(fault(error.to_string())));
        }
        Err(error) => return Err(error),
    }
    let is_short = entries < held.entries || frames < held.frames;
    if is_short || hole.is_some() {
        // It may have passed the gate and expired since it was listed.
        let is_open = store.partition(segment.partition).await?.open <= segment.number;
        let sealed = store.sealed(segment.partition).await?;
        if is_open || sealed.iter().any(|(number, _)| *number == segment.number) {
            let detail = match hole {
                Some(number) => format!("the frame before {number} is missing"),
                None => format!("{entries} entries in {frames} frames are left"),
            };
            return Ok(Some(fault(detail)));
        }
        return Ok(None);
    }
    waiting.ranges.append(&mut ranges);
    Ok(None)
}

/// Whether the chain reaches, and agrees with, what the gate of the store has seen.
pub(super) fn heads(walked: &Walked, waiting: &Waiting) -> Option<Fault> {
    for (partition, head) in &waiting.heads {
        let place = manifest_key(head.number);
        if walked.links.next() <= head.number {
            let detail = format!("partition {partition} has seen it, the bucket has it no more");
            return Some(Fault::new(FaultKind::TruncatedChain, place, detail));
        }
        if walked.heads.get(&head.number) != Some(head) {
            let detail = format!("partition {partition} has seen another content of it");
            return Some(Fault::new(FaultKind::BrokenChain, place, detail));
        }
    }
    None
}

/// Whether every segment there ever was is archived or waits, from the first that was to be.
pub(super) fn vanished(walked: &Walked, waiting: &Waiting) -> Option<Fault> {
    for (partition, held) in (0..).zip(&waiting.partitions) {
        let unarchived = walked.links.unarchived(partition).unwrap_or(held.unarchived);
        for number in unarchived.saturating_add(1)..held.open {
            let segment = SegmentId { partition, number };
            if walked.covered.by(segment).is_none() && !waiting.segments.contains(&segment) {
                let detail = "it was sealed, is not archived and does not wait for it";
                return Some(Fault::new(FaultKind::MissingSegment, segment.to_string(), detail));
            }
        }
    }
    None
}

/// Whether what waits goes on where the archive ends, writer by writer.
pub(super) fn continues(
    walked: &Walked,
    waiting: &Waiting,
    report: &mut Verification,
) -> Option<Fault> {
    let mut marks: BTreeMap<WriterId, u64> = walked.links.high_waters().collect();
    for (segment, writer, range) in &waiting.ranges {
        let mark = marks.entry(*writer).or_insert(0);
        if range.last <= *mark {
            continue;
        }
        let partition = segment.partition;
        let held = waiting.partitions.get(usize::from(partition)).map(|held| held.unarchived);
        let unarchived = walked.links.unarchived(partition).or(held).unwrap_or(0);
        let is_begin = *mark == 0 && unarchived > 0;
        // A frame before it may be in a segment that could not be read.
        let may_skip = walked.links.allowance(partition, writer);
        if range.first.saturating_sub(*mark + 1) > may_skip && !is_begin {
            let detail =
                format!("writer {writer} goes on with {}, {} is due", range.first, *mark + 1);
            return Some(Fault::new(FaultKind::SequenceGap, segment.to_string(), detail));
        }
        report.waiting += range.last - range.first + 1;
        *mark = range.last;
    }
    None
}
