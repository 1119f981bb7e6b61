//! Bringing the frames of one writer to the store, one after the other.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::log::sources::{Found, Sources};
use crate::log::verdict::{Verdict, judge};
use crate::log::watermark::Watermark;
use crate::segment::{Sealing, SegmentId, SegmentLimits, WriterRange};
use crate::store::SegmentStore;
use crate::telemetry;
use crate::writer_id::WriterId;

/// What it takes to bring a writer's frames to the store.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) store: Arc<dyn SegmentStore>,
    pub(crate) watermark: Watermark,
    pub(crate) limits: SegmentLimits,
    /// Set when nothing is archived: the life a segment is given when it is sealed.
    pub(crate) unarchived_ttl: Option<Duration>,
    writer: WriterId,
    segment: SegmentId,
    kin: Kin,
}

/// Who the writer is to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kin {
    Own,
    /// A process that is gone: the store may have more of it than is here.
    Gone,
    /// The heir of one: whoever recorded its entries before encoded the same ones, in frames of
    /// his own.
    Heir,
}

/// Why a frame is not in the store.
#[derive(Debug)]
pub(crate) enum Undelivered {
    Failed(Error),
    /// The writer cannot go on under its id: entries are gone from the store and not kept here
    /// either, or somebody else writes under it.
    Superseded {
        lost: Option<WriterRange>,
    },
}

impl From<Error> for Undelivered {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Delivery {
    pub(crate) fn new(
        store: Arc<dyn SegmentStore>,
        watermark: Watermark,
        limits: SegmentLimits,
        unarchived_ttl: Option<Duration>,
        writer: WriterId,
    ) -> Self {
        // The store answers with the right number when this is not it.
        let segment = SegmentId { partition: writer.partition(store.partitions()), number: 1 };
        Self { store, watermark, limits, unarchived_ttl, writer, segment, kin: Kin::Own }
    }

    /// The same for another writer.
    pub(crate) fn of(&self, writer: WriterId) -> Self {
        let partition = writer.partition(self.store.partitions());
        self.with(writer, partition, Kin::Own)
    }

    /// The same for a writer that is gone, in the partition it had, if that is known.
    pub(crate) fn adopting(&self, writer: WriterId, partition: Option<u16>) -> Self {
        let partitions = self.store.partitions();
        let known = partition.filter(|partition| *partition < partitions);
        self.with(writer, known.unwrap_or_else(|| writer.partition(partitions)), Kin::Gone)
    }

    /// The same for the heir of one.
    pub(crate) fn inheriting(&self, heir: WriterId, partition: u16) -> Self {
        Self { kin: Kin::Heir, ..self.adopting(heir, Some(partition)) }
    }

    fn with(&self, writer: WriterId, partition: u16, kin: Kin) -> Self {
        let segment = SegmentId { partition, ..self.segment };
        Self { writer, segment, kin, ..self.clone() }
    }

    pub(crate) fn partition(&self) -> u16 {
        self.segment.partition
    }

    /// Given that the store has every entry up to `stored`, brings the next frame there, of those
    /// up to `until`; answers up to which entry the store has them now, which is less when the
    /// store has lost some.
    pub(crate) async fn step(
        &mut self,
        sources: &Sources,
        (stored, until): (u64, u64),
    ) -> Result<u64, Undelivered> {
        let frame = match sources.after(stored).await? {
            Found::Frame(frame) => frame,
            Found::Gap { first } => return self.pass_over(stored, first).await,
            Found::Nothing => return self.pass_over(stored, until + 1).await,
        };
        match self.offer(&frame).await? {
            Verdict::Behind { high_water } => {
                let now = self.go_back(high_water).await;
                // What is archived the store may have forgotten.
                if now < frame.first() - 1 {
                    telemetry::rolled_back(self.writer, now, frame.first() - 1);
                }
                Ok(now)
            }
            Verdict::Ahead { high_water } if self.kin != Kin::Own => Ok(high_water),
            Verdict::Foreign { high_water } if self.kin == Kin::Heir => Ok(high_water),
            Verdict::Ahead { .. } | Verdict::Foreign { .. } => {
                Err(Undelivered::Superseded { lost: None })
            }
            Verdict::Stored { .. } | Verdict::Reopen { .. } => Ok(frame.last()),
        }
    }

    async fn offer(&mut self, frame: &Frame) -> Result<Verdict> {
        loop {
            let appended = self.store.append(self.segment, frame, self.limits).await?;
            match judge(frame, appended) {
                Verdict::Reopen { open } => self.segment.number = open,
                Verdict::Stored { is_due: true } => {
                    self.seal().await;
                    return Ok(Verdict::Stored { is_due: true });
                }
                verdict => return Ok(verdict),
            }
        }
    }

    /// Sealing is worth a try only: the archiver seals what is due as well.
    async fn seal(&mut self) {
        match self.store.seal(self.segment, self.unarchived_ttl).await {
            Ok(Sealing::Sealed | Sealing::AlreadySealed) => self.segment.number += 1,
            Ok(Sealing::Empty) => {}
            Err(error) => tracing::warn!(%error, segment = %self.segment, "segment is not sealed"),
        }
    }

    /// The store lost what came after `high_water`: what of it is archived need not come again.
    async fn go_back(&mut self, high_water: u64) -> u64 {
        self.skip_archived(high_water).await.unwrap_or_else(|error| {
            // All of it comes again: the archiver sees what it has.
            tracing::debug!(%error, "nothing is passed over");
            high_water
        })
    }

    /// Nobody here has the entries between `stored` and `first`: the archive has them, or they are
    /// lost.
    async fn pass_over(&mut self, stored: u64, first: u64) -> Result<u64, Undelivered> {
        match self.skip_archived(stored).await {
            Ok(high_water) if high_water > stored => return Ok(high_water),
            Err(error) if error.kind() != ErrorKind::Misuse => return Err(error.into()),
            _ => {}
        }
        let lost = WriterRange { first: stored + 1, last: first - 1 };
        Err(Undelivered::Superseded { lost: Some(lost) })
    }

    async fn skip_archived(&mut self, high_water: u64) -> Result<u64> {
        let archived = self.watermark.of(&self.writer).await?;
        if archived <= high_water {
            return Ok(high_water);
        }
        self.store.skip(self.segment.partition, self.writer, archived).await
    }
}
