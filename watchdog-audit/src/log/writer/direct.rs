//! Straight into the store, as long as it answers.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use crate::error::{Error, ErrorKind};
use crate::log::delivery::Undelivered;
use crate::log::writer::{FIRST_PAUSE, Job, LONGEST_PAUSE, Waiter, Writer};
use crate::spool::answered;
use crate::telemetry;

/// How long the store may take for a frame before it goes to the spool.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Frames that are made, one while another is on its way, before the writer looks around.
const FRAMES_AHEAD: usize = 64;

/// Entries that are encoded before it is seen whether the store has answered.
const ENTRIES_AHEAD: usize = 16;

impl Writer {
    /// Brings every frame to the store, however long that takes; when the store does not answer
    /// and there is a spool, to the spool. What comes out of the `queue` meanwhile goes with it.
    pub(super) async fn bring_to_store(
        &mut self,
        mut waiters: Vec<Waiter>,
        mut queue: Option<&mut UnboundedReceiver<Job>>,
    ) {
        let mut pause = FIRST_PAUSE;
        if let Some(lost) = self.superseded.take() {
            waiters = self.begin_anew(waiters, lost).await;
        }
        let mut ahead = if self.policy.asks_replicas() { 0 } else { FRAMES_AHEAD };
        while self.stored + 1 < self.next {
            let begun = Instant::now();
            ahead = ahead.saturating_sub(1);
            let queue = queue.as_deref_mut().filter(|_| ahead > 0);
            match self.step(&mut waiters, queue).await {
                Ok(stored) => {
                    if stored > self.stored {
                        telemetry::appended(stored - self.stored, begun.elapsed());
                    }
                    self.stored = stored;
                    self.sources.memory().kept_elsewhere(stored);
                    if !self.policy.asks_replicas() {
                        self.acknowledge(&mut waiters, stored);
                    }
                }
                Err(Undelivered::Failed(error)) => {
                    self.shared.note_failure(Some(self.clock.now()));
                    telemetry::append_failed(&error);
                    if self.begin_spooling().await {
                        self.counts_in_spool(waiters);
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Undelivered::Superseded { lost }) => {
                    waiters = self.begin_anew(waiters, lost).await;
                }
            }
        }
        self.offered = Instant::now();
        self.shared.note_failure(None);
        self.counts_in_store(waiters).await;
    }

    /// Offers the next frame, and makes another one meanwhile.
    async fn step(
        &mut self,
        waiters: &mut Vec<Waiter>,
        queue: Option<&mut UnboundedReceiver<Job>>,
    ) -> Result<u64, Undelivered> {
        let span = (self.stored, self.next - 1);
        let (mut delivery, sources) = (self.delivery.clone(), self.sources.clone());
        let step = async move {
            let step = delivery.step(&sources, span);
            let outcome = match sources.spool {
                None => step.await,
                Some(_) => timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(late().into())),
            };
            (delivery, outcome)
        };
        let (delivery, outcome) = match queue {
            Some(queue) => self.make_ahead(step, waiters, queue).await,
            None => step.await,
        };
        self.delivery = delivery;
        outcome
    }

    /// Numbers and encodes what queues up until something else is done.
    async fn make_ahead<T>(
        &mut self,
        done: impl Future<Output = T>,
        waiters: &mut Vec<Waiter>,
        queue: &mut UnboundedReceiver<Job>,
    ) -> T {
        let mut done = pin!(done);
        let mut batch = self.batch();
        let value = loop {
            let job = tokio::select! {
                biased;
                value = &mut done => break value,
                Some(job) = queue.recv(), if !batch.frame.is_full() => job,
            };
            self.take(&mut batch, job).await;
            for _ in 1..ENTRIES_AHEAD {
                let Some(job) = (!batch.frame.is_full()).then(|| self.next_job(queue)).flatten()
                else {
                    break;
                };
                self.take(&mut batch, job).await;
            }
        };
        self.remember(batch, waiters);
        value
    }

    /// Writes what the store did not take to the spool; whether the spool has it now.
    async fn begin_spooling(&mut self) -> bool {
        let Some(spool) = &self.sources.spool else { return false };
        let frames = self.sources.memory().after(self.stored);
        // Frames the store had and lost are in memory only as far as it goes.
        if frames.first().is_none_or(|frame| frame.first() != self.stored + 1) {
            return false;
        }
        match answered(spool.write(frames).await) {
            Ok(()) => {
                telemetry::spooled(self.next - 1 - self.stored);
                self.spooled = self.next - 1;
                true
            }
            Err(_) => false,
        }
    }

    async fn counts_in_store(&mut self, mut waiters: Vec<Waiter>) {
        let is_idle = waiters.is_empty() && self.repeats.is_empty();
        if !self.policy.asks_replicas() {
            return self.acknowledge(&mut waiters, self.stored);
        }
        if is_idle {
            // Nobody asked the replicas: what was not acknowledged stays so.
            return;
        }
        let (store, partition) = (&self.delivery.store, self.delivery.partition());
        let (replicas, limit) = (self.policy.replicas, self.policy.replication_timeout);
        let answer = store.replicated(partition, self.id, self.stored, replicas, limit).await;
        let is_replicated = answer.unwrap_or_else(|error| {
            telemetry::append_failed(&error);
            false
        });
        self.shared.is_unreplicated.store(!is_replicated, Ordering::Relaxed);
        if is_replicated {
            self.acknowledge(&mut waiters, self.stored);
        } else {
            telemetry::unreplicated(waiters.len() as u64);
            // The newest frame is offered again next time: the server may have been replaced.
            let newest = self.sources.memory().newest().map(|frame| frame.first());
            self.stored = newest.map_or(self.stored, |first| first - 1);
            self.keep_waiting(
                waiters,
                "the store has the entry, and too few replicas had it in time",
            );
        }
    }
}

fn late() -> Error {
    let context = format_args!("the store did not take a frame within {} ms", PATIENCE.as_millis());
    Error::new(ErrorKind::Unavailable, context)
}
