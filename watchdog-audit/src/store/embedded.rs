//! Segments in one local file: durable, one process, no server.

mod file;
mod holds;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use watchdog_core::{Clock, SystemClock};

use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, checksum_of};
use crate::millis::millis_of;
use crate::segment::{
    AppendRequest, Appended, ArchiveProof, Checksum, Expiry, FrameId, Gate, HighWater, Partition,
    Resuming, Sealed, Sealing, SegmentId, SegmentLimits, Totals,
};
use crate::store::SegmentStore;
use crate::writer_id::WriterId;
pub(crate) use file::DatabaseFile;

/// Partition → [`Partition`] as JSON.
const PARTITIONS: TableDefinition<'_, u16, &[u8]> = TableDefinition::new("partitions_v1");
/// Partition, writer → last accepted number and its frame's checksum.
const HIGH_WATER: TableDefinition<'_, (u16, [u8; 16]), (u64, [u8; 16])> =
    TableDefinition::new("high_water_v1");
/// Partition, segment → [`Totals`] as JSON, before the gate.
const SEALED: TableDefinition<'_, (u16, u64), &[u8]> = TableDefinition::new("sealed_v1");
/// Partition, segment → when it expires (milliseconds since 1970), manifest.
const EXPIRING: TableDefinition<'_, (u16, u64), (u64, &str)> = TableDefinition::new("expiring_v1");
/// Partition, segment → when its last entry was stored (milliseconds since 1970), manifest; archived
/// and held.
const HELD: TableDefinition<'_, (u16, u64), (u64, &str)> = TableDefinition::new("held_v1");
/// Partition, segment, frame number → the store's time and the frame.
const FRAMES: TableDefinition<'_, (u16, u64, u64), (u64, &[u8])> =
    TableDefinition::new("frames_v1");

