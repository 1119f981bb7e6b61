//! Into the spool first, and from there into the store.

use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::log::delivery::Undelivered;
use crate::log::pump::Attempt;
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE, Waiter, Writer};
use crate::spool::answered;
use crate::telemetry;

/// Entries the store has taken before the spool is told to let go of them.
const RELEASE_EVERY: u64 = 4096;

impl Writer {
    /// Syncs every frame that is in memory alone to the spool, however long that takes; when the
    /// spool takes nothing and has nothing, to the store, if that counts.
    pub(super) async fn bring_to_spool(&mut self, waiters: Vec<Waiter>) {
        let mut pause = FIRST_PAUSE;
        while self.is_spooling() {
            match self.sync().await {
                Ok(()) => return self.counts_in_spool(waiters),
                // The thread of the spool has said why.
                Err(error) => tracing::debug!(%error, "entries wait for the spool"),
            }
            // What the store takes meanwhile makes room.
            let resume_at = tokio::time::Instant::now() + pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.drain_until(tokio::time::sleep_until(resume_at)).await;
        }
        self.bring_to_store(waiters).await;
    }

    async fn sync(&mut self) -> Result<()> {
        let Some(spool) = self.sources.spool.clone() else { return Ok(()) };
        let frames = self.sources.memory().after(self.stored.max(self.spooled));
        let Some(last) = frames.last().map(|frame| frame.last()) else { return Ok(()) };
        let entries = frames.iter().map(|frame| frame.count()).sum();
        let answer = self.drain_until(spool.write(frames)).await;
        answered(answer)?;
        telemetry::spooled(entries);
        self.spooled = last;
        Ok(())
    }

    /// Brings frames to the store until something else is done.
    async fn drain_until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            let span = (self.stored, self.spooled);
            tokio::select! {
                biased;
                value = &mut done => return value,
                attempt = self.pump.attempt(&self.delivery, &self.sources, span),
                    if self.has_backlog() => self.attempted(attempt),
            }
        }
    }

    /// Every entry so far is synced.
    pub(super) fn counts_in_spool(&mut self, waiters: Vec<Waiter>) {
        self.sources.memory().kept_elsewhere(self.spooled);
        self.tell_unsent();
        if self.policy.spool_acknowledges() {
            self.acknowledge(waiters);
        } else {
            self.keep_waiting(waiters, "the spool has the entry, and no replica has it yet");
        }
    }

    /// Takes note of how far the drain came.
    pub(super) fn attempted(&mut self, attempt: Attempt) {
        self.delivery = attempt.delivery;
        self.stored = attempt.stored;
        self.sources.memory().kept_elsewhere(self.stored);
        match attempt.outcome {
            Ok(()) => self.shared.note_failure(None),
            Err(Undelivered::Failed(error)) => {
                self.shared.note_failure(Some(self.clock.now()));
                telemetry::append_failed(&error);
            }
            Err(Undelivered::Superseded { lost }) => self.superseded = Some(lost),
        }
        self.tell_unsent();
        let is_due = self.stored >= self.spooled || self.stored > self.released + RELEASE_EVERY;
        if let (true, Some(spool)) = (is_due, &self.sources.spool)
            && !self.policy.keeps_until_archived
        {
            spool.release(self.stored);
            self.released = self.stored;
        }
    }

    fn tell_unsent(&self) {
        let unsent = self.spooled.saturating_sub(self.stored);
        self.shared.unsent.store(unsent, Ordering::Relaxed);
        telemetry::spool_unsent(unsent);
    }

    /// Sees whether the store still has the newest frame, by offering it again.
    pub(super) fn doubt(&mut self) {
        if !self.policy.keeps_until_archived || self.stored < self.spooled {
            return;
        }
        let newest = self.sources.memory().newest().map(|frame| frame.first());
        if let Some(first) = newest.filter(|first| *first <= self.stored) {
            self.stored = first - 1;
        }
    }
}
