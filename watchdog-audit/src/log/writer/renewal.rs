//! Going on under a new id, when the old one cannot.

use std::collections::HashMap;
use std::sync::Arc;

use watchdog_core::audit::Entry;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::log::keeper::Orphan;
use crate::log::loss;
use crate::log::pump::Pump;
use crate::log::sources::Sources;
use crate::log::writer::{Batch, FIRST_PAUSE, LONGEST_PAUSE, Waiter, Writer};
use crate::receipt::Receipt;
use crate::segment::WriterRange;
use crate::spool::Spool;
use crate::telemetry;
use crate::writer_id::WriterId;

fn unacknowledged() -> Error {
    let text = "too few replicas are known to have the entry";
    Error::new(ErrorKind::NotAcknowledged, text)
}

impl Writer {
    /// Takes a new writer id, declares why, and encodes under it again what is in memory alone.
    /// What is in the spool is recorded again by the keeper.
    pub(super) async fn begin_anew(
        &mut self,
        waiters: Vec<Waiter>,
        lost: Option<WriterRange>,
    ) -> Vec<Waiter> {
        let old = self.id;
        let id = match WriterId::random() {
            Ok(id) => id,
            Err(error) => {
                tracing::error!(%error, "no new writer id; the old one is tried again");
                tokio::time::sleep(LONGEST_PAUSE).await;
                return waiters;
            }
        };
        telemetry::superseded(old, id, lost);
        let floor = lost.map_or(self.stored, |lost| lost.first - 1);
        let from = lost.map_or(self.stored, |lost| lost.last.max(self.stored));
        let spooled = from.max(self.spooled);
        // What is lost is new when it is recorded again. What comes again from memory is new under
        // the new id; what is refused then is remembered nowhere. What the spool has, the keeper
        // records again: that is not new.
        self.recent.forget(|receipt| {
            let number = receipt.sequence;
            receipt.writer == old && number > floor && (number <= from || number > spooled)
        });
        let kept = self.sources.memory().after(spooled);
        let orphan = self.sources.spool.take();
        self.id = id;
        (self.next, self.stored, self.spooled) = (1, 0, 0);
        (self.acknowledged, self.released) = (0, 0);
        (self.pump, self.superseded) = (Pump::default(), None);
        self.delivery = self.delivery.of(id);
        self.sources = Sources::with_spool(self.new_spool().await);
        if let Some(spool) = orphan {
            // Without a keeper the next process finds the directory.
            let _ = self.orphans.send(Orphan { spool, from });
        }
        let mut again = Vec::new();
        self.declare(old, lost, &mut again).await;
        let is_lost = |waiter: &Waiter| {
            lost.is_some_and(|lost| (lost.first..=lost.last).contains(&waiter.receipt.sequence))
        };
        let (gone, waiters): (Vec<_>, Vec<_>) = waiters.into_iter().partition(is_lost);
        for waiter in gone {
            let error = Error::new(ErrorKind::NotAcknowledged, "the store has lost the entry");
            self.answer(waiter.ack, Err(error));
        }
        self.encode_again(&kept, waiters, &mut again).await;
        again
    }