/// Segments in a local file, each commit synced to the disk before it is acknowledged.
///
/// The file is locked: a second process that opens it is refused. An acknowledged entry survives
/// the death of the process and of the machine, not that of the disk.
#[derive(Clone)]
pub struct EmbeddedStore {
    file: Arc<DatabaseFile>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the file `segments.redb` in a directory, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the directory or the file cannot be used: no permission, or
    /// another process has it open.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::with_file(DatabaseFile::open(&directory.as_ref().join("segments.redb"))?)
    }

    /// A store that forgets everything when it is dropped, for tests and examples.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when there is no memory for it.
    pub fn memory() -> Result<Self> {
        Self::with_file(DatabaseFile::memory()?)
    }

    fn with_file(file: DatabaseFile) -> Result<Self> {
        file.with(make_tables)?;
        Ok(Self { file: Arc::new(file), clock: Arc::new(SystemClock) })
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn millis(&self) -> u64 {
        millis_of(self.clock.now())
    }

    /// Runs `change` in one write transaction, synced to the disk when it succeeds.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&WriteTransaction, u64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (file, now) = (Arc::clone(&self.file), self.millis());
        off_the_runtime(move || {
            file.with(|database| {
                let transaction = database.begin_write().map_err(failed)?;
                let outcome = change(&transaction, now)?;
                transaction.commit().map_err(failed)?;
                Ok(outcome)
            })
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction, u64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (file, now) = (Arc::clone(&self.file), self.millis());
        off_the_runtime(move || {
            file.with(|database| look(&database.begin_read().map_err(failed)?, now))
        })
        .await
    }

    /// At most `limit` frames of a segment after one of them, each through `read`.
    async fn page<T: Send + 'static>(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
        read: fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<(FrameId, T)>> {
        self.read(move |transaction, _| {
            let table = transaction.open_table(FRAMES).map_err(failed)?;
            let (partition, number) = (segment.partition, segment.number);
            let from = after.map_or(0, |id| id.number + 1);
            let range = (partition, number, from)..=(partition, number, u64::MAX);
            let mut frames = Vec::new();
            for row in table.range(range).map_err(failed)?.take(limit) {
                let (place, held) = row.map_err(failed)?;
                let (millis, bytes) = held.value();
                let id = FrameId { millis, number: place.value().2 };
                frames.push((id, read(bytes)?));
            }
            Ok(frames)
        })
        .await
    }
}

#[async_trait]
impl SegmentStore for EmbeddedStore {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn address(&self) -> String {
        let path = self.file.path().map(|path| path.display().to_string());
        format!("embedded {}", path.as_deref().unwrap_or("memory"))
    }

    fn partitions(&self) -> u16 {
        1
    }

    async fn preflight(&self) -> Result<()> {
        self.ping().await
    }

    async fn ping(&self) -> Result<()> {
        self.read(|_, _| Ok(())).await
    }

    async fn now(&self, _partition: u16) -> Result<u64> {
        Ok(self.millis())
    }

    async fn append(
        &self,
        segment: SegmentId,
        frame: &Frame,
        limits: SegmentLimits,
    ) -> Result<Appended> {
        let bytes = frame.encode();
        let request = AppendRequest {
            number: segment.number,
            writer: frame.writer(),
            first: frame.first(),
            count: frame.count(),
            bytes: bytes.len() as u64,
        };
        let last = frame.last();
        self.write(move |transaction, now| {
            let writer = (segment.partition, *request.writer.as_bytes());
            let mut marks = transaction.open_table(HIGH_WATER).map_err(failed)?;
            let mark = marks.get(writer).map_err(failed)?.map_or_else(HighWater::default, |mark| {
                let (last, checksum) = mark.value();
                HighWater { last, checksum }
            });
            let mut partition = partition_in(transaction, segment.partition)?;
            let appended = partition.append(request, mark, limits, now);
            if let Appended::Stored { frame, .. } = appended {
                let place = (segment.partition, segment.number, frame.number);
                let mut frames = transaction.open_table(FRAMES).map_err(failed)?;
                frames.insert(place, (frame.millis, bytes.as_slice())).map_err(failed)?;
                marks.insert(writer, (last, checksum_of(&bytes))).map_err(failed)?;
                keep(transaction, segment.partition, &partition)?;
            }
            Ok(appended)
        })
        .await
    }

    async fn seal(&self, segment: SegmentId, ttl: Option<Duration>) -> Result<Sealing> {
        self.write(move |transaction, _| {
            let mut partition = partition_in(transaction, segment.partition)?;
            let (sealing, sealed) = partition.seal(segment.number, ttl);
            if let Some(sealed) = sealed {
                let place = (segment.partition, segment.number);
                match sealed {
                    Sealed::Expires { at } => {
                        let mut expiring = transaction.open_table(EXPIRING).map_err(failed)?;
                        expiring.insert(place, (at, "")).map_err(failed)?;
                    }
                    Sealed::Waits(totals) => {
                        let mut waiting = transaction.open_table(SEALED).map_err(failed)?;
                        waiting.insert(place, to_json(&totals)?.as_slice()).map_err(failed)?;
                    }
                }
                keep(transaction, segment.partition, &partition)?;
            }
            Ok(sealing)
        })
        .await
    }

    async fn partition(&self, partition: u16) -> Result<Partition> {
        self.read(move |transaction, _| {
            let table = transaction.open_table(PARTITIONS).map_err(failed)?;
            partition_of(&table, partition)
        })
        .await
    }

    async fn sealed(&self, partition: u16) -> Result<Vec<(u64, Totals)>> {
        self.read(move |transaction, _| {
            let table = transaction.open_table(SEALED).map_err(failed)?;
            let mut sealed = Vec::new();
            for row in table.range((partition, 0)..=(partition, u64::MAX)).map_err(failed)? {
                let (place, totals) = row.map_err(failed)?;
                sealed.push((place.value().1, from_json(totals.value())?));
            }
            Ok(sealed)
        })
        .await
    }

    async fn frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Frame)>> {
        self.page(segment, after, limit, Frame::decode).await
    }

    async fn raw_frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Vec<u8>)>> {
        self.page(segment, after, limit, |bytes| Ok(bytes.to_vec())).await
    }

    async fn mark_archived(&self, segment: SegmentId, proof: &ArchiveProof) -> Result<Gate> {
        let proof = proof.clone();
        self.write(move |transaction, _| {
            let place = (segment.partition, segment.number);
            let mut sealed = transaction.open_table(SEALED).map_err(failed)?;
            let totals: Option<Totals> = match sealed.get(place).map_err(failed)? {
                Some(totals) => Some(from_json(totals.value())?),
                None => None,
            };
            let held = held_frames(transaction, segment)?;
            let mut partition = partition_in(transaction, segment.partition)?;
            let gate = partition.gate(segment.number, totals, held, &proof);
            let row = match gate {
                Gate::Archived { expires_at } => Some((EXPIRING, expires_at)),
                Gate::Held => Some((HELD, totals.map_or(0, |totals| totals.last_millis))),
                _ => None,
            };
            if let Some((table, millis)) = row {
                let manifest = proof.manifest.to_string();
                let mut table = transaction.open_table(table).map_err(failed)?;
                table.insert(place, (millis, manifest.as_str())).map_err(failed)?;
                sealed.remove(place).map_err(failed)?;
            }
            keep(transaction, segment.partition, &partition)?;
            Ok(gate)
        })
        .await
    }

    async fn announce_holds(&self, partition: u16, change: Uuid) -> Result<()> {
        holds::announce(self, partition, change).await
    }

    async fn suspend_expiry(&self, partition: u16, segments: &[u64]) -> Result<Vec<u64>> {
        holds::suspend(self, partition, segments).await
    }

    async fn resume_expiry(
        &self,
        segment: SegmentId,
        ttl: Duration,
        change: Uuid,
    ) -> Result<Resuming> {
        holds::resume(self, segment, ttl, change).await
    }

    async fn held(&self, partition: u16) -> Result<Vec<u64>> {
        holds::held(self, partition).await
    }

    async fn expiry(&self, segment: SegmentId) -> Result<Expiry> {
        self.read(move |transaction, now| {
            let place = (segment.partition, segment.number);
            let expiring = transaction.open_table(EXPIRING).map_err(failed)?;
            if let Some(row) = expiring.get(place).map_err(failed)? {
                return Ok(match row.value().0.checked_sub(now) {
                    Some(left) if left > 0 => Expiry::InMillis(left),
                    _ => Expiry::Missing,
                });
            }
            let frames = transaction.open_table(FRAMES).map_err(failed)?;
            let mut range = frames.range(frames_of(segment)).map_err(failed)?;
            Ok(if range.next().is_some() { Expiry::Never } else { Expiry::Missing })
        })
        .await
    }

    async fn raise_fence(&self, partition: u16, token: u64) -> Result<u64> {
        self.write(move |transaction, _| {
            let mut held = partition_in(transaction, partition)?;
            let newest = held.raise_fence(token);
            keep(transaction, partition, &held)?;
            Ok(newest)
        })
        .await
    }

    async fn skip(&self, partition: u16, writer: WriterId, last: u64) -> Result<u64> {
        self.write(move |transaction, _| {
            let writer = (partition, *writer.as_bytes());
            let mut marks = transaction.open_table(HIGH_WATER).map_err(failed)?;
            let held = marks.get(writer).map_err(failed)?.map_or(0, |mark| mark.value().0);
            if held < last {
                marks.insert(writer, (last, Checksum::default())).map_err(failed)?;
            }
            Ok(held.max(last))
        })
        .await
    }

    async fn forget(&self, partition: u16, writers: &[(WriterId, u64)]) -> Result<u64> {
        let writers = writers.to_vec();
        self.write(move |transaction, _| {
            let mut marks = transaction.open_table(HIGH_WATER).map_err(failed)?;
            let mut forgotten = 0;
            for (writer, last) in writers {
                let writer = (partition, *writer.as_bytes());
                let mark = marks.get(writer).map_err(failed)?.map(|mark| mark.value().0);
                if mark.is_some_and(|mark| mark <= last) {
                    marks.remove(writer).map_err(failed)?;
                    forgotten += 1;
                }
            }
            Ok(forgotten)
        })
        .await
    }

    /// One process has the file, so nobody else archives from it.
    async fn lease(&self, _holder: &str, _ttl: Duration) -> Result<bool> {
        Ok(true)
    }

    async fn release(&self, _holder: &str) -> Result<()> {
        Ok(())
    }

    /// Removes the segments whose recorded time has passed; no other segment ever goes.
    async fn sweep(&self) -> Result<u64> {
        self.write(|transaction, now| {
            let mut expiring = transaction.open_table(EXPIRING).map_err(failed)?;
            let mut due = Vec::new();
            for row in expiring.iter().map_err(failed)? {
                let (place, value) = row.map_err(failed)?;
                if value.value().0 <= now {
                    due.push(place.value());
                }
            }
            let mut frames = transaction.open_table(FRAMES).map_err(failed)?;
            for (partition, number) in &due {
                let segment = SegmentId { partition: *partition, number: *number };
                frames.retain_in(frames_of(segment), |_, _| false).map_err(failed)?;
                expiring.remove((*partition, *number)).map_err(failed)?;
            }
            Ok(due.len() as u64)
        })
        .await
    }
}

