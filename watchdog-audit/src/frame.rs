//! A frame: one batch of one writer, as one value of the store.

use aws_lc_rs::digest;

#[cfg(feature = "objects")]
use crate::entry::Line;
use crate::entry::MAX_LINE_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::Checksum;
use crate::writer_id::WriterId;

/// Most entries of one frame.
pub const MAX_FRAME_ENTRIES: usize = 256;

/// A batch is closed when its lines reach this many bytes: 64 KiB.
pub const FRAME_TARGET_BYTES: usize = 64 * 1024;

/// Most bytes the lines of one frame take: a full batch and one more line of the greatest length.
pub const MAX_PAYLOAD_BYTES: usize = FRAME_TARGET_BYTES + MAX_LINE_BYTES + 2;

const MAGIC: &[u8; 4] = b"WDAF";
const VERSION: u8 = 1;
/// Lines as they are; other codecs may follow.
const CODEC_RAW: u8 = 0;
/// Lines as they are, restored from an archive: of any writer and number.
const CODEC_RESTORED: u8 = 1;
const HEADER_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 16;

/// Entries of one writer with consecutive numbers, in lines of JSON, each ended by a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    is_restored: bool,
    writer: WriterId,
    first: u64,
    count: u16,
    /// Earliest and latest `recorded_at`, in milliseconds since 1970.
    span: (i64, i64),
    payload: Vec<u8>,
}

impl Frame {
    /// An empty frame of a writer whose first entry will have the number `first`.
    pub fn new(writer: WriterId, first: u64) -> Self {
        let span = (i64::MAX, i64::MIN);
        Self { is_restored: false, writer, first, count: 0, span, payload: Vec::new() }
    }

    /// An empty frame for lines that come back from an archive, whoever wrote them. Its writer and
    /// numbers are those of the restore; it is queried and never archived again.
    pub fn restored(writer: WriterId, first: u64) -> Self {
        Self { is_restored: true, ..Self::new(writer, first) }
    }

    /// Whether its lines come back from an archive.
    pub fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// Adds a line, recorded at `millis`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the frame is full, or the line is too long or holds a newline.
    pub fn push(&mut self, line: &[u8], millis: i64) -> Result<()> {
        if usize::from(self.count) >= MAX_FRAME_ENTRIES
            || line.len() > MAX_LINE_BYTES
            || self.payload.len() + line.len() + 1 > MAX_PAYLOAD_BYTES
            || line.contains(&b'\n')
        {
            return Err(Error::new(ErrorKind::Misuse, "line does not fit into the frame"));
        }
        self.payload.extend_from_slice(line);
        self.payload.push(b'\n');
        self.count += 1;
        self.span = (self.span.0.min(millis), self.span.1.max(millis));
        Ok(())
    }

    /// Whether the batch is to be closed.
    pub fn is_full(&self) -> bool {
        usize::from(self.count) >= MAX_FRAME_ENTRIES || self.payload.len() >= FRAME_TARGET_BYTES
    }

    /// The writer.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// Number of the first entry.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Number of the last entry.
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count).saturating_sub(1)
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        u64::from(self.count)
    }

    /// The bytes of its lines, with their newlines.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    /// When its oldest entry was recorded, in milliseconds since 1970.
    pub(crate) fn oldest(&self) -> i64 {
        self.span.0
    }

    /// The lines, without their newlines.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.payload.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1])
    }

    /// The checksum in the header, by which a frame is told from another with its numbers.
    pub fn checksum(&self) -> Checksum {
        checksum(&self.header(), &self.payload)
    }

    /// The bytes of the frame: a header of 64 bytes and the lines.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let checksum = checksum(&bytes, &self.payload);
        bytes.extend_from_slice(&checksum);
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The header without its checksum, with room for all the rest.
    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(MAGIC);
        let codec = if self.is_restored { CODEC_RESTORED } else { CODEC_RAW };
        bytes.extend_from_slice(&[VERSION, codec]);
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.extend_from_slice(self.writer.as_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        // A batch is closed within milliseconds: 32 bits of difference are plenty.
        bytes.extend_from_slice(&self.span.0.to_be_bytes());
        let width = u32::try_from(self.span.1.saturating_sub(self.span.0)).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&width.to_be_bytes());
        // A payload is bounded by MAX_PAYLOAD_BYTES.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Reads a frame and checks everything its header says of it. What its lines say is checked by
    /// whoever reads them: a query decodes few of them, and the archiver every one, once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] when the bytes are not a frame this version writes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (header, payload) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or_else(|| Error::corrupt("frame is shorter than its header"))?;
        let (signed, stored) = header.split_at(HEADER_BYTES - CHECKSUM_BYTES);
        let mut fields = Fields(signed);
        if fields.take::<4>() != *MAGIC {
            return Err(Error::corrupt("frame does not begin as a frame"));
        }
        let [version, codec] = fields.take();
        if version != VERSION || ![CODEC_RAW, CODEC_RESTORED].contains(&codec) {
            return Err(Error::corrupt(format_args!(
                "frame has the unknown version {version} or codec {codec}"
            )));
        }
        let count = u16::from_be_bytes(fields.take());
        let writer = WriterId::from_bytes(fields.take());
        let first = u64::from_be_bytes(fields.take());
        let begin = i64::from_be_bytes(fields.take());
        let width = u32::from_be_bytes(fields.take());
        let length = u32::from_be_bytes(fields.take());
        if usize::try_from(length).ok() != Some(payload.len()) || payload.len() > MAX_PAYLOAD_BYTES
        {
            return Err(Error::corrupt("frame is cut or continued"));
        }
        if checksum(signed, payload) != *stored {
            return Err(Error::corrupt("frame does not match its checksum"));
        }
        let span = (begin, begin.saturating_add(i64::from(width)));
        let is_restored = codec == CODEC_RESTORED;
        let frame = Self { is_restored, writer, first, count, span, payload: payload.to_vec() };
        frame.check_lines()?;
        Ok(frame)
    }

    fn check_lines(&self) -> Result<()> {
        let count = usize::from(self.count);
        let newlines = self.payload.iter().filter(|byte| **byte == b'\n').count();
        if count == 0
            || count > MAX_FRAME_ENTRIES
            || newlines != count
            || self.payload.last() != Some(&b'\n')
            || self.first == 0
            || self.first.checked_add(u64::from(self.count)).is_none()
        {
            return Err(Error::corrupt("frame does not hold the lines it announces"));
        }
        Ok(())
    }

    /// The frame, when each of its lines is an entry and stands in its place.
    #[cfg(feature = "objects")]
    pub(crate) fn checked(self) -> Result<Self> {
        self.entries().try_for_each(|entry| entry.map(drop))?;
        Ok(self)
    }

    /// The lines with their bytes, each checked to be an entry and to stand in its place.
    #[cfg(feature = "objects")]
    pub(crate) fn entries(&self) -> impl Iterator<Item = Result<(&[u8], Line<'_>)>> {
        self.lines().zip(self.first..).map(|(bytes, sequence)| {
            let line = Line::decode(bytes)?;
            if !self.is_restored && (line.writer, line.sequence) != (self.writer, sequence) {
                return Err(Error::corrupt(format_args!(
                    "frame holds entry {} of {} in the place of entry {sequence} of {}",
                    line.sequence, line.writer, self.writer
                )));
            }
            Ok((bytes, line))
        })
    }
}

