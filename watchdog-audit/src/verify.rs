//! Verification: walks the chain, every object and what waits in the store.

mod stray;

use std::collections::{BTreeMap, HashSet};

use watchdog_core::Timestamp;

use crate::archive::{Archive, manifest_key};
use crate::chain::{Chain, Fault, FaultKind};
use crate::config::ArchiveRetention;
use crate::entry::Line;
use crate::error::{ErrorKind, Result};
use crate::hex;
use crate::live;
use crate::manifest::{ArchivedObject, Manifest};
use crate::merkle::Tree;
use crate::segment::{ManifestRef, Partition, SegmentId, Totals, WriterRange};
use crate::store::SegmentStore;
use crate::telemetry;
use crate::writer_id::WriterId;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Manifests that were checked.
    pub manifests: u64,
    /// Objects that were read and checked.
    pub objects: u64,
    /// Objects that are gone from the bucket after the retention of their category.
    pub expired: u64,
    /// Objects that a run which broke off has left behind: no manifest names them.
    pub unreferenced: u64,
    /// Archived entries that were checked.
    pub entries: u64,
    /// Entries in the store that wait for their archive, checked as well.
    pub waiting: u64,
    /// The first thing that does not fit.
    pub fault: Option<Fault>,
}

impl Verification {
    /// Whether everything fits.
    pub fn is_sound(&self) -> bool {
        self.fault.is_none()
    }
}

/// What was seen in the store before the archive was read.
#[derive(Debug, Default)]
struct Waiting {
    heads: Vec<(u16, ManifestRef)>,
    partitions: Vec<Partition>,
    /// The segments that waited, the open ones among them.
    segments: HashSet<SegmentId>,
    /// Frames in order, as ranges of their writers.
    ranges: Vec<(SegmentId, WriterId, WriterRange)>,
    fault: Option<Fault>,
}

/// How long the bucket keeps what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    pub(crate) retention: ArchiveRetention,
    pub(crate) now: Timestamp,
}

impl Keeping {
    /// Whether an object may be gone.
    fn is_over(&self, object: &ArchivedObject) -> bool {
        self.retention.of(object.category).is_some_and(|kept| {
            let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
            object.recorded.to.as_millisecond().saturating_add(kept) < self.now.as_millisecond()
        })
    }
}

/// Checks everything and names the first thing that does not fit.
pub(crate) async fn verify(
    archive: &Archive,
    store: &dyn SegmentStore,
    keeping: Keeping,
) -> Result<Verification> {
    // Objects come before manifests, and leave the store after them: read in this order, what is
    // archived while this runs is found further on.
    let keys = archive.object_keys().await?;
    let waiting = waiting(store).await?;
    let mut report = Verification::default();
    let mut chain = Chain::default();
    report.fault = match walk(archive, &mut chain, keeping, &mut report).await? {
        Ok(()) => heads(&chain, &waiting)
            .or_else(|| waiting.fault.clone())
            .or_else(|| vanished(&chain, &waiting))
            .or_else(|| continues(&chain, &waiting, &mut report)),
        Err(fault) => Some(fault),
    };
    if report.fault.is_none() {
        match stray::strays(archive, &chain, &waiting, &keys).await? {
            Ok(left_behind) => report.unreferenced = left_behind,
            Err(fault) => report.fault = Some(fault),
        }
    }
    telemetry::verified(report.is_sound());
    if let Some(fault) = &report.fault {
        tracing::error!(%fault, "the audit log does not verify");
    }
    Ok(report)
}

async fn walk(
    archive: &Archive,
    chain: &mut Chain,
    keeping: Keeping,
    report: &mut Verification,
) -> Result<Result<(), Fault>> {
    for key in archive.manifest_keys().await? {
        let due = manifest_key(chain.next());
        if key > due {
            return Ok(Err(missing(&due)));
        }
        if key < due {
            let detail = "no manifest has this name";
            return Ok(Err(Fault::new(FaultKind::AlteredManifest, &key, detail)));
        }
        let Some(object) = archive.manifest(&key).await? else { return Ok(Err(missing(&due))) };
        let manifest = match chain.extend(&key, &object, archive.signer()) {
            Ok(manifest) => manifest,
            Err(fault) => return Ok(Err(fault)),
        };
        report.manifests += 1;
        if let Err(fault) = objects(archive, &key, manifest, keeping, report).await? {
            return Ok(Err(fault));
        }
    }
    Ok(Ok(()))
}

