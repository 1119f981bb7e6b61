//! Straight into the store, as long as it answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::log::delivery::Undelivered;
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE, Waiter, Writer};
use crate::spool::answered;
use crate::telemetry;

/// How long the store may take for a frame before it goes to the spool.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

impl Writer {
    /// Brings every frame to the store, however long that takes; when the store does not answer
    /// and there is a spool, to the spool.
    pub(super) async fn bring_to_store(&mut self, mut waiters: Vec<Waiter>) {
        let mut pause = FIRST_PAUSE;
        if let Some(lost) = self.superseded.take() {
            waiters = self.begin_anew(waiters, lost).await;
        }
        let (begun, first) = (Instant::now(), self.stored);
        while self.stored + 1 < self.next {
            match self.step().await {
                Ok(stored) => self.stored = stored,
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
        self.sources.memory().kept_elsewhere(self.stored);
        self.shared.note_failure(None);
        if self.stored > first {
            telemetry::appended(self.stored - first, begun.elapsed());
        }
        self.counts_in_store(waiters).await;
    }

    async fn step(&mut self) -> Result<u64, Undelivered> {
        let span = (self.stored, self.next - 1);
        let step = self.delivery.step(&self.sources, span);
        if self.sources.spool.is_none() {
            return step.await;
        }
        tokio::time::timeout(PATIENCE, step).await.unwrap_or_else(|_| {
            let context =
                format_args!("the store did not take a frame within {} ms", PATIENCE.as_millis());
            Err(Error::new(ErrorKind::Unavailable, context).into())
        })
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

    async fn counts_in_store(&mut self, waiters: Vec<Waiter>) {
        let is_idle = waiters.is_empty() && self.repeats.is_empty();
        if !self.policy.asks_replicas() {
            return self.acknowledge(waiters);
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
            self.acknowledge(waiters);
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