/// The checksum of an encoded frame, as it stands in its header.
#[cfg(any(feature = "embedded", feature = "redis", test))]
pub(crate) fn checksum_of(encoded: &[u8]) -> Checksum {
    let stored = encoded.get(HEADER_BYTES - CHECKSUM_BYTES..HEADER_BYTES);
    stored.and_then(|stored| stored.try_into().ok()).unwrap_or_default()
}

/// Reads fixed fields from a header whose length the caller has checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        if let Some((head, rest)) = self.0.split_first_chunk::<N>() {
            field = *head;
            self.0 = rest;
        }
        field
    }
}

/// The first half of the SHA-256 of header and payload: finds accidents, not attackers.
fn checksum(header: &[u8], payload: &[u8]) -> Checksum {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(header);
    context.update(payload);
    let mut half = [0; CHECKSUM_BYTES];
    half.copy_from_slice(&context.finish().as_ref()[..CHECKSUM_BYTES]);
    half
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;
    use watchdog_core::Timestamp;
    use watchdog_core::audit::{Actor, Category, Entry, Resource};

    use super::*;
    use crate::entry::Place;

    fn frame(first: u64, count: u64) -> Frame {
        let writer = WriterId::from_bytes([5; 16]);
        let mut frame = Frame::new(writer, first);
        for sequence in first..first + count {
            let recorded_at = Timestamp::UNIX_EPOCH;
            let entry = Entry::new(
                Uuid::from_u128(u128::from(sequence)),
                recorded_at,
                Category::Application,
                Actor::user("alice"),
                "note.written",
                Resource::new("note", "line\nbreak"),
            );
            let line = Line::plain(Place { writer, sequence, recorded_at }, entry);
            frame.push(&line.encode().unwrap(), i64::try_from(sequence).unwrap()).unwrap();
        }
        frame
    }

    proptest! {
        #[test]
        fn a_frame_reads_back(first in 1_u64..u64::MAX / 2, count in 1_u64..20) {
            let frame = frame(first, count);
            prop_assert_eq!(checksum_of(&frame.encode()), frame.checksum());
            prop_assert_eq!(Frame::decode(&frame.encode()).unwrap(), frame);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::decode(&bytes);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = frame(7, 3).encode();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Frame::decode(&altered).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "bit {bit}"
            );
        }
        for length in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[cfg(feature = "objects")]
    #[test]
    fn a_line_in_the_wrong_place_is_noticed_under_a_right_checksum() {
        let mut mixed = frame(7, 2);
        assert!(mixed.entries().all(|entry| entry.is_ok()));
        mixed.first = 8;
        let mixed = Frame::decode(&mixed.encode()).unwrap();
        let error = mixed.entries().next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_frame_takes_256_entries_and_no_more() {
        let mut frame = frame(1, 256);
        assert!(frame.is_full());
        assert_eq!(frame.push(b"{}", 0).unwrap_err().kind(), ErrorKind::Misuse);
    }

    #[test]
    fn a_frame_is_full_at_64_kib() {
        let mut frame = Frame::new(WriterId::from_bytes([5; 16]), 1);
        frame.push(&vec![b'x'; FRAME_TARGET_BYTES - 2], 0).unwrap();
        assert!(!frame.is_full());
        frame.push(&vec![b'x'; MAX_LINE_BYTES], 0).unwrap();
        assert!(frame.is_full());
    }
}
