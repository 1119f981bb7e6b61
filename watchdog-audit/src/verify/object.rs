//! One object of the archive: whether it is what its manifest says, and what it adds to the tree.

use std::collections::BTreeMap;

use bytes::Bytes;
use watchdog_core::audit::Outcome;

use crate::archive::{object_key, opened};
use crate::chain::{Fault, FaultKind};
use crate::entry::Line;
use crate::hex;
use crate::hold;
use crate::manifest::{ArchivedObject, Manifest, TimeRange};
use crate::merkle::Tree;
use crate::pack::{date, split};
use crate::tlog::Commitment;
use crate::writer_id::WriterId;
use crate::zone::ZoneBuilder;

/// The numbers of entries, by writer.
pub(super) type Numbers = BTreeMap<WriterId, Vec<u64>>;

/// What an object holds, as far as it is needed once its lines are gone from memory.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) leaves: Vec<Commitment>,
    pub(super) numbers: Numbers,
    /// The legal holds its entries tell of.
    pub(super) holds: Vec<String>,
}

/// Checks that a manifest names its objects as their category, day, segment and hash have it:
/// whatever removes objects goes by their names.
pub(super) fn named(key: &str, manifest: &Manifest) -> Result<(), Fault> {
    for object in &manifest.objects {
        let [from, to] = [object.recorded.from, object.recorded.to].map(date);
        let wanted = object_key(object.category, &from, manifest.segment, &object.sha256);
        if object.key != wanted || from != to {
            let detail = format!("its object {} has another name than it must have", object.key);
            return Err(Fault::new(FaultKind::AlteredManifest, key, detail));
        }
    }
    Ok(())
}

/// Checks hash, sizes, times, count and root of an object and every line of it.
pub(super) fn checked(object: &ArchivedObject, content: &Bytes) -> Result<Checked, Fault> {
    let lines = opened(object, content)?;
    let altered = |detail: String| Fault::new(FaultKind::AlteredObject, &object.key, detail);
    let mut tree = Tree::default();
    let mut held = Checked::default();
    let mut zone = ZoneBuilder::default();
    let mut times: Option<(TimeRange, TimeRange)> = None;
    for bytes in split(&lines) {
        let number = held.leaves.len() + 1;
        let line =
            Line::decode(bytes).map_err(|error| altered(format!("line {number}: {error}")))?;
        if line.category != object.category {
            return Err(altered(format!("line {number} is of another category")));
        }
        held.numbers.entry(line.writer).or_default().push(line.sequence);
        zone.push(&line);
        let (recorded, occurred) = (line.recorded_at, line.occurred_at);
        times = Some(times.map_or_else(
            || (TimeRange::at(recorded), TimeRange::at(occurred)),
            |so_far| (so_far.0.including(recorded), so_far.1.including(occurred)),
        ));
        let leaf = Commitment::of(line.category, bytes);
        tree.push_hash(leaf.hash());
        held.leaves.push(leaf);
        // One that was not seen to its end may have placed nothing.
        let is_placed = line.action == hold::PLACED && line.outcome == Outcome::Success;
        if is_placed && line.resource.kind == hold::HOLD_RESOURCE {
            held.holds.push(line.resource.id.into());
        }
    }
    if held.leaves.len() as u64 != object.entries || hex::encode(&tree.root()) != object.root {
        return Err(altered("count or Merkle root is another".into()));
    }
    if (content.len() as u64, lines.len() as u64) != (object.bytes, object.raw_bytes) {
        return Err(altered("its sizes are others".into()));
    }
    // Retention goes by the one, ranges and queries by both.
    if times != Some((object.recorded, object.occurred)) {
        return Err(altered("its times are not those of its lines".into()));
    }
    // A map that denies what is there would hide it from queries.
    if zone.finish() != object.zone {
        return Err(altered("its zone map is not that of its lines".into()));
    }
    Ok(held)
}

/// Checks that the objects of a manifest hold exactly the numbers its writers announce; each at
/// most once when some of the objects have expired.
pub(super) fn complete(
    key: &str,
    manifest: &Manifest,
    mut numbers: Numbers,
    is_whole: bool,
) -> Result<(), Fault> {
    // What could not be read may be missing in the ranges.
    let is_whole = is_whole && manifest.unreadable.is_none();
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
