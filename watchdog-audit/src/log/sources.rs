//! Where the frames of a writer are found again: in memory, or in its spool.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::frame::Frame;
use crate::replay::Replay;
use crate::spool::Spool;

/// The frames of one writer. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    memory: Arc<Mutex<Replay>>,
    /// Frames that were read from the spool and not yet asked for.
    read: Arc<Mutex<VecDeque<Arc<Frame>>>>,
    pub(crate) spool: Option<Spool>,
}

/// What follows an entry.
#[derive(Debug)]
pub(crate) enum Found {
    /// The frame that begins with the next entry.
    Frame(Arc<Frame>),
    /// Nobody has the next entry; this one is the first somebody has.
    Gap { first: u64 },
    /// Nothing follows.
    Nothing,
}

impl Sources {
    pub(crate) fn with_spool(spool: Option<Spool>) -> Self {
        Self { spool, ..Self::default() }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Replay> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows entry `number`.
    pub(crate) async fn after(&self, number: u64) -> Result<Found> {
        if let Some(frame) = self.memory().next(number) {
            return Ok(Found::Frame(frame));
        }
        if let Some(frame) = self.read_before(number) {
            return Ok(Found::Frame(frame));
        }
        let mut first = self.memory().after(number).first().map(|frame| frame.first());
        if let Some(spool) = &self.spool {
            let frames = spool.after(number).await?;
            let spooled = frames.iter().map(|frame| frame.first()).find(|first| *first > number);
            first = first.into_iter().chain(spooled).min();
            *self.read.lock().unwrap_or_else(PoisonError::into_inner) = frames.into();
            if let Some(frame) = self.read_before(number) {
                return Ok(Found::Frame(frame));
            }
        }
        Ok(first.map_or(Found::Nothing, |first| Found::Gap { first }))
    }

    /// Takes the next frame from what was read already; forgets what lies before it.
    fn read_before(&self, number: u64) -> Option<Arc<Frame>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let at = read.iter().position(|frame| frame.first() == number + 1)?;
        read.drain(..at);
        read.pop_front()
    }
}
