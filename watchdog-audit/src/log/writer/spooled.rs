//! Into the spool first, and from there into the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::error::Result;
use crate::frame::Frame;
use crate::log::delivery::Undelivered;
use crate::log::pump::Attempt;
use crate::log::writer::doubt::DOUBTED_AFTER;
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE, Waiter, Writer};
use crate::spool::answered;
use crate::telemetry;

/// Entries the store has taken before the spool is told to let go of them.
const RELEASE_EVERY: u64 = 4096;

/// Bytes of a frame beside its lines, in the spool: less than this.
const FRAME_OVERHEAD: u64 = 256;

/// About how many bytes a frame takes in the spool; not less than it does.
pub(super) fn record_bytes(frame: &Frame) -> u64 {
    frame.payload_bytes() as u64 + FRAME_OVERHEAD
}

/// Divides frames into parts of at most so many bytes, or of a single frame.
fn chunks(frames: Vec<Arc<Frame>>, most: u64) -> Vec<Vec<Arc<Frame>>> {
    let mut chunks: Vec<Vec<Arc<Frame>>> = Vec::new();
    let mut room = 0;
    for frame in frames {
        let bytes = record_bytes(&frame);
        match chunks.last_mut() {
            Some(last) if bytes <= room => {
                room -= bytes;
                last.push(frame);
            }
            _ => {
                room = most.saturating_sub(bytes);
                chunks.push(vec![frame]);
            }
        }
    }
    chunks
}

impl Writer {
    /// Syncs every frame that is in memory alone to the spool, however long that takes; when the
    /// spool takes nothing and has nothing, to the store, if that counts.
    pub(super) async fn bring_to_spool(&mut self, mut waiters: Vec<Waiter>) {
        let mut pause = FIRST_PAUSE;
        while self.is_spooling() {
            // A spool under an id that cannot go on is never released: no room comes of waiting.
            if let Some(lost) = self.superseded.take() {
                waiters = self.begin_anew(waiters, lost).await;
                continue;
            }
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

    /// Syncs what is in memory alone, in orders of which each fits into a quota that others fill.
    async fn sync(&mut self) -> Result<()> {
        let Some(spool) = self.sources.spool.clone() else { return Ok(()) };
        let frames = self.sources.memory().after(self.stored.max(self.spooled));
        for frames in chunks(frames, self.chunk_bytes()) {
            let Some(last) = frames.last().map(|frame| frame.last()) else { continue };
            let entries = frames.iter().map(|frame| frame.count()).sum();
            let answer = self.drain_until(spool.write(frames)).await;
            answered(answer)?;
            telemetry::spooled(entries);
            self.spooled = last;
        }
        Ok(())
    }

    /// Bytes that are written to the spool at once: a part of the quota, so that what is released
    /// makes room for the next part.
    pub(super) fn chunk_bytes(&self) -> u64 {
        self.place.as_ref().map_or(u64::MAX, |place| place.max_bytes / 16)
    }

    /// Brings frames to the store until something else is done, also those that it has lost.
    async fn drain_until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            let span = (self.stored, self.spooled);
            tokio::select! {
                biased;
                value = &mut done => return value,
                attempt = self.pump.attempt(&self.delivery, &self.sources, span),
                    if self.has_backlog() => self.attempted(attempt),
                () = tokio::time::sleep_until(self.offered + DOUBTED_AFTER),
                    if self.may_doubt() && self.policy.keeps_until_archived => self.go_back(),
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
            Ok(()) => {
                self.offered = Instant::now();
                self.shared.note_failure(None);
            }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::record;
    use crate::writer_id::WriterId;

    #[test]
    fn frames_are_divided_by_what_they_take_in_the_spool() {
        let frames: Vec<_> = [900, 900, 5000, 100, 100]
            .into_iter()
            .zip(1..)
            .map(|(length, first)| {
                let mut frame = Frame::new(WriterId::from_bytes([1; 16]), first);
                frame.push(&vec![b'x'; length], 0).unwrap();
                let mut bytes = Vec::new();
                record::encode(&frame, &mut bytes);
                assert!(bytes.len() as u64 <= record_bytes(&frame));
                Arc::new(frame)
            })
            .collect();
        let parts = |most| chunks(frames.clone(), most).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(parts(2500), [2, 1, 2]);
        assert_eq!(parts(1), [1, 1, 1, 1, 1]);
        assert_eq!(parts(u64::MAX), [5]);
        assert!(chunks(Vec::new(), 9).is_empty());
    }
}
