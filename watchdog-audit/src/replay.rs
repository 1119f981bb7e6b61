//! The last frames of a writer, kept to be sent and to be sent again.
//!
//! Redis replicates after it has acknowledged. A replica that is promoted without the tail answers
//! with an older number of the writer; the writer then sends the missing frames again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::frame::Frame;

/// Most bytes of acknowledged frames a writer keeps in memory: 8 MiB.
pub const REPLAY_BYTES: usize = 8 * 1024 * 1024;

/// The newest frames of a writer, within a bound of bytes; what is nowhere else stays.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    frames: VecDeque<(Arc<Frame>, usize)>,
    bytes: usize,
    /// Entries up to here are in the store or in the spool.
    kept_elsewhere: u64,
}

impl Replay {
    pub(crate) fn push(&mut self, frame: Arc<Frame>) {
        let bytes = frame.payload_bytes();
        self.frames.push_back((frame, bytes));
        self.bytes += bytes;
        self.trim();
    }

    /// Entries up to `last` are in the store or in the spool.
    pub(crate) fn kept_elsewhere(&mut self, last: u64) {
        self.kept_elsewhere = self.kept_elsewhere.max(last);
        self.trim();
    }

    fn trim(&mut self) {
        while self.bytes > REPLAY_BYTES
            && let Some((frame, bytes)) = self.frames.front()
            && frame.last() <= self.kept_elsewhere
        {
            self.bytes -= bytes;
            self.frames.pop_front();
        }
    }

    /// The frame that follows entry `number`.
    pub(crate) fn next(&self, number: u64) -> Option<Arc<Frame>> {
        let at =
            self.frames.binary_search_by_key(&(number + 1), |(frame, _)| frame.first()).ok()?;
        self.frames.get(at).map(|(frame, _)| Arc::clone(frame))
    }

    /// Every frame that begins after entry `number`, in order.
    pub(crate) fn after(&self, number: u64) -> Vec<Arc<Frame>> {
        let begin = self.frames.partition_point(|(frame, _)| frame.first() <= number);
        self.frames.iter().skip(begin).map(|(frame, _)| Arc::clone(frame)).collect()
    }

    /// The newest frame that begins at or before entry `number`.
    pub(crate) fn newest_up_to(&self, number: u64) -> Option<&Arc<Frame>> {
        let end = self.frames.partition_point(|(frame, _)| frame.first() <= number);
        self.frames.get(end.checked_sub(1)?).map(|(frame, _)| frame)
    }

    /// The newest frame.
    pub(crate) fn newest(&self) -> Option<&Arc<Frame>> {
        self.frames.back().map(|(frame, _)| frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer_id::WriterId;

    fn frame(first: u64, length: usize) -> Arc<Frame> {
        let mut frame = Frame::new(WriterId::from_bytes([1; 16]), first);
        frame.push(&vec![b'x'; length], 0).unwrap();
        Arc::new(frame)
    }

    #[test]
    fn the_frames_after_a_number_come_back_in_order() {
        let mut replay = Replay::default();
        for first in 1..=5 {
            replay.push(frame(first, 10));
        }
        let numbers: Vec<_> = replay.after(2).iter().map(|frame| frame.first()).collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert_eq!(replay.next(2).map(|frame| frame.first()), Some(3));
        assert!(replay.next(5).is_none());
        assert!(replay.after(5).is_empty());
    }

    #[test]
    fn what_no_longer_fits_is_not_promised() {
        let mut replay = Replay::default();
        for first in 1..=200 {
            replay.push(frame(first, 60_000));
            replay.kept_elsewhere(first);
        }
        assert!(replay.bytes <= REPLAY_BYTES);
        assert!(replay.next(0).is_none());
        assert_eq!(replay.after(198).len(), 2);
    }

    #[test]
    fn what_is_nowhere_else_stays() {
        let mut replay = Replay::default();
        for first in 1..=200 {
            replay.push(frame(first, 60_000));
        }
        assert_eq!(replay.after(0).len(), 200);
        replay.kept_elsewhere(200);
        assert!(replay.bytes <= REPLAY_BYTES);
        assert_eq!(replay.newest().map(|frame| frame.first()), Some(200));
    }
}