/// Readers find every table, also before the first entry.
fn make_tables(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(PARTITIONS).map_err(failed)?;
    transaction.open_table(HIGH_WATER).map_err(failed)?;
    transaction.open_table(SEALED).map_err(failed)?;
    transaction.open_table(EXPIRING).map_err(failed)?;
    transaction.open_table(HELD).map_err(failed)?;
    transaction.open_table(FRAMES).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(())
}

fn frames_of(segment: SegmentId) -> std::ops::RangeInclusive<(u16, u64, u64)> {
    (segment.partition, segment.number, 0)..=(segment.partition, segment.number, u64::MAX)
}

fn held_frames(transaction: &WriteTransaction, segment: SegmentId) -> Result<u64> {
    let frames = transaction.open_table(FRAMES).map_err(failed)?;
    let range = frames.range(frames_of(segment)).map_err(failed)?;
    Ok(range.count() as u64)
}

fn partition_in(transaction: &WriteTransaction, partition: u16) -> Result<Partition> {
    partition_of(&transaction.open_table(PARTITIONS).map_err(failed)?, partition)
}

fn partition_of(table: &impl ReadableTable<u16, &'static [u8]>, number: u16) -> Result<Partition> {
    match table.get(number).map_err(failed)? {
        Some(json) => from_json(json.value()),
        None => Ok(Partition::default()),
    }
}

fn keep(transaction: &WriteTransaction, number: u16, partition: &Partition) -> Result<()> {
    let mut table = transaction.open_table(PARTITIONS).map_err(failed)?;
    table.insert(number, to_json(partition)?.as_slice()).map_err(failed)?;
    Ok(())
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::new(ErrorKind::Misuse, "value is not JSON").with_source(error))
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::corrupt("the embedded store holds no JSON").with_source(error))
}

pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Unavailable, "the embedded store's thread ended")
            .with_source(error))
    })
}

pub(crate) fn failed(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let kind = match &error {
        redb::Error::Corrupted(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the embedded store failed").with_source(error)
}