    /// A spool for the new id, where there was one; with a durability that needs it, however long
    /// that takes.
    async fn new_spool(&mut self) -> Option<Spool> {
        let place = self.place.clone()?;
        let mut pause = FIRST_PAUSE;
        let spool = loop {
            match Spool::create(&place, self.id).await {
                Ok(spool) => break Some(spool),
                Err(error) => {
                    telemetry::append_failed(&error);
                    self.shared.set_spoolless(error.to_string());
                    if !self.policy.spools_first() {
                        break None;
                    }
                    self.shared.note_failure(Some(self.clock.now()));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        self.shared.set_spool(spool.clone());
        spool
    }

    async fn declare(&mut self, old: WriterId, lost: Option<WriterRange>, again: &mut Vec<Waiter>) {
        let mut batch = self.batch();
        let entry = loss::declaration(old, lost, self.clock.now());
        self.mirror.show(&entry);
        if let Err(error) = self.encode_patiently(&mut batch, entry).await {
            telemetry::refused(&error);
        }
        self.remember(batch, again);
    }

    async fn encode_again(
        &mut self,
        kept: &[Arc<Frame>],
        waiters: Vec<Waiter>,
        again: &mut Vec<Waiter>,
    ) {
        let number = |waiter: Waiter| (waiter.receipt.sequence, waiter);
        let mut waiters: HashMap<u64, Waiter> = waiters.into_iter().map(number).collect();
        let mut outcomes: HashMap<u64, Result<Receipt>> = HashMap::new();
        let mut batch = self.batch();
        let lines = kept.iter().flat_map(|frame| (frame.first()..).zip(frame.lines()));
        for (sequence, line) in lines {
            if batch.frame.is_full() {
                let full = std::mem::replace(&mut batch, self.batch());
                self.remember(full, again);
            }
            let outcome = self.line_again(&mut batch, line).await;
            if let Some(waiter) = waiters.remove(&sequence) {
                match &outcome {
                    Ok(receipt) => {
                        batch.waiters.push(Waiter { receipt: *receipt, ..waiter });
                    }
                    Err(error) => self.refuse(error, waiter),
                }
            } else if let Err(error) = &outcome {
                telemetry::refused(error);
            }
            outcomes.insert(sequence, outcome);
        }
        self.remember(batch, again);
        for waiter in waiters.into_values() {
            let answer = self.given_up(waiter.receipt).await;
            self.answer(waiter.ack, answer);
        }
        for (ack, receipt) in std::mem::take(&mut self.repeats) {
            match outcomes.remove(&receipt.sequence) {
                Some(Ok(receipt)) => self.repeats.push((ack, receipt)),
                Some(Err(error)) => self.answer(ack, Err(error)),
                None => {
                    let answer = self.given_up(receipt).await;
                    self.answer(ack, answer);
                }
            }
        }
    }

    /// What is answered for an entry under an id that was given up, and that is in the store or in
    /// the spool under it: where replicas are asked for, they are asked.
    pub(super) async fn given_up(&self, receipt: Receipt) -> Result<Receipt> {
        if !self.policy.asks_replicas() {
            return Ok(receipt);
        }
        let Receipt { writer, sequence, partition } = receipt;
        let (replicas, limit) = (self.policy.replicas, self.policy.replication_timeout);
        let store = &self.delivery.store;
        match store.replicated(partition, writer, sequence, replicas, limit).await {
            Ok(true) => Ok(receipt),
            Ok(false) => Err(unacknowledged()),
            Err(error) => Err(unacknowledged().with_source(error)),
        }
    }

    /// Encodes a line of another id under the own one.
    async fn line_again(&mut self, batch: &mut Batch, line: &[u8]) -> Result<Receipt> {
        let entry = loss::entry(line, self.keys.as_deref()).await?;
        let id = entry.id;
        let receipt = self.encode_patiently(batch, entry).await?;
        self.recent.insert(id, receipt);
        Ok(receipt)
    }

    /// Encodes an entry, however long its key takes.
    async fn encode_patiently(&mut self, batch: &mut Batch, entry: Entry) -> Result<Receipt> {
        let mut pause = FIRST_PAUSE;
        loop {
            let key = self.key_of(&entry).await;
            match key.and_then(|key| self.encode(batch, entry.clone(), key.as_ref())) {
                Err(error) if error.is_retryable() => {
                    self.shared.note_failure(Some(self.clock.now()));
                    telemetry::append_failed(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    /// Answers who waits for an entry that will not be stored.
    fn refuse(&self, refused: &Error, waiter: Waiter) {
        telemetry::refused(refused);
        self.answer(waiter.ack, Err(Error::new(refused.kind(), refused)));
    }
}
