//! The task that numbers entries, batches them and brings them to the store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use watchdog_core::audit::Entry;
use watchdog_core::{Clock, Timestamp};

use crate::entry::{self, Line, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::log::loss;
use crate::personal::{Sealed, SubjectKeys};
use crate::receipt::Receipt;
use crate::recent::Recent;
use crate::replay::Replay;
use crate::segment::{Appended, Sealing, SegmentId, SegmentLimits, WriterRange};
use crate::store::SegmentStore;
use crate::telemetry::{self, Mirror};
use crate::writer_id::WriterId;

/// The first pause after a failed call, doubled up to [`LONGEST_PAUSE`].
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An entry on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) entry: Entry,
    pub(crate) ack: Option<Ack>,
}

pub(crate) type Ack = oneshot::Sender<Result<Receipt>>;

/// What the façade and the health check see of the writer.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Entries taken and not yet acknowledged by the store.
    pub(crate) waiting: AtomicU64,
    /// Since when the store has refused the oldest of them.
    failing_since: Mutex<Option<Timestamp>>,
    /// Tells the writer to take what is queued and end.
    pub(crate) closing: Notify,
}

impl Shared {
    pub(crate) fn failing_since(&self) -> Option<Timestamp> {
        *self.failing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_failure(&self, at: Option<Timestamp>) {
        let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = at.map(|at| since.unwrap_or(at));
    }
}

/// Numbers, batches and delivers the entries of one process.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) store: Arc<dyn SegmentStore>,
    pub(crate) keys: Option<Arc<dyn SubjectKeys>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: SegmentLimits,
    /// Set when nothing is archived: the life a segment is given when it is sealed.
    pub(crate) unarchived_ttl: Option<Duration>,
    pub(crate) mirror: Mirror,
    pub(crate) shared: Arc<Shared>,
    id: WriterId,
    next: u64,
    segment: SegmentId,
    recent: Recent,
    replay: Replay,
}

/// One frame and who waits for each of its entries.
struct Batch {
    frame: Frame,
    waiters: Vec<Waiter>,
}

/// Who waits for one entry: more than one when it was delivered twice.
struct Waiter {
    acks: Vec<Option<Ack>>,
    receipt: Receipt,
}

pub(crate) struct WriterParts {
    pub(crate) store: Arc<dyn SegmentStore>,
    pub(crate) keys: Option<Arc<dyn SubjectKeys>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: SegmentLimits,
    pub(crate) unarchived_ttl: Option<Duration>,
    pub(crate) mirror: Mirror,
}

impl Writer {
    pub(crate) fn new(parts: WriterParts) -> Result<Self> {
        let id = WriterId::random()?;
        let partition = id.partition(parts.store.partitions());
        Ok(Self {
            store: parts.store,
            keys: parts.keys,
            clock: parts.clock,
            limits: parts.limits,
            unarchived_ttl: parts.unarchived_ttl,
            mirror: parts.mirror,
            shared: Arc::default(),
            id,
            next: 1,
            // The store answers with the right number when this is not it.
            segment: SegmentId { partition, number: 1 },
            recent: Recent::default(),
            replay: Replay::default(),
        })
    }

    pub(crate) fn id(&self) -> WriterId {
        self.id
    }

