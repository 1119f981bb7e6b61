//! The task that numbers entries, batches them and brings them to the store.

mod direct;
mod doubt;
mod keyed;
mod renewal;
mod spooled;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use watchdog_core::Clock;
use watchdog_core::audit::Entry;

use crate::entry::{self, Line, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::log::delivery::Delivery;
use crate::log::dropped;
use crate::log::keeper::Orphan;
use crate::log::policy::Policy;
use crate::log::pump::Pump;
use crate::log::shared::Shared;
use crate::log::sources::Sources;
use crate::personal::{Sealed, SubjectKey, SubjectKeys};
use crate::receipt::Receipt;
use crate::recent::Recent;
use crate::segment::WriterRange;
use crate::spool::SpoolPlace;
use crate::telemetry::{self, Mirror};
use crate::writer_id::WriterId;
use doubt::DOUBTED_AFTER;
use keyed::Asked;

/// The first pause after a failed call, doubled up to [`LONGEST_PAUSE`].
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Frames that are synced to the spool together.
const FRAMES_AT_ONCE: usize = 32;

/// An entry on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) entry: Entry,
    pub(crate) ack: Option<Ack>,
    /// Its place in the queue, which is free again when it is numbered.
    _place: Option<OwnedSemaphorePermit>,
    /// Its subject's key, once that was waited for.
    key: Option<SubjectKey>,
}

impl Job {
    pub(crate) fn new(entry: Entry, ack: Option<Ack>) -> Self {
        Self { entry, ack, _place: None, key: None }
    }

    pub(crate) fn at(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }
}

pub(crate) type Ack = oneshot::Sender<Result<Receipt>>;

/// Numbers, batches and delivers the entries of one process.
#[derive(Debug)]
pub(crate) struct Writer {
    keys: Option<Arc<dyn SubjectKeys>>,
    /// How long the key of an entry may take while its caller waits.
    key_patience: Duration,
    /// Entries that wait for their keys.
    asking: JoinSet<Asked>,
    clock: Arc<dyn Clock>,
    mirror: Mirror,
    policy: Policy,
    shared: Arc<Shared>,
    delivery: Delivery,
    sources: Sources,
    pump: Pump,
    /// Where the spool of the next id is made.
    place: Option<SpoolPlace>,
    orphans: mpsc::UnboundedSender<Orphan>,
    id: WriterId,
    next: u64,
    recent: Recent,
    /// The store has every entry of this id up to here.
    stored: u64,
    /// The spool had every entry of this id up to here that the store has not, and is synced.
    spooled: u64,
    /// The spool was told to let go of every entry up to here.
    released: u64,
    /// Callers heard of every entry of this id up to here.
    acknowledged: u64,
    /// When the store was last offered a frame of this id.
    offered: Instant,
    /// Those who wait for an entry that somebody else has recorded as well.
    repeats: Vec<(Option<Ack>, Receipt)>,
    /// Why the backlog cannot go on under this id.
    superseded: Option<Option<WriterRange>>,
}

/// One frame and who waits for each of its entries.
struct Batch {
    frame: Frame,
    waiters: Vec<Waiter>,
}

/// Who waits for one entry.
struct Waiter {
    ack: Option<Ack>,
    receipt: Receipt,
}

pub(crate) struct WriterParts {
    pub(crate) keys: Option<Arc<dyn SubjectKeys>>,
    pub(crate) key_patience: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mirror: Mirror,
    pub(crate) policy: Policy,
    pub(crate) shared: Arc<Shared>,
    pub(crate) delivery: Delivery,
    pub(crate) place: Option<SpoolPlace>,
    pub(crate) orphans: mpsc::UnboundedSender<Orphan>,
}

impl Writer {
    /// A writer with the id of the delivery, and with the spool that is shared.
    pub(crate) fn new(parts: WriterParts, id: WriterId) -> Self {
        Self {
            sources: Sources::with_spool(parts.shared.spool()),
            keys: parts.keys,
            key_patience: parts.key_patience,
            asking: JoinSet::new(),
            clock: parts.clock,
            mirror: parts.mirror,
            policy: parts.policy,
            shared: parts.shared,
            delivery: parts.delivery,
            pump: Pump::default(),
            place: parts.place,
            orphans: parts.orphans,
            id,
            next: 1,
            recent: Recent::default(),
            stored: 0,
            spooled: 0,
            released: 0,
            acknowledged: 0,
            offered: Instant::now(),
            repeats: Vec::new(),
            superseded: None,
        }
    }

    /// Runs until the queue is closed and empty, and the store has what was in it.
    pub(crate) async fn run(mut self, mut queue: UnboundedReceiver<Job>) {
        let mut is_over = false;
        loop {
            if let Some(lost) = self.superseded.take() {
                self.begin_anew(Vec::new(), lost).await;
                self.bring_all(Vec::new()).await;
            }
            if is_over && self.asking.is_empty() && !self.has_backlog() && self.may_leave().await {
                break;
            }
            let span = (self.stored, self.spooled);
            tokio::select! {
                biased;
                attempt = self.pump.attempt(&self.delivery, &self.sources, span),
                    if self.has_backlog() => self.attempted(attempt),
                job = queue.recv(), if !is_over => match job {
                    Some(job) => self.round(job, &mut queue).await,
                    None => {
                        self.declare_dropped().await;
                        is_over = true;
                    }
                },
                Some(asked) = self.asking.join_next() => {
                    if let Some(job) = self.asked(asked) {
                        self.round(job, &mut queue).await;
                    }
                }
                () = tokio::time::sleep_until(self.offered + DOUBTED_AFTER),
                    if self.may_doubt() => self.doubt().await,
            }
        }
        self.shared.set_spool(None);
    }

