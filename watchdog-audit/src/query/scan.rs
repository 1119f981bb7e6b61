//! Reads an object of the archive line by line, never unpacked as a whole.

use std::io::Read as _;

use crate::archive::MAX_RAW_BYTES;
use crate::chain::{Fault, FaultKind};
use crate::entry::MAX_LINE_BYTES;
use crate::error::{Error, Result};
use crate::hex;
use crate::manifest::ArchivedObject;
use crate::merkle::sha256;

/// Unpacked bytes at once; longer than any line.
const WINDOW: usize = 256 * 1024;
const _: () = assert!(WINDOW > MAX_LINE_BYTES);

/// An object as its manifest announces it.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    pub(crate) key: String,
    sha256: String,
    raw_bytes: u64,
}

impl Announced {
    pub(crate) fn by(object: &ArchivedObject) -> Self {
        Self { key: object.key.clone(), sha256: object.sha256.clone(), raw_bytes: object.raw_bytes }
    }

    fn altered(&self, detail: &str) -> Error {
        Error::corrupt(Fault::new(FaultKind::AlteredObject, &self.key, detail))
    }

    /// Checks the hash of an object and hands its lines to `take`, one after the other. At most
    /// the announced bytes are unpacked, whatever the content says.
    pub(crate) fn scan(
        &self,
        content: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if hex::encode(&sha256(&[content])) != self.sha256 {
            return Err(self.altered("its hash is another"));
        }
        let unpacks = |_| self.altered("it does not unpack");
        let mut decoder = zstd::stream::read::Decoder::with_buffer(content).map_err(unpacks)?;
        let mut window = vec![0; WINDOW];
        let (mut held, mut unpacked) = (0, 0);
        loop {
            let room = window.get_mut(held..).unwrap_or_default();
            let read = decoder.read(room).map_err(unpacks)?;
            if read == 0 {
                break;
            }
            unpacked += read as u64;
            if unpacked > self.raw_bytes.min(MAX_RAW_BYTES) {
                return Err(self.altered("it unpacks to more than was announced"));
            }
            held += read;
            let filled = window.get(..held).unwrap_or_default();
            let end = memchr::memrchr(b'\n', filled).map_or(0, |last| last + 1);
            let mut begin = 0;
            for newline in memchr::memchr_iter(b'\n', filled) {
                take(filled.get(begin..newline).unwrap_or_default())?;
                begin = newline + 1;
            }
            if held - end > MAX_LINE_BYTES {
                return Err(self.altered("a line is longer than any the log writes"));
            }
            window.copy_within(end..held, 0);
            held -= end;
        }
        if held == 0 && unpacked == self.raw_bytes {
            return Ok(());
        }
        Err(self.altered("it unpacks to less than was announced"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::pack;

    fn announced(content: &[u8], raw_bytes: u64) -> Announced {
        Announced { key: "k".into(), sha256: hex::encode(&sha256(&[content])), raw_bytes }
    }

    fn scanned(raw: &[u8], announced_bytes: u64) -> Result<Vec<Vec<u8>>> {
        let content = pack(raw).unwrap();
        let mut lines = Vec::new();
        announced(&content, announced_bytes).scan(&content, |line| {
            lines.push(line.to_vec());
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn every_line_is_seen_once_wherever_the_windows_end() {
        let mut raw = Vec::new();
        let mut wanted = Vec::new();
        for n in 0..3000_usize {
            let line = vec![b'a' + u8::try_from(n % 26).unwrap(); n * 7 % 1500];
            raw.extend_from_slice(&line);
            raw.push(b'\n');
            wanted.push(line);
        }
        assert!(raw.len() > 3 * WINDOW);
        assert_eq!(scanned(&raw, raw.len() as u64).unwrap(), wanted);
    }

    #[test]
    fn what_is_not_as_announced_is_refused() {
        assert!(scanned(b"one\ntwo\n", 8).is_ok());
        for (raw, announced) in [(&b"one\ntwo\n"[..], 7), (b"one\ntwo\n", 9), (b"one\ntwo", 7)] {
            assert!(scanned(raw, announced).is_err(), "{announced}");
        }
        let long = vec![b'x'; 3 * WINDOW];
        assert!(scanned(&long, long.len() as u64).is_err());
        let bomb = vec![b'\n'; 40 * 1024 * 1024];
        assert!(scanned(&bomb, 1000).is_err());
        let content = pack(b"one\n").unwrap();
        assert!(announced(b"other", 4).scan(&content, |_| Ok(())).is_err());
        assert!(announced(b"not zstd", 8).scan(b"not zstd", |_| Ok(())).is_err());
    }
}
