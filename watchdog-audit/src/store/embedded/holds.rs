//! The life of segments under legal hold.

use std::time::Duration;

use redb::{ReadableTable as _, WriteTransaction};
use uuid::Uuid;

use super::{EXPIRING, EmbeddedStore, FRAMES, HELD, failed, frames_of, keep, partition_in};
use crate::error::Result;
use crate::segment::{Resuming, SegmentId};

pub(super) async fn announce(store: &EmbeddedStore, partition: u16, change: Uuid) -> Result<()> {
    store
        .write(move |transaction, _| {
            let mut held = partition_in(transaction, partition)?;
            held.holds = change;
            keep(transaction, partition, &held)
        })
        .await
}

pub(super) async fn suspend(
    store: &EmbeddedStore,
    partition: u16,
    segments: &[u64],
) -> Result<Vec<u64>> {
    let segments = segments.to_vec();
    store
        .write(move |transaction, now| {
            let mut expiring = transaction.open_table(EXPIRING).map_err(failed)?;
            let mut held = transaction.open_table(HELD).map_err(failed)?;
            let mut suspended = Vec::new();
            for number in segments {
                let place = (partition, number);
                // What has expired is gone, also before it is swept.
                let row = expiring.get(place).map_err(failed)?;
                let row = row.map(|row| (row.value().0, row.value().1.to_owned()));
                if let Some((_, manifest)) = row.filter(|(at, _)| *at > now) {
                    let last = last_millis(transaction, SegmentId { partition, number })?;
                    held.insert(place, (last, manifest.as_str())).map_err(failed)?;
                    expiring.remove(place).map_err(failed)?;
                }
                if held.get(place).map_err(failed)?.is_some() {
                    suspended.push(number);
                }
            }
            Ok(suspended)
        })
        .await
}

pub(super) async fn resume(
    store: &EmbeddedStore,
    segment: SegmentId,
    ttl: Duration,
    holds: Uuid,
) -> Result<Resuming> {
    store
        .write(move |transaction, _| {
            let place = (segment.partition, segment.number);
            let mut held = transaction.open_table(HELD).map_err(failed)?;
            let row = held.get(place).map_err(failed)?;
            let row = row.map(|row| (row.value().0, row.value().1.to_owned()));
            let partition = partition_in(transaction, segment.partition)?;
            let resuming = partition.resume(row.as_ref().map(|(last, _)| *last), ttl, holds);
            if let (Resuming::Resumed { expires_at }, Some((_, manifest))) = (resuming, &row) {
                let mut expiring = transaction.open_table(EXPIRING).map_err(failed)?;
                expiring.insert(place, (expires_at, manifest.as_str())).map_err(failed)?;
                held.remove(place).map_err(failed)?;
            }
            Ok(resuming)
        })
        .await
}

pub(super) async fn held(store: &EmbeddedStore, partition: u16) -> Result<Vec<u64>> {
    store
        .read(move |transaction, _| {
            let table = transaction.open_table(HELD).map_err(failed)?;
            let range = table.range((partition, 0)..=(partition, u64::MAX)).map_err(failed)?;
            range.map(|row| Ok(row.map_err(failed)?.0.value().1)).collect()
        })
        .await
}

/// When the last entry of a segment was stored.
fn last_millis(transaction: &WriteTransaction, segment: SegmentId) -> Result<u64> {
    let frames = transaction.open_table(FRAMES).map_err(failed)?;
    let last = frames.range(frames_of(segment)).map_err(failed)?.next_back();
    last.map_or(Ok(0), |row| Ok(row.map_err(failed)?.1.value().0))
}