    /// Takes an entry and what queued up behind it, and brings it all to where it counts.
    async fn round(&mut self, job: Job, queue: &mut UnboundedReceiver<Job>) {
        let most = if self.is_spooling() { FRAMES_AT_ONCE } else { 1 };
        let mut waiters = Vec::new();
        let (mut next, mut frames, mut bytes) = (Some(job), 0, 0);
        let room = self.chunk_bytes();
        while let Some(job) = next.take() {
            let mut batch = self.batch();
            self.take(&mut batch, job).await;
            while !batch.frame.is_full() {
                let Some(job) = self.next_job(queue) else { break };
                self.take(&mut batch, job).await;
            }
            bytes += spooled::record_bytes(&batch.frame);
            self.remember(batch, &mut waiters);
            frames += 1;
            if frames < most && bytes < room {
                next = self.next_job(queue);
            }
        }
        telemetry::queue_depth(queue.len());
        self.bring_all(waiters).await;
        self.declare_dropped().await;
    }

    /// Brings every remembered frame to where it counts, and answers those who wait.
    async fn bring_all(&mut self, waiters: Vec<Waiter>) {
        if self.is_spooling() {
            self.bring_to_spool(waiters).await;
        } else {
            self.bring_to_store(waiters).await;
        }
    }

    /// Says in the log what a full queue dropped.
    async fn declare_dropped(&mut self) {
        let Some(counts) = self.shared.dropped.take() else { return };
        let entry = dropped::declaration(counts, self.id, self.clock.now());
        let mut batch = self.batch();
        self.mirror.show(&entry);
        let key = self.key_of(&entry).await;
        if let Err(error) = key.and_then(|key| self.encode(&mut batch, entry, key.as_ref())) {
            // Its key does not answer now: with the next entries, then.
            tracing::warn!(%error, "dropped audit entries are not declared yet");
            self.shared.dropped.put_back(counts);
            return;
        }
        let mut waiters = Vec::new();
        self.remember(batch, &mut waiters);
        self.bring_all(waiters).await;
    }

    fn batch(&self) -> Batch {
        Batch { frame: Frame::new(self.id, self.next), waiters: Vec::new() }
    }

    /// Whether entries go to the spool before they go to the store.
    fn is_spooling(&self) -> bool {
        self.sources.spool.is_some() && (self.policy.spools_first() || self.has_backlog())
    }

    /// Whether the spool has entries that the store has not.
    fn has_backlog(&self) -> bool {
        self.stored < self.spooled && self.superseded.is_none()
    }

    /// Keeps a batch to be sent.
    fn remember(&self, batch: Batch, waiters: &mut Vec<Waiter>) {
        // A batch whose entries were all refused or repeated has nothing to bring.
        if batch.frame.count() > 0 {
            self.sources.memory().push(Arc::new(batch.frame));
        }
        waiters.extend(batch.waiters);
    }

    /// Adds an entry to the batch, or answers its caller at once.
    async fn take(&mut self, batch: &mut Batch, job: Job) {
        let id = job.entry.id;
        if let Some(receipt) = self.recent.find(&id) {
            telemetry::repeated();
            if receipt.writer != self.id {
                let answer = self.given_up(receipt).await;
                self.answer(job.ack, answer);
            } else if receipt.sequence > self.acknowledged {
                self.repeats.push((job.ack, receipt));
            } else {
                self.answer(job.ack, Ok(receipt));
            }
            return;
        }
        let Some(job) = self.with_key(job).await else { return };
        self.mirror.show(&job.entry);
        match self.encode(batch, job.entry, job.key.as_ref()) {
            Ok(receipt) => {
                self.recent.insert(id, receipt);
                batch.waiters.push(Waiter { ack: job.ack, receipt });
            }
            Err(error) => {
                telemetry::refused(&error);
                self.answer(job.ack, Err(error));
            }
        }
    }

    /// Numbers an entry and adds it to the batch, sealed where there is a key.
    fn encode(
        &mut self,
        batch: &mut Batch,
        entry: Entry,
        key: Option<&SubjectKey>,
    ) -> Result<Receipt> {
        entry::check(&entry)?;
        let recorded_at = self.clock.now();
        let place = Place { writer: self.id, sequence: self.next, recorded_at };
        let line = match key {
            Some(key) => {
                let sealed = Sealed::seal(key, place.writer, place.sequence, &entry)?;
                Line::plain(place, entry).with_sealed(sealed)
            }
            None => Line::plain(place, entry),
        };
        batch.frame.push(&line.encode()?, recorded_at.as_millisecond())?;
        self.next += 1;
        let partition = self.delivery.partition();
        Ok(Receipt { writer: self.id, sequence: place.sequence, partition })
    }

    fn answer(&self, ack: Option<Ack>, answer: Result<Receipt>) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        if let Some(ack) = ack {
            // A caller that stopped waiting is no reason to lose the entry.
            let _ = ack.send(answer);
        }
    }

    /// Every entry so far is as durable as was asked for: tells those who wait.
    fn acknowledge(&mut self, waiters: Vec<Waiter>) {
        self.acknowledged = self.next - 1;
        for waiter in waiters {
            self.answer(waiter.ack, Ok(waiter.receipt));
        }
        for (ack, receipt) in std::mem::take(&mut self.repeats) {
            self.answer(ack, Ok(receipt));
        }
    }

    /// The entries are kept and not yet as durable as was asked for: tells those who wait.
    fn keep_waiting(&mut self, waiters: Vec<Waiter>, reason: &str) {
        let error = || Error::new(ErrorKind::NotAcknowledged, reason);
        for waiter in waiters {
            self.answer(waiter.ack, Err(error()));
        }
        for (ack, _) in std::mem::take(&mut self.repeats) {
            self.answer(ack, Err(error()));
        }
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the audit log is shut down")
}