    /// Runs until the queue is closed and empty.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let shared = Arc::clone(&self.shared);
        let mut is_closing = false;
        loop {
            let job = tokio::select! {
                biased;
                () = shared.closing.notified(), if !is_closing => {
                    is_closing = true;
                    queue.close();
                    continue;
                }
                job = queue.recv() => job,
            };
            let Some(job) = job else { return };
            let mut batch = self.batch();
            self.take(&mut batch, job).await;
            // What queued up while the last call was on its way goes together.
            while !batch.frame.is_full() {
                let Ok(job) = queue.try_recv() else { break };
                self.take(&mut batch, job).await;
            }
            telemetry::queue_depth(queue.len());
            if !batch.waiters.is_empty() {
                self.deliver(batch).await;
            }
        }
    }

    fn batch(&self) -> Batch {
        Batch { frame: Frame::new(self.id, self.next), waiters: Vec::new() }
    }

    /// Adds an entry to the batch, or answers its caller at once.
    async fn take(&mut self, batch: &mut Batch, job: Job) {
        let id = job.entry.id;
        if let Some(receipt) = self.recent.find(&id) {
            telemetry::repeated();
            match batch.waiters.iter_mut().find(|waiter| waiter.receipt == receipt) {
                Some(waiter) => waiter.acks.push(job.ack),
                None => self.answer(job.ack, Ok(receipt)),
            }
            return;
        }
        self.mirror.show(&job.entry);
        match self.encode(batch, job.entry).await {
            Ok(receipt) => {
                self.recent.insert(id, receipt);
                batch.waiters.push(Waiter { acks: vec![job.ack], receipt });
            }
            Err(error) => {
                telemetry::refused(&error);
                self.answer(job.ack, Err(error));
            }
        }
    }

    async fn encode(&mut self, batch: &mut Batch, entry: Entry) -> Result<Receipt> {
        entry::check(&entry)?;
        let recorded_at = self.clock.now();
        let place = Place { writer: self.id, sequence: self.next, recorded_at };
        let line = match &self.keys {
            Some(keys) => {
                let key = keys.current(&entry.actor).await?;
                let sealed = Sealed::seal(&key, place.writer, place.sequence, &entry)?;
                Line::plain(place, entry).with_sealed(sealed)
            }
            None => Line::plain(place, entry),
        };
        batch.frame.push(&line.encode()?, recorded_at.as_millisecond())?;
        self.next += 1;
        Ok(Receipt { writer: self.id, sequence: place.sequence, partition: self.segment.partition })
    }

    fn answer(&self, ack: Option<Ack>, answer: Result<Receipt>) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(ack) = ack {
            // A caller that stopped waiting is no reason to lose the entry.
            let _ = ack.send(answer);
        }
    }

    /// Brings a batch to the store, however long that takes, and answers its callers.
    async fn deliver(&mut self, batch: Batch) {
        let mut pause = FIRST_PAUSE;
        let mut batches = VecDeque::from([batch]);
        while let Some(batch) = batches.pop_front() {
            let begun = Instant::now();
            match self.try_deliver(&batch.frame).await {
                Ok(()) => self.delivered(batch, begun),
                Err(Undelivered::Failed(error)) => {
                    self.shared.note_failure(Some(self.clock.now()));
                    telemetry::append_failed(&error);
                    batches.push_front(batch);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Undelivered::Superseded { lost }) => {
                    for batch in self.begin_anew(batch, lost).await.into_iter().rev() {
                        batches.push_front(batch);
                    }
                }
            }
        }
    }

    fn delivered(&mut self, batch: Batch, begun: Instant) {
        self.shared.note_failure(None);
        telemetry::appended(batch.frame.count(), begun.elapsed());
        self.replay.push(Arc::new(batch.frame));
        for waiter in batch.waiters {
            for ack in waiter.acks {
                self.answer(ack, Ok(waiter.receipt));
            }
        }
    }

    async fn try_deliver(&mut self, frame: &Frame) -> Result<(), Undelivered> {
        loop {
            match self.append(frame).await? {
                Appended::Stored { .. } => return Ok(()),
                // A copied virtual machine may have taken the numbers with other entries.
                Appended::Duplicate { high_water }
                    if high_water.last == frame.last()
                        && high_water.checksum == frame.checksum() =>
                {
                    return Ok(());
                }
                Appended::OutOfOrder { high_water } if high_water < frame.first() => {
                    self.send_again(high_water, frame.first()).await?;
                }
                // Somebody else writes under this id: a copied virtual machine.
                Appended::Duplicate { .. } | Appended::OutOfOrder { .. } => {
                    return Err(Undelivered::Superseded { lost: None });
                }
                Appended::NotOpen { open } => self.segment.number = open,
            }
        }
    }

    /// The store was rolled back to `high_water`: sends the frames since then again.
    async fn send_again(&mut self, high_water: u64, before: u64) -> Result<(), Undelivered> {
        telemetry::rolled_back(self.id, high_water, before - 1);
        let Some(frames) = self.replay.after(high_water) else {
            let lost = WriterRange { first: high_water + 1, last: before - 1 };
            return Err(Undelivered::Superseded { lost: Some(lost) });
        };
        for frame in frames {
            while let Appended::NotOpen { open } = self.append(&frame).await? {
                self.segment.number = open;
            }
        }
        Ok(())
    }

    async fn append(&mut self, frame: &Frame) -> Result<Appended, Undelivered> {
        let appended = self.store.append(self.segment, frame, self.limits).await?;
        if let Appended::Stored { is_due: true, .. } = appended {
            self.seal().await;
        }
        Ok(appended)
    }

    /// Sealing is worth a try only: the archiver seals what is due as well.
    async fn seal(&mut self) {
        match self.store.seal(self.segment, self.unarchived_ttl).await {
            Ok(Sealing::Sealed | Sealing::AlreadySealed) => self.segment.number += 1,
            Ok(Sealing::Empty) => {}
            Err(error) => tracing::warn!(%error, segment = %self.segment, "segment is not sealed"),
        }
    }

    /// Takes a new writer id, declares why, and encodes the batch again under it.
    async fn begin_anew(&mut self, batch: Batch, lost: Option<WriterRange>) -> Vec<Batch> {
        let old = self.id;
        match WriterId::random() {
            Ok(id) => self.id = id,
            Err(error) => {
                tracing::error!(%error, "no new writer id; the old one is tried again");
                return vec![batch];
            }
        }
        telemetry::superseded(old, self.id, lost);
        if let Some(lost) = lost {
            let is_lost = |number| (lost.first..=lost.last).contains(&number);
            self.recent.forget(|receipt| receipt.writer == old && is_lost(receipt.sequence));
        }
        self.next = 1;
        self.segment.partition = self.id.partition(self.store.partitions());
        self.replay.clear();
        let mut declaring = self.batch();
        let entry = loss::declaration(old, lost, self.clock.now());
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.mirror.show(&entry);
        let receipt = Receipt { writer: old, sequence: 0, partition: 0 };
        self.take_again(&mut declaring, Ok(entry), Waiter { acks: vec![None], receipt }).await;
        let mut anew = self.batch();
        for (line, waiter) in batch.frame.lines().zip(batch.waiters) {
            let entry = loss::entry(line, self.keys.as_deref()).await;
            self.take_again(&mut anew, entry, waiter).await;
        }
        // A batch whose entries were all refused has nothing to bring.
        let mut batches = vec![declaring, anew];
        batches.retain(|batch| !batch.waiters.is_empty());
        batches
    }

    /// Encodes an entry of another id's batch under the own id, however long its key takes.
    async fn take_again(&mut self, batch: &mut Batch, entry: Result<Entry>, before: Waiter) {
        let mut pause = FIRST_PAUSE;
        let outcome = loop {
            let Ok(entry) = &entry else { break None };
            match self.encode(batch, entry.clone()).await {
                Err(error) if error.is_retryable() => {
                    self.shared.note_failure(Some(self.clock.now()));
                    telemetry::append_failed(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                outcome => break Some(outcome.map(|receipt| (entry.id, receipt))),
            }
        };
        match outcome.or_else(|| entry.err().map(Err)) {
            Some(Ok((id, receipt))) => {
                self.recent.insert(id, receipt);
                batch.waiters.push(Waiter { acks: before.acks, receipt });
            }
            Some(Err(refused)) => self.refuse(&refused, before),
            None => {}
        }
    }

    /// Answers everybody who waits for an entry that will not be stored.
    fn refuse(&mut self, refused: &Error, before: Waiter) {
        telemetry::refused(refused);
        self.recent.forget(|receipt| *receipt == before.receipt);
        for ack in before.acks {
            self.answer(ack, Err(Error::new(refused.kind(), refused)));
        }
    }
}

/// Why a frame is not in the store.
enum Undelivered {
    Failed(Error),
    /// The writer cannot go on under its id: acknowledged entries are gone from the store and not
    /// kept here either, or somebody else writes under it.
    Superseded {
        lost: Option<WriterRange>,
    },
}

impl From<Error> for Undelivered {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the audit log is shut down")
}
