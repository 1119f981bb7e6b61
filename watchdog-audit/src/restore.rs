//! Restoring archived entries into a store, so that they can be queried there again.

use std::time::Duration;

use crate::archived::{ArchiveRange, ArchivedBatch};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::log::AuditLog;
use crate::merkle::sha256;
use crate::progress::OnProgress;
use crate::segment::{Appended, Expiry, SegmentId, SegmentLimits};
use crate::store::SegmentStore;
use crate::writer_id::WriterId;

/// Prefixed to the hash of an object before it is hashed to the writer of its restored frames.
const PURPOSE: &[u8] = b"watchdog audit restore v1\0";
/// Prefixed to it before it is hashed to the writer whose number is the place of the newest restore.
const PLACE: &[u8] = b"watchdog audit restore place v1\0";

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Objects that were read and verified.
    pub objects: u64,
    /// Entries that were written to the store.
    pub entries: u64,
    /// Entries an earlier restore had written.
    pub known: u64,
    /// Objects that are not in the bucket any more.
    pub missing: u64,
}

impl AuditLog {
    /// Writes the entries of a part of the archive into another store, or back into the one of
    /// this log; a log on that store finds them by [`query`](Self::query).
    ///
    /// Each object is verified before any of it is written: its hash, and the chain of manifests
    /// that names it. Objects come whole. Repeated, interrupted and repeated, with ranges that
    /// overlap and in any order, each entry stands in the store once: an object's lines go in as
    /// frames of a writer that follows from the object's hash and from where the restore began, and
    /// the store knows how far it has them. Restored frames are marked; they are not archived again.
    ///
    /// The store keeps them until its own archiver passes them through the gate; a store that
    /// nobody archives keeps them until it is removed. An object whose restored entries have expired
    /// is restored anew. The store remembers each restored object for ever, about 100 bytes and as
    /// many for each time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when an object is not what was archived,
    /// else as of [`archived`](Self::archived) and of the store. Calling again goes on.
    pub async fn restore(&self, range: ArchiveRange, into: &dyn SegmentStore) -> Result<Restored> {
        self.restore_observed(range, into, &|_| ()).await
    }

    /// As [`restore`](Self::restore), telling `observer` how far it is, in objects.
    ///
    /// # Errors
    ///
    /// As of [`restore`](Self::restore).
    pub async fn restore_observed(
        &self,
        range: ArchiveRange,
        into: &dyn SegmentStore,
        observer: &OnProgress<'_>,
    ) -> Result<Restored> {
        let mut walk = self.archived(range).await?;
        let limits = self.inner().limits();
        let mut restored = Restored::default();
        observer(walk.progress());
        while let Some(batch) = walk.next().await? {
            let (partition, place) = begin(into, &batch.object().sha256).await?;
            for frame in frames(&batch, place)? {
                append(into, partition, &frame, limits, &mut restored).await?;
            }
            restored.objects += 1;
            restored.missing = walk.missing();
            observer(walk.progress());
        }
        restored.missing = walk.missing();
        Ok(restored)
    }
}

/// Where an object is restored to: the partition, and the segment that the restore which counts began
/// in. One whose segment has expired does not count any more. The store keeps the number as that of
/// a writer of its own; it is noted before the first frame, so that none stands without it.
async fn begin(store: &dyn SegmentStore, sha256: &str) -> Result<(u16, u64)> {
    let marker = writer(&[PLACE, sha256.as_bytes()]);
    let partition = marker.partition(store.partitions());
    let noted = match store.skip(partition, marker, 0).await {
        // The store cannot keep it: there the first restore counts for ever.
        Err(error) if error.kind() == ErrorKind::Misuse => return Ok((partition, 0)),
        noted => noted?,
    };
    let open = store.partition(partition).await?.open;
    if noted > 0 {
        let is_there = noted == open || {
            let begun = SegmentId { partition, number: noted };
            store.expiry(begun).await? != Expiry::Missing
        };
        if is_there {
            return Ok((partition, noted));
        }
    }
    Ok((partition, store.skip(partition, marker, open).await?))
}

fn writer(parts: &[&[u8]]) -> WriterId {
    let hash = sha256(parts);
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    WriterId::from_bytes(id)
}

/// The frames of an object: the same ones whenever the same restore goes on.
fn frames(batch: &ArchivedBatch, place: u64) -> Result<Vec<Frame>> {
    let object = batch.object().sha256.as_bytes();
    let writer = writer(&[PURPOSE, object, &place.to_be_bytes()]);
    let mut frames: Vec<Frame> = Vec::new();
    let mut next = 1;
    for line in batch.lines() {
        let line = line?;
        let frame = match frames.last_mut() {
            Some(frame) if !frame.is_full() => frame,
            _ => {
                frames.push(Frame::restored(writer, next));
                // It was pushed just now.
                let Some(frame) = frames.last_mut() else { continue };
                frame
            }
        };
        frame.push(line.bytes, line.recorded_at.as_millisecond())?;
        next += 1;
    }
    Ok(frames)
}

async fn append(
    store: &dyn SegmentStore,
    partition: u16,
    frame: &Frame,
    limits: SegmentLimits,
    restored: &mut Restored,
) -> Result<()> {
    let mut number = store.partition(partition).await?.open;
    loop {
        let segment = SegmentId { partition, number };
        match store.append(segment, frame, limits).await? {
            Appended::Stored { is_due, .. } => {
                restored.entries += frame.count();
                if is_due {
                    store.seal(segment, None::<Duration>).await?;
                }
                return Ok(());
            }
            Appended::Duplicate { .. } => {
                restored.known += frame.count();
                return Ok(());
            }
            Appended::NotOpen { open } => number = open,
            Appended::OutOfOrder { high_water } => {
                return Err(Error::corrupt(format_args!(
                    "the store has {high_water} entries of a restored object, not {}",
                    frame.first() - 1
                )));
            }
        }
    }
}
