//! What the answer of the store to a frame means for its writer, without I/O.

use crate::frame::Frame;
use crate::segment::{Appended, Checksum, HighWater};

/// What to do after a frame was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The store has it.
    Stored {
        /// Whether its segment is to be sealed.
        is_due: bool,
    },
    /// Offer it to another segment.
    Reopen {
        /// The one that is open.
        open: u64,
    },
    /// The store has lost what it had: go on after this entry.
    Behind {
        /// The last entry it has.
        high_water: u64,
    },
    /// The store has more of this writer than the frame: it was there before.
    Ahead {
        /// The last entry it has.
        high_water: u64,
    },
    /// Somebody else has written under this id.
    Foreign {
        /// The last entry it has.
        high_water: u64,
    },
}

/// Judges an answer.
pub(crate) fn judge(frame: &Frame, appended: Appended) -> Verdict {
    match appended {
        Appended::Stored { is_due, .. } => Verdict::Stored { is_due },
        Appended::NotOpen { open } => Verdict::Reopen { open },
        Appended::Duplicate { high_water } if high_water.last > frame.last() => {
            Verdict::Ahead { high_water: high_water.last }
        }
        // A copied virtual machine may have taken the numbers with other entries. Entries the
        // store passed over because they are archived have no checksum.
        Appended::Duplicate { high_water }
            if high_water.checksum == frame.checksum()
                || high_water.checksum == Checksum::default() =>
        {
            Verdict::Stored { is_due: false }
        }
        Appended::OutOfOrder { high_water } if high_water < frame.first() => {
            Verdict::Behind { high_water }
        }
        Appended::Duplicate { high_water: HighWater { last: high_water, .. } }
        | Appended::OutOfOrder { high_water } => Verdict::Foreign { high_water },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::FrameId;
    use crate::writer_id::WriterId;

    #[test]
    fn every_answer_has_its_meaning() {
        let mut frame = Frame::new(WriterId::from_bytes([1; 16]), 5);
        frame.push(b"{}", 0).unwrap();
        frame.push(b"{}", 0).unwrap();
        let duplicate =
            |last, checksum| Appended::Duplicate { high_water: HighWater { last, checksum } };
        let id = FrameId { millis: 1, number: 1 };
        for (appended, verdict) in [
            (Appended::Stored { frame: id, is_due: true }, Verdict::Stored { is_due: true }),
            (Appended::NotOpen { open: 9 }, Verdict::Reopen { open: 9 }),
            (duplicate(6, frame.checksum()), Verdict::Stored { is_due: false }),
            (duplicate(6, [0; 16]), Verdict::Stored { is_due: false }),
            (duplicate(6, [3; 16]), Verdict::Foreign { high_water: 6 }),
            (duplicate(7, [3; 16]), Verdict::Ahead { high_water: 7 }),
            (Appended::OutOfOrder { high_water: 0 }, Verdict::Behind { high_water: 0 }),
            (Appended::OutOfOrder { high_water: 3 }, Verdict::Behind { high_water: 3 }),
            (Appended::OutOfOrder { high_water: 5 }, Verdict::Foreign { high_water: 5 }),
        ] {
            assert_eq!(judge(&frame, appended), verdict, "{appended:?}");
        }
    }
}
