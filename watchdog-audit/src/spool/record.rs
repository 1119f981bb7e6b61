//! Records of a spool file, without I/O.
//!
//! A record is `WDSR`, the length of the frame as 32 bits, and the frame as the store gets it. The
//! frame carries its own checksum. What is not a record is passed over up to the next one: a torn
//! or zero-filled tail, or a damaged place in the middle.

use crate::frame::{Frame, MAX_PAYLOAD_BYTES};

const MAGIC: &[u8; 4] = b"WDSR";
const HEADER_BYTES: usize = 8;
/// The payload and the frame's own header, with room to spare.
const MAX_FRAME_BYTES: usize = MAX_PAYLOAD_BYTES + 1024;
/// Most bytes of a record.
pub(crate) const MAX_RECORD_BYTES: usize = HEADER_BYTES + MAX_FRAME_BYTES;

/// Adds a frame as a record.
pub(crate) fn encode(frame: &Frame, into: &mut Vec<u8>) {
    let bytes = frame.encode();
    into.extend_from_slice(MAGIC);
    // A frame is bounded by MAX_FRAME_BYTES.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(&bytes);
}

/// What the bytes of a spool file hold.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The frames, in the order of the file.
    pub(crate) frames: Vec<Frame>,
    /// Where the last whole record ends.
    pub(crate) end: usize,
    /// Bytes before that end that are no record.
    pub(crate) damaged: usize,
}

/// Reads every whole record.
pub(crate) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while let Some(begin) = next_magic(bytes, at) {
        match frame_at(bytes, begin) {
            Some((frame, end)) => {
                scan.damaged += begin - scan.end;
                scan.frames.push(frame);
                scan.end = end;
                at = end;
            }
            None => at = begin + 1,
        }
    }
    scan
}

/// Whether bytes after the last whole record are what a write leaves that was not finished: nothing,
/// zeros, or the beginning of a record that ends early or in zeros.
pub(crate) fn is_torn(rest: &[u8]) -> bool {
    let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let mut written = rest.iter().take(end);
    if !MAGIC.iter().all(|magic| written.next().is_none_or(|byte| byte == magic)) {
        return false;
    }
    let length = rest.get(MAGIC.len()..HEADER_BYTES).and_then(|bytes| bytes.try_into().ok());
    let Some(length) = length.map(u32::from_be_bytes) else { return true };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    length <= MAX_FRAME_BYTES && (rest.len() < HEADER_BYTES + length || end < rest.len())
}

fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|offset| from + offset)
}

fn frame_at(bytes: &[u8], begin: usize) -> Option<(Frame, usize)> {
    let body = begin + HEADER_BYTES;
    let length = bytes.get(begin + MAGIC.len()..body)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    if length > MAX_FRAME_BYTES {
        return None;
    }
    let end = body + length;
    Frame::decode(bytes.get(body..end)?).ok().map(|frame| (frame, end))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;
    use watchdog_core::Timestamp;
    use watchdog_core::audit::{Actor, Category, Entry, Resource};

    use super::*;
    use crate::entry::{Line, Place};
    use crate::writer_id::WriterId;

    pub(crate) fn frame(first: u64, count: u64) -> Frame {
        let writer = WriterId::from_bytes([7; 16]);
        let recorded_at = Timestamp::UNIX_EPOCH;
        let mut frame = Frame::new(writer, first);
        for sequence in first..first + count {
            let entry = Entry::new(
                Uuid::from_u128(u128::from(sequence)),
                recorded_at,
                Category::Application,
                Actor::user("alice"),
                "note.written",
                Resource::new("note", "WDSR inside a name"),
            );
            let line = Line::plain(Place { writer, sequence, recorded_at }, entry);
            frame.push(&line.encode().unwrap(), 5).unwrap();
        }
        frame
    }

    fn three() -> (Vec<Frame>, Vec<usize>, Vec<u8>) {
        let frames = vec![frame(1, 2), frame(3, 1), frame(4, 3)];
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for frame in &frames {
            encode(frame, &mut bytes);
            ends.push(bytes.len());
        }
        (frames, ends, bytes)
    }

    #[test]
    fn every_cut_gives_the_whole_records_before_it() {
        let (frames, ends, bytes) = three();
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count();
            let found = scan(&bytes[..length]);
            assert_eq!(found.frames, frames[..whole], "cut at {length}");
            assert_eq!((found.end, found.damaged), (ends[..whole].last().map_or(0, |e| *e), 0));
        }
    }

    #[test]
    fn a_torn_tail_is_told_from_a_damaged_one() {
        let (_, ends, bytes) = three();
        let last = &bytes[ends[1]..];
        for length in 0..last.len() {
            assert!(is_torn(&last[..length]), "cut at {length}");
            let mut filled = last[..length].to_vec();
            filled.resize(last.len() + 100, 0);
            assert!(is_torn(&filled), "cut at {length}, and zeros");
        }
        let mut altered = last.to_vec();
        altered[last.len() / 2] ^= 1;
        assert!(!is_torn(&altered));
        altered.truncate(last.len() - 1);
        altered[0] ^= 1;
        assert!(!is_torn(&altered));
        assert!(!is_torn(b"WDSR\xff\xff\xff\xffanything"));
        assert!(!is_torn(b"something else"));
    }

    #[test]
    fn a_zero_filled_tail_is_not_a_record() {
        let (frames, ends, mut bytes) = three();
        bytes.resize(bytes.len() + 4096, 0);
        let found = scan(&bytes);
        assert_eq!((found.frames.len(), found.end), (frames.len(), ends[2]));
        bytes.truncate(ends[1] + 20);
        bytes.resize(8192, 0);
        assert_eq!(scan(&bytes).frames, frames[..2]);
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_is_in_and_no_other() {
        let (frames, ends, bytes) = three();
        for bit in (0..bytes.len() * 8).step_by(3) {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|end| bit / 8 < *end).unwrap();
            let left: Vec<_> =
                frames.iter().enumerate().filter(|(n, _)| *n != hit).map(|(_, f)| f).collect();
            let found = scan(&altered);
            assert_eq!(found.frames.iter().collect::<Vec<_>>(), left, "bit {bit}");
            assert_eq!(found.damaged > 0, hit < 2, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_scan_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (_, _, records) = three();
            let mixed = [bytes.as_slice(), &records, &bytes].concat();
            prop_assert_eq!(scan(&mixed).frames.len(), 3);
        }
    }
}