fn missing(key: &str) -> Fault {
    Fault::new(FaultKind::MissingManifest, key, "it is not in the bucket, and a later one is")
}

async fn objects(
    archive: &Archive,
    key: &str,
    manifest: &Manifest,
    keeping: Keeping,
    report: &mut Verification,
) -> Result<Result<(), Fault>> {
    let mut numbers: BTreeMap<WriterId, Vec<u64>> = BTreeMap::new();
    let mut is_whole = true;
    for object in &manifest.objects {
        let lines = match archive.lines(object).await? {
            Ok(lines) => lines,
            Err(fault) if fault.kind == FaultKind::MissingObject && keeping.is_over(object) => {
                report.expired += 1;
                is_whole = false;
                continue;
            }
            Err(fault) => return Ok(Err(fault)),
        };
        if let Err(fault) = object_lines(object, &lines, &mut numbers) {
            return Ok(Err(fault));
        }
        report.objects += 1;
        report.entries += object.entries;
    }
    Ok(complete(key, manifest, numbers, is_whole))
}

/// Checks count and root of an object's lines and notes their numbers.
fn object_lines(
    object: &ArchivedObject,
    lines: &[u8],
    numbers: &mut BTreeMap<WriterId, Vec<u64>>,
) -> Result<(), Fault> {
    let altered = |detail: String| Fault::new(FaultKind::AlteredObject, &object.key, detail);
    let mut tree = Tree::default();
    let mut entries = 0;
    for bytes in split(lines) {
        let line = Line::decode(bytes)
            .map_err(|error| altered(format!("line {}: {error}", entries + 1)))?;
        if line.category != object.category {
            return Err(altered(format!("line {} is of another category", entries + 1)));
        }
        numbers.entry(line.writer).or_default().push(line.sequence);
        tree.push(bytes);
        entries += 1;
    }
    if entries != object.entries || hex::encode(&tree.root()) != object.root {
        return Err(altered("count or Merkle root is another".into()));
    }
    Ok(())
}

/// Checks that the objects of a manifest hold exactly the numbers its writers announce; each at
/// most once when some of the objects have expired.
fn complete(
    key: &str,
    manifest: &Manifest,
    mut numbers: BTreeMap<WriterId, Vec<u64>>,
    is_whole: bool,
) -> Result<(), Fault> {
    let gap = |writer: &WriterId, due| {
        let detail = format!("entry {due} of writer {writer} is missing, or another stands twice");
        Err(Fault::new(FaultKind::SequenceGap, key, detail))
    };
    if let Some(writer) = numbers.keys().find(|writer| !manifest.writers.contains_key(writer)) {
        let detail = format!("writer {writer} is not announced");
        return Err(Fault::new(FaultKind::SequenceGap, key, detail));
    }
    for (writer, range) in &manifest.writers {
        let mut held = numbers.remove(writer).unwrap_or_default();
        held.sort_unstable();
        let mut due = range.first;
        for number in held {
            if number < due || number > range.last || (is_whole && number != due) {
                return gap(writer, due);
            }
            due = number + 1;
        }
        if is_whole && due != range.last + 1 {
            return gap(writer, due);
        }
    }
    Ok(())
}

/// Names how the lines of an object with another hash differ from what was archived.
pub(crate) fn difference(object: &ArchivedObject, lines: &[u8]) -> Fault {
    let fault = |kind, detail: String| Fault::new(kind, &object.key, detail);
    let count = split(lines).count() as u64;
    let archived = object.entries;
    if count < archived {
        let detail = format!("{count} entries of {archived} are left");
        return fault(FaultKind::EntriesDropped, detail);
    }
    if count > archived {
        let detail = format!("{count} entries stand where {archived} were archived");
        return fault(FaultKind::EntriesInserted, detail);
    }
    let mut last: BTreeMap<WriterId, u64> = BTreeMap::new();
    for line in split(lines).filter_map(|bytes| Line::decode(bytes).ok()) {
        let before = last.insert(line.writer, line.sequence).unwrap_or(0);
        if line.sequence <= before {
            let detail = format!("entry {} of {} stands late", line.sequence, line.writer);
            return fault(FaultKind::EntriesReordered, detail);
        }
    }
    fault(FaultKind::AlteredObject, "its hash is another".into())
}

fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

async fn waiting(store: &dyn SegmentStore) -> Result<Waiting> {
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
            let held = totals.map_or(Held::AtLeast(open), Held::Exactly);
            if let Some(fault) = segment_waits(store, segment, held, &mut waiting).await? {
                waiting.fault.get_or_insert(fault);
            }
        }
    }
    Ok(waiting)
}

/// What the store says a segment holds.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// A sealed one.
    Exactly(Totals),
    /// The open one, before it was read.
    AtLeast(Totals),
}

async fn segment_waits(
    store: &dyn SegmentStore,
    segment: SegmentId,
    held: Held,
    waiting: &mut Waiting,
) -> Result<Option<Fault>> {
    let fault = |detail: String| Fault::new(FaultKind::AlteredSegment, segment.to_string(), detail);
    let mut ranges = Vec::new();
    let (mut entries, mut frames, mut hole) = (0, 0, None);
    let mut last = None;
    let read = live::read(store, segment, |id, frame| {
        if last.is_some_and(|last| id.number != last + 1) {
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
    let is_short = match held {
        Held::Exactly(totals) => (totals.entries, totals.frames) != (entries, frames),
        Held::AtLeast(totals) => entries < totals.entries || frames < totals.frames,
    };
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
fn heads(chain: &Chain, waiting: &Waiting) -> Option<Fault> {
    for (partition, head) in &waiting.heads {
        let place = manifest_key(head.number);
        if chain.next() <= head.number {
            let detail = format!("partition {partition} has seen it, the bucket has it no more");
            return Some(Fault::new(FaultKind::TruncatedChain, place, detail));
        }
        if chain.reference(head.number).as_ref() != Some(head) {
            let detail = format!("partition {partition} has seen another content of it");
            return Some(Fault::new(FaultKind::BrokenChain, place, detail));
        }
    }
    None
}

/// Whether every segment there ever was is archived or waits, from the first that was to be.
fn vanished(chain: &Chain, waiting: &Waiting) -> Option<Fault> {
    for (partition, held) in (0..).zip(&waiting.partitions) {
        let unarchived = chain.unarchived(partition).unwrap_or(held.unarchived);
        for number in unarchived.saturating_add(1)..held.open {
            let segment = SegmentId { partition, number };
            if chain.covering(segment).is_none() && !waiting.segments.contains(&segment) {
                let detail = "it was sealed, is not archived and does not wait for it";
                return Some(Fault::new(FaultKind::MissingSegment, segment.to_string(), detail));
            }
        }
    }
    None
}

/// Whether what waits goes on where the archive ends, writer by writer.
fn continues(chain: &Chain, waiting: &Waiting, report: &mut Verification) -> Option<Fault> {
    let mut marks: BTreeMap<WriterId, u64> =
        chain.high_waters().map(|(writer, last)| (*writer, *last)).collect();
    for (segment, writer, range) in &waiting.ranges {
        let mark = marks.entry(*writer).or_insert(0);
        if range.last <= *mark {
            continue;
        }
        let partition = segment.partition;
        let held = waiting.partitions.get(usize::from(partition)).map(|held| held.unarchived);
        let unarchived = chain.unarchived(partition).or(held).unwrap_or(0);
        let is_begin = *mark == 0 && unarchived > 0;
        if range.first != *mark + 1 && !is_begin {
            let detail =
                format!("writer {writer} goes on with {}, {} is due", range.first, *mark + 1);
            return Some(Fault::new(FaultKind::SequenceGap, segment.to_string(), detail));
        }
        report.waiting += range.last - range.first + 1;
        *mark = range.last;
    }
    None
}
