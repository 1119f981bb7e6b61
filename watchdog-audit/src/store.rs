//! The port behind the log: where segments live until they are archived and have expired.

#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::segment::{
    Appended, ArchiveProof, Expiry, FrameId, Gate, Partition, Resuming, Sealing, SegmentId,
    SegmentLimits, Totals,
};
use crate::writer_id::WriterId;

#[cfg(feature = "embedded")]
pub use embedded::EmbeddedStore;
#[cfg(feature = "embedded")]
pub(crate) use embedded::{DatabaseFile, failed, off_the_runtime};
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "redis")]
pub(crate) use redis::refuse_evicting;

/// Where segments live.
///
/// Every call that changes something may be repeated word by word after a lost reply and changes
/// nothing the second time. [`testing::conformance`](crate::testing) holds an implementation
/// against this contract.
#[async_trait]
pub trait SegmentStore: fmt::Debug + Send + Sync {
    /// A name for metrics and errors: `redis`, `embedded`.
    fn name(&self) -> &'static str;

    /// Where the store is, without credentials. A spool that is left behind tells by it whether it
    /// was for this store; two stores with different entries are to have different ones.
    fn address(&self) -> String {
        self.name().to_owned()
    }

    /// How many partitions there are, at least 1. A writer stays in one of them.
    fn partitions(&self) -> u16;

    /// Whether the store can hold what it acknowledges; called once at the start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it may throw entries away, with the
    /// way to mend it.
    async fn preflight(&self) -> Result<()>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// As of a call that it does not answer.
    async fn ping(&self) -> Result<()>;

    /// The time by the clock that the frames of a partition are stored by, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn now(&self, partition: u16) -> Result<u64>;

    /// Appends a frame to the open segment of a partition, in one step: all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable): the frame may be stored or not;
    /// calling again finds out.
    async fn append(
        &self,
        segment: SegmentId,
        frame: &Frame,
        limits: SegmentLimits,
    ) -> Result<Appended>;

    /// Seals a segment and opens the next. With `ttl`, which says that the caller archives nothing,
    /// the segment expires so that its last entry lives exactly that long, and
    /// [`Partition::unarchived`] becomes its number. A partition with a fence is archived by
    /// somebody: there the life is not heeded, and the segment waits for the gate.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn seal(&self, segment: SegmentId, ttl: Option<Duration>) -> Result<Sealing>;

    /// How a partition stands.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn partition(&self, partition: u16) -> Result<Partition>;

    /// The segments that are sealed and have not passed the gate, in order, all of them.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn sealed(&self, partition: u16) -> Result<Vec<(u64, Totals)>>;

    /// At most `limit` frames of a segment in order, after one of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when what is stored is not a frame.
    async fn frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Frame)>>;

    /// As [`frames`](Self::frames), as they are stored, whether they are frames or not.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer. A store that has only [`frames`](Self::frames) answers
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) as that does: a segment that cannot be read
    /// then holds up the archive of its partition.
    async fn raw_frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Vec<u8>)>> {
        let frames = self.frames(segment, after, limit).await?;
        Ok(frames.into_iter().map(|(id, frame)| (id, frame.encode())).collect())
    }

    /// The gate: lets a sealed segment expire, given the proof that it is archived; a held one it
    /// notes as archived and leaves without a life.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn mark_archived(&self, segment: SegmentId, proof: &ArchiveProof) -> Result<Gate>;

    /// Announces that the legal holds have changed, by a name no other change has. From then on
    /// nobody who read them before gives a segment a life: neither the gate nor
    /// [`resume_expiry`](Self::resume_expiry).
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn announce_holds(&self, partition: u16, change: Uuid) -> Result<()>;

    /// Takes back the life of those of the segments that have one; answers which of the segments
    /// are held now.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer: some may have been suspended.
    async fn suspend_expiry(&self, partition: u16, segments: &[u64]) -> Result<Vec<u64>>;

    /// Gives a held segment the life back that it would have had: its last entry lives exactly
    /// `ttl` after it was stored. When that is over, the segment goes at once.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn resume_expiry(
        &self,
        segment: SegmentId,
        ttl: Duration,
        holds: Uuid,
    ) -> Result<Resuming>;

    /// The segments of a partition that are held: archived, or sealed with a life, and without one.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn held(&self, partition: u16) -> Result<Vec<u64>>;

    /// How long a segment lives.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn expiry(&self, segment: SegmentId) -> Result<Expiry>;

    /// Raises the fencing token of a partition and answers the newest. From the first on, no
    /// segment of the partition has a life before the gate.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn raise_fence(&self, partition: u16, token: u64) -> Result<u64>;

    /// Takes or renews the right to archive for `ttl`: whether `holder` has it now. Only saves
    /// work; correctness rests on the fence.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn lease(&self, holder: &str, ttl: Duration) -> Result<bool>;

    /// Gives the right to archive back, if `holder` has it.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn release(&self, holder: &str) -> Result<()>;

    /// Takes note that a writer's entries up to `last` are archived: the writer goes on after them,
    /// also where the store has lost them. Answers the writer's last accepted number, never less
    /// than before.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer. [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) by a
    /// store that cannot do it: a writer whose archived entries it lost then goes on under a new id.
    async fn skip(&self, _partition: u16, _writer: WriterId, _last: u64) -> Result<u64> {
        Err(Error::new(ErrorKind::Misuse, "the store cannot pass over entries that are archived"))
    }

    /// Forgets how far writers are, each given with its last archived number, unless the store has
    /// taken more of it. A writer that is forgotten is as one that never was: its next entry is out
    /// of order, and it goes on by [`skip`](Self::skip). Answers how many were forgotten; a store
    /// may keep them all.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn forget(&self, _partition: u16, _writers: &[(WriterId, u64)]) -> Result<u64> {
        Ok(0)
    }

    /// Waits up to `limit` until `replicas` replicas have a writer's entries up to `last`; whether
    /// they do.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer. [`ErrorKind::Config`](crate::ErrorKind::Config) by a
    /// store without replicas.
    async fn replicated(
        &self,
        _partition: u16,
        _writer: WriterId,
        _last: u64,
        _replicas: u8,
        _limit: Duration,
    ) -> Result<bool> {
        Err(Error::new(
            ErrorKind::Config,
            "the store has no replicas: WATCHDOG_AUDIT_DURABILITY=replicated needs \
             WATCHDOG_AUDIT_STORE=redis",
        ))
    }

    /// Removes segments whose time has come, where the store does not do it by itself; answers how
    /// many.
    ///
    /// # Errors
    ///
    /// As of a store that does not answer.
    async fn sweep(&self) -> Result<u64>;
}
