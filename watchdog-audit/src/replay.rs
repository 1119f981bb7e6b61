//! The last acknowledged frames of a writer, kept to be sent again.
//!
//! Redis replicates after it has acknowledged. A replica that is promoted without the tail answers
//! with an older number of the writer; the writer then sends the missing frames again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::frame::Frame;

/// Most bytes of acknowledged frames a writer keeps: 8 MiB.
pub const REPLAY_BYTES: usize = 8 * 1024 * 1024;

/// The newest acknowledged frames, within a bound of bytes.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    frames: VecDeque<(Arc<Frame>, usize)>,
    bytes: usize,
}

impl Replay {
    pub(crate) fn push(&mut self, frame: Arc<Frame>) {
        let bytes: usize = frame.lines().map(|line| line.len() + 1).sum();
        self.frames.push_back((frame, bytes));
        self.bytes += bytes;
        while self.bytes > REPLAY_BYTES {
            match self.frames.pop_front() {
                Some((_, bytes)) => self.bytes -= bytes,
                None => break,
            }
        }
    }

    /// The frames that follow entry `high_water`, `None` when they are not all kept.
    pub(crate) fn after(&self, high_water: u64) -> Option<Vec<Arc<Frame>>> {
        let begin = self.frames.iter().position(|(frame, _)| frame.first() == high_water + 1)?;
        Some(self.frames.iter().skip(begin).map(|(frame, _)| Arc::clone(frame)).collect())
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
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
        let numbers: Vec<_> = replay.after(2).unwrap().iter().map(|frame| frame.first()).collect();
        assert_eq!(numbers, [3, 4, 5]);
        assert!(replay.after(5).is_none());
    }

    #[test]
    fn what_no_longer_fits_is_not_promised() {
        let mut replay = Replay::default();
        for first in 1..=200 {
            replay.push(frame(first, 60_000));
        }
        assert!(replay.bytes <= REPLAY_BYTES);
        assert!(replay.after(0).is_none());
        assert_eq!(replay.after(198).unwrap().len(), 2);
    }
}
