//! Recording entries again under another id, each once however often it is begun.
//!
//! The spool's directory keeps the id, and an entry's number under it follows from its number in
//! the spool. Whoever goes on after a kill offers the same entries under the same numbers, so that
//! store and archive pass over what they have. The entries' own ids stay.

use std::collections::VecDeque;
use std::sync::Arc;

use watchdog_core::Clock;

use crate::entry::{Line, Place};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::log::delivery::{Delivery, Undelivered};
use crate::log::loss;
use crate::log::sources::Sources;
use crate::personal::{Sealed, SubjectKeys};
use crate::spool::{Heir, Spool};
use crate::writer_id::WriterId;

/// What entries are encoded with.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(crate) keys: Option<Arc<dyn SubjectKeys>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The entries of a spool from one gap to the next, under the id of its heir.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) heir: Heir,
    spool: Spool,
    encoder: Encoder,
    delivery: Delivery,
    /// Frames of the spool that were read and not yet recorded again, as far as they go.
    read: VecDeque<Arc<Frame>>,
    /// The entry before the first of them.
    read_after: u64,
    /// The newest frame that the store took.
    newest: Option<Arc<Frame>>,
}

/// What follows an entry of the heir.
enum Next {
    Frame(Frame),
    /// Nothing but what lies behind a gap: the number of its first entry in the spool.
    Gap {
        first: u64,
    },
    Nothing,
}

impl Inheritance {
    pub(crate) fn new(heir: Heir, spool: Spool, encoder: Encoder, delivery: &Delivery) -> Self {
        let delivery = delivery.inheriting(heir.writer, heir.partition);
        let (read, newest) = (VecDeque::new(), None);
        Self { heir, spool, encoder, delivery, read, read_after: 0, newest }
    }

    /// Given that the store has the heir's entries up to `stored`, brings the others there. Answers
    /// the last of them, and the first entry in the spool behind the gap that ends them.
    pub(crate) async fn bring(&mut self, mut stored: u64) -> Result<(u64, Option<u64>)> {
        loop {
            let frame = match self.after(stored).await? {
                Next::Frame(frame) => Arc::new(frame),
                Next::Gap { first } => return Ok((stored, Some(first))),
                Next::Nothing => return Ok((stored, None)),
            };
            stored = self.offer(&frame).await?;
            self.newest = Some(frame);
        }
    }

    /// Sees whether the store still has what it took, up to `stored`; answers up to where it has.
    pub(crate) async fn check(&mut self, stored: u64) -> Result<u64> {
        match self.newest.clone() {
            Some(newest) if newest.last() == stored => self.offer(&newest).await,
            _ => Ok(stored),
        }
    }

    async fn offer(&mut self, frame: &Arc<Frame>) -> Result<u64> {
        let sources = Sources::default();
        sources.memory().push(Arc::clone(frame));
        match self.delivery.step(&sources, (frame.first() - 1, frame.last())).await {
            Ok(stored) => Ok(stored),
            Err(Undelivered::Failed(error)) => Err(error),
            Err(Undelivered::Superseded { .. }) => {
                Err(Error::corrupt("the store has somebody else's entries under the id of an heir"))
            }
        }
    }

    /// Encodes what follows entry `number` of the heir.
    async fn after(&mut self, number: u64) -> Result<Next> {
        let mut frame = Frame::new(self.heir.writer, number + 1);
        if number == 0 && self.heir.declares {
            let now = self.encoder.clock.now();
            let entry = loss::declaration(self.spool.writer(), self.heir.lost, now);
            self.encoder.push(&mut frame, entry).await?;
            return Ok(Next::Frame(frame));
        }
        let old = self.heir.old(number);
        let Some(source) = self.source_after(old).await? else { return Ok(Next::Nothing) };
        if source.first() > old + 1 {
            return Ok(Next::Gap { first: source.first() });
        }
        for (sequence, line) in (source.first()..).zip(source.lines()) {
            if frame.is_full() {
                break;
            }
            if sequence > old {
                let entry = loss::entry(line, self.encoder.keys.as_deref()).await?;
                self.encoder.push(&mut frame, entry).await?;
            }
        }
        Ok(Next::Frame(frame))
    }

    /// The first frame of the spool that ends after entry `old`.
    async fn source_after(&mut self, old: u64) -> Result<Option<Arc<Frame>>> {
        if old < self.read_after {
            self.read.clear();
        }
        self.read_after = old;
        while self.read.front().is_some_and(|frame| frame.last() <= old) {
            self.read.pop_front();
        }
        if self.read.is_empty() {
            self.read = self.spool.after(old).await?.into();
        }
        Ok(self.read.front().cloned())
    }
}

impl Encoder {
    /// Adds an entry to a frame, as the next one of its writer.
    async fn push(&self, frame: &mut Frame, entry: watchdog_core::audit::Entry) -> Result<()> {
        let (writer, recorded_at): (WriterId, _) = (frame.writer(), self.clock.now());
        let place = Place { writer, sequence: frame.first() + frame.count(), recorded_at };
        let line = match &self.keys {
            Some(keys) => {
                let key = keys.current(&entry.actor).await?;
                let sealed = Sealed::seal(&key, writer, place.sequence, &entry)?;
                Line::plain(place, entry).with_sealed(sealed)
            }
            None => Line::plain(place, entry),
        };
        frame.push(&line.encode()?, recorded_at.as_millisecond())
    }
}
