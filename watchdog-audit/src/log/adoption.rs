//! Delivering what a process that is gone has left in its spool.
//!
//! Its frames go to the store under its own id, where the store's high water tells what it has, so
//! that nothing stands twice. Where its sequence cannot go on, because entries before are gone from
//! store and archive, that is declared, and its other entries are recorded again under the id of
//! this process. Their ids stay: should this process be killed just then, a reader sees that both
//! are one.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::OnFull;
use crate::error::{Error, ErrorKind, Result};
use crate::log::delivery::{Delivery, Undelivered};
use crate::log::loss;
use crate::log::shared::Shared;
use crate::log::sources::{Found, Sources};
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE, closed};
use crate::log::{AuditLog, Inner};
use crate::segment::WriterRange;
use crate::spool::Spool;
use crate::telemetry;

/// One spool on its way.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) log: Weak<Inner>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) delivery: Delivery,
    pub(crate) keeps_until_archived: bool,
    pub(crate) every: Duration,
    pub(crate) spool: Spool,
    /// Set when the writer was this process: its entries after this one are recorded again.
    pub(crate) recorded_again_after: Option<u64>,
}

impl Adoption {
    /// Runs until everything is where it counts; the directory goes with the spool.
    pub(crate) async fn run(mut self) {
        let Some(last) = self.spool.last().await else { return };
        let sources = Sources::with_spool(Some(self.spool.clone()));
        let entries = self.spool.status(watchdog_core::Timestamp::UNIX_EPOCH).entries;
        self.shared.adopted.fetch_add(entries, Ordering::Relaxed);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.deliver(&sources, last).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::Closed => {
                    self.shared.adopted.fetch_sub(entries, Ordering::Relaxed);
                    return;
                }
                Err(error) => telemetry::append_failed(&error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        telemetry::adopted(self.spool.writer(), entries);
        self.spool.release(last);
        self.shared.adopted.fetch_sub(entries, Ordering::Relaxed);
    }

    /// Brings everything up to `last` to where it counts.
    async fn deliver(&mut self, sources: &Sources, last: u64) -> Result<()> {
        if let Some(from) = self.recorded_again_after {
            return self.record_again(sources, (from, last)).await;
        }
        // A bucket that does not answer holds nothing up: the store passes over what it has, and the
        // archiver over what is archived.
        let archived = self.archived().await.unwrap_or(0);
        let mut stored = archived.max(self.before_first(sources).await?);
        loop {
            while stored < last {
                match self.delivery.step(sources, (stored, last)).await {
                    Ok(now) => stored = now,
                    Err(Undelivered::Failed(error)) => return Err(error),
                    Err(Undelivered::Superseded { lost }) => {
                        self.declare(lost).await?;
                        let from = lost.map_or(stored, |lost| lost.last);
                        self.recorded_again_after = Some(from);
                        return self.record_again(sources, (from, last)).await;
                    }
                }
            }
            if !self.keeps_until_archived {
                return Ok(());
            }
            let archived = self.archived().await;
            if let Some(archived) = archived {
                self.spool.release(archived);
            }
            if archived.is_some_and(|archived| archived >= last) {
                return Ok(());
            }
            tokio::time::sleep(self.every).await;
            let Some(archived) = archived else { continue };
            // The store may have lost it since: the newest frame is offered again.
            stored = self.before_last(archived, last).await?;
        }
    }

    /// How far the archive has the writer; `None` while the bucket does not answer.
    async fn archived(&self) -> Option<u64> {
        let archived = self.delivery.watermark.of(&self.spool.writer()).await;
        archived.inspect_err(telemetry::append_failed).ok()
    }

    /// The number before the first entry in the spool.
    async fn before_first(&self, sources: &Sources) -> Result<u64> {
        Ok(match sources.after(0).await? {
            Found::Frame(_) | Found::Nothing => 0,
            Found::Gap { first } => first - 1,
        })
    }

    /// The number before the newest frame of those that are not archived.
    async fn before_last(&self, mut number: u64, last: u64) -> Result<u64> {
        let mut before = number;
        while number < last {
            let frames = self.spool.after(number).await?;
            let Some(newest) = frames.last() else { break };
            (number, before) = (newest.last(), newest.first() - 1);
        }
        Ok(before)
    }

    /// Records the entries of a stretch under the id of this process.
    async fn record_again(
        &mut self,
        sources: &Sources,
        (mut from, last): (u64, u64),
    ) -> Result<()> {
        while from < last {
            match sources.after(from).await? {
                Found::Frame(frame) => {
                    for line in frame.lines() {
                        self.record_line(line).await?;
                    }
                    from = frame.last();
                    self.spool.release(from);
                }
                Found::Gap { first } => {
                    self.declare(Some(WriterRange { first: from + 1, last: first - 1 })).await?;
                    from = first - 1;
                }
                Found::Nothing => from = last,
            }
            self.recorded_again_after = Some(from);
        }
        Ok(())
    }

    async fn record_line(&self, line: &[u8]) -> Result<()> {
        let log = self.log()?;
        let entry = loss::entry(line, log.inner().keys()).await?;
        log.record_or(entry, OnFull::Wait).await.map(drop)
    }

    async fn declare(&self, lost: Option<WriterRange>) -> Result<()> {
        let log = self.log()?;
        if let Some(lost) = lost {
            telemetry::superseded(self.spool.writer(), log.writer(), Some(lost));
        }
        let entry = loss::declaration(self.spool.writer(), lost, log.inner().clock.now());
        log.record_or(entry, OnFull::Wait).await.map(drop)
    }

    fn log(&self) -> Result<AuditLog, Error> {
        self.log.upgrade().map(|inner| AuditLog { inner }).ok_or_else(closed)
    }
}
