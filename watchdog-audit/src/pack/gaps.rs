//! Where a writer may go on above its last archived entry, without I/O.

use std::collections::HashSet;

use crate::chain::Chain;
use crate::frame::Frame;
use crate::segment::FrameId;
use crate::writer_id::WriterId;

/// The gaps that the entries of one segment may leave.
#[derive(Debug)]
pub(crate) struct Gaps<'a> {
    chain: &'a Chain,
    partition: u16,
    /// Whether a writer the chain does not know may begin anywhere.
    may_begin_late: bool,
    /// Entries of the segment itself that cannot be read, whoever wrote them.
    lost: u64,
}

impl<'a> Gaps<'a> {
    pub(crate) fn new(chain: &'a Chain, partition: u16, may_begin_late: bool, lost: u64) -> Self {
        Self { chain, partition, may_begin_late, lost }
    }

    /// Whether a writer may go on with `next`, its last entry so far being `last`: the chain's when
    /// `is_first` in the segment. What is given to one gap is not there for the next.
    pub(crate) fn takes(
        &mut self,
        writer: &WriterId,
        last: u64,
        next: u64,
        is_first: bool,
    ) -> bool {
        let mut gap = next.saturating_sub(last).saturating_sub(1);
        if is_first {
            if last == 0 && self.may_begin_late {
                return true;
            }
            gap = gap.saturating_sub(self.chain.allowance(self.partition, writer));
        }
        match self.lost.checked_sub(gap) {
            Some(left) => {
                self.lost = left;
                true
            }
            None => false,
        }
    }

    /// Parts the frames that go on where their writers are from those that do not: taken into the
    /// archive, a frame with a number far ahead would make all before it look archived.
    pub(crate) fn part(
        mut self,
        frames: Vec<(FrameId, Frame)>,
    ) -> (Vec<Frame>, Vec<(FrameId, Frame)>) {
        let (mut fitting, mut others) = (Vec::with_capacity(frames.len()), Vec::new());
        let mut marks = std::collections::HashMap::<WriterId, u64>::new();
        for (id, frame) in frames {
            let writer = frame.writer();
            let mark = marks.get(&writer).copied();
            let last = mark.unwrap_or_else(|| self.chain.high_water(&writer));
            if frame.is_restored() || frame.last() <= last {
                fitting.push(frame);
            } else if self.takes(&writer, last, frame.first(), mark.is_none()) {
                marks.insert(writer, frame.last());
                fitting.push(frame);
            } else {
                others.push((id, frame));
            }
        }
        (fitting, others)
    }
}

/// How many entries there are, each counted once: a store may hold a frame twice.
pub(crate) fn distinct<'f>(frames: impl Iterator<Item = &'f Frame>) -> u64 {
    let mut seen = HashSet::new();
    frames
        .filter(|frame| seen.insert((frame.writer(), frame.first())))
        .map(Frame::count)
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: FrameId = FrameId { millis: 1, number: 1 };

    fn frame(writer: u8, first: u64, count: u64) -> (FrameId, Frame) {
        let mut frame = Frame::new(WriterId::from_bytes([writer; 16]), first);
        (0..count).for_each(|_| frame.push(b"{}", 0).unwrap());
        (ID, frame)
    }

    fn parted(lost: u64, frames: &[(FrameId, Frame)]) -> (usize, Vec<u64>) {
        let chain = Chain::default();
        let gaps = Gaps::new(&chain, 0, false, lost);
        let (fitting, others) = gaps.part(frames.to_vec());
        (fitting.len(), others.iter().map(|(_, frame)| frame.first()).collect())
    }

    #[test]
    fn a_gap_is_taken_as_far_as_entries_are_lost_and_only_once() {
        let after_a_hole = [frame(1, 1, 2), frame(1, 5, 2), frame(2, 1, 1)];
        assert_eq!(parted(0, &after_a_hole), (2, vec![5]));
        assert_eq!(parted(1, &after_a_hole), (2, vec![5]));
        assert_eq!(parted(2, &after_a_hole), (3, vec![]));
        let two_holes = [frame(1, 3, 1), frame(2, 3, 1)];
        assert_eq!(parted(2, &two_holes), (1, vec![3]), "the second is not explained any more");
        assert_eq!(parted(4, &two_holes), (2, vec![]));
    }

    #[test]
    fn a_frame_far_ahead_does_not_hide_what_comes_before_it() {
        let forged = [frame(1, 1, 2), frame(1, 1_000_000, 1), frame(1, 3, 2)];
        assert_eq!(parted(100, &forged), (2, vec![1_000_000]));
    }

    #[test]
    fn a_frame_that_stands_twice_counts_once() {
        let [a, b] = [frame(1, 1, 3).1, frame(2, 1, 1).1];
        assert_eq!(distinct([&a, &b, &a].into_iter()), 4);
    }
}
