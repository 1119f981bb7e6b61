//! A store that can be down, and can do what it is asked and lose the reply.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use uuid::Uuid;
use watchdog_audit::segment::{
    Appended, ArchiveProof, Expiry, FrameId, Gate, Partition, Resuming, Sealing, SegmentId,
    SegmentLimits, Totals,
};
use watchdog_audit::{Error, ErrorKind, Frame, Result, SegmentStore, WriterId};

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: RwLock<Arc<dyn SegmentStore>>,
    name: Option<&'static str>,
    is_down: AtomicBool,
    replies_to_lose: AtomicUsize,
    panics: AtomicBool,
    /// How many frames are taken before the store goes down.
    frames_left: AtomicUsize,
    /// Frames of this writer are refused for good.
    refused: RwLock<Option<WriterId>>,
    appends: AtomicUsize,
    /// Frames that may pass.
    passes: Semaphore,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn SegmentStore>) -> Self {
        let (is_down, replies_to_lose) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self {
            inner: RwLock::new(inner),
            name: None,
            is_down,
            replies_to_lose,
            panics: AtomicBool::new(false),
            frames_left: AtomicUsize::new(usize::MAX),
            refused: RwLock::default(),
            appends: AtomicUsize::new(0),
            passes: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }

    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Another store answers from now on, as after everything was flushed.
    pub(crate) fn replace(&self, inner: Arc<dyn SegmentStore>) {
        *self.inner.write().unwrap() = inner;
    }

    fn inner(&self) -> Arc<dyn SegmentStore> {
        Arc::clone(&self.inner.read().unwrap())
    }

    pub(crate) fn take_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// The next calls that write are done, and fail.
    pub(crate) fn lose_replies(&self, count: usize) {
        self.replies_to_lose.store(count, Ordering::SeqCst);
    }

    /// The store takes so many frames more and is down then.
    pub(crate) fn take_down_after(&self, frames: usize) {
        self.frames_left.store(frames, Ordering::SeqCst);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::SeqCst)
    }

    /// The frames of a writer are refused from now on, or of nobody.
    pub(crate) fn refuse(&self, writer: Option<WriterId>) {
        *self.refused.write().unwrap() = writer;
    }

    /// The calls that append panic from now on.
    pub(crate) fn make_panic(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// Calls that append wait from now on, until so many may pass.
    pub(crate) fn hold_up(&self) {
        self.passes.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn let_pass(&self, frames: usize) {
        self.passes.add_permits(frames);
    }

    /// How often it was asked to append.
    pub(crate) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    fn up(&self) -> Result<()> {
        if self.is_down.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }

    fn reply<T>(&self, value: T) -> Result<T> {
        let lost = self
            .replies_to_lose
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lost.is_ok() { Err(unavailable()) } else { Ok(value) }
    }
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the test took the store down")
}

#[async_trait]
impl SegmentStore for Faulty {
    fn name(&self) -> &'static str {
        self.name.unwrap_or_else(|| self.inner().name())
    }

    fn partitions(&self) -> u16 {
        self.inner().partitions()
    }

    async fn preflight(&self) -> Result<()> {
        self.up()?;
        self.inner().preflight().await
    }

    async fn ping(&self) -> Result<()> {
        self.up()?;
        self.inner().ping().await
    }

    async fn now(&self, partition: u16) -> Result<u64> {
        self.up()?;
        self.inner().now(partition).await
    }

    async fn append(
        &self,
        segment: SegmentId,
        frame: &Frame,
        limits: SegmentLimits,
    ) -> Result<Appended> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.passes.acquire().await.unwrap().forget();
        assert!(!self.panics.load(Ordering::SeqCst), "the test asked for it");
        self.up()?;
        if *self.refused.read().unwrap() == Some(frame.writer()) {
            return Err(Error::new(ErrorKind::Corrupt, "the test refuses this writer"));
        }
        let left = &self.frames_left;
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err() {
            left.store(usize::MAX, Ordering::SeqCst);
            self.take_down(true);
            return Err(unavailable());
        }
        let appended = self.inner().append(segment, frame, limits).await?;
        self.reply(appended)
    }

    async fn seal(&self, segment: SegmentId, ttl: Option<Duration>) -> Result<Sealing> {
        self.up()?;
        let sealing = self.inner().seal(segment, ttl).await?;
        self.reply(sealing)
    }

    async fn partition(&self, partition: u16) -> Result<Partition> {
        self.up()?;
        self.inner().partition(partition).await
    }

    async fn sealed(&self, partition: u16) -> Result<Vec<(u64, Totals)>> {
        self.up()?;
        self.inner().sealed(partition).await
    }

    async fn frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Frame)>> {
        self.up()?;
        self.inner().frames(segment, after, limit).await
    }

    async fn raw_frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Vec<u8>)>> {
        self.up()?;
        self.inner().raw_frames(segment, after, limit).await
    }

    async fn mark_archived(&self, segment: SegmentId, proof: &ArchiveProof) -> Result<Gate> {
        self.up()?;
        let gate = self.inner().mark_archived(segment, proof).await?;
        self.reply(gate)
    }

    async fn announce_holds(&self, partition: u16, change: Uuid) -> Result<()> {
        self.up()?;
        self.inner().announce_holds(partition, change).await?;
        self.reply(())
    }

    async fn suspend_expiry(&self, partition: u16, segments: &[u64]) -> Result<Vec<u64>> {
        self.up()?;
        let held = self.inner().suspend_expiry(partition, segments).await?;
        self.reply(held)
    }

    async fn resume_expiry(
        &self,
        segment: SegmentId,
        ttl: Duration,
        holds: Uuid,
    ) -> Result<Resuming> {
        self.up()?;
        let resuming = self.inner().resume_expiry(segment, ttl, holds).await?;
        self.reply(resuming)
    }

    async fn held(&self, partition: u16) -> Result<Vec<u64>> {
        self.up()?;
        self.inner().held(partition).await
    }

    async fn expiry(&self, segment: SegmentId) -> Result<Expiry> {
        self.up()?;
        self.inner().expiry(segment).await
    }

    async fn raise_fence(&self, partition: u16, token: u64) -> Result<u64> {
        self.up()?;
        let newest = self.inner().raise_fence(partition, token).await?;
        self.reply(newest)
    }

    async fn lease(&self, holder: &str, ttl: Duration) -> Result<bool> {
        self.up()?;
        let lease = self.inner().lease(holder, ttl).await?;
        self.reply(lease)
    }

    async fn release(&self, holder: &str) -> Result<()> {
        self.up()?;
        self.inner().release(holder).await
    }

    async fn skip(&self, partition: u16, writer: WriterId, last: u64) -> Result<u64> {
        self.up()?;
        let held = self.inner().skip(partition, writer, last).await?;
        self.reply(held)
    }

    async fn forget(&self, partition: u16, writers: &[(WriterId, u64)]) -> Result<u64> {
        self.up()?;
        let forgotten = self.inner().forget(partition, writers).await?;
        self.reply(forgotten)
    }

    async fn sweep(&self) -> Result<u64> {
        self.up()?;
        self.inner().sweep().await
    }
}
