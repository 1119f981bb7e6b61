//! What the store holds that waits for its archive.

use crate::error::Result;
use crate::frame::Frame;
use crate::segment::{Expiry, FrameId, Partition, SegmentId, Totals};
use crate::store::SegmentStore;

const FRAMES_AT_ONCE: usize = 64;

/// The segments of one partition before the gate.
#[derive(Debug)]
pub(crate) struct LivePartition {
    #[cfg_attr(not(feature = "objects"), expect(dead_code, reason = "the archive compares it"))]
    pub(crate) held: Partition,
    /// In order, the open one last, with the totals of the sealed ones.
    pub(crate) segments: Vec<(SegmentId, Option<Totals>)>,
}

/// The segments that were sealed while nobody archived and have not expired, the newest first.
pub(crate) async fn list_unarchived(
    store: &dyn SegmentStore,
    partition: u16,
) -> Result<Vec<SegmentId>> {
    let mut found = Vec::new();
    for number in (1..=store.partition(partition).await?.unarchived).rev() {
        let segment = SegmentId { partition, number };
        // They expire in order.
        if store.expiry(segment).await? == Expiry::Missing {
            break;
        }
        found.push(segment);
    }
    Ok(found)
}

/// Lists what waits. Whoever compares with the archive reads the archive afterwards: what is
/// archived in between is then found there.
pub(crate) async fn list(store: &dyn SegmentStore, partition: u16) -> Result<LivePartition> {
    let held = store.partition(partition).await?;
    let mut segments: Vec<_> = store
        .sealed(partition)
        .await?
        .into_iter()
        .map(|(number, totals)| (SegmentId { partition, number }, Some(totals)))
        .collect();
    let open = SegmentId { partition, number: held.open };
    if !segments.iter().any(|(segment, _)| *segment == open) {
        segments.push((open, None));
        segments.sort_unstable_by_key(|(segment, _)| *segment);
    }
    Ok(LivePartition { held, segments })
}

/// Hands the frames of a segment to `take`, page by page.
pub(crate) async fn read(
    store: &dyn SegmentStore,
    segment: SegmentId,
    mut take: impl FnMut(FrameId, &Frame) + Send,
) -> Result<()> {
    let mut after = None;
    loop {
        let page = store.frames(segment, after, FRAMES_AT_ONCE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (id, frame) in &page {
            take(*id, frame);
        }
    }
}
