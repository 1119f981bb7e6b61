//! Proofs that stand for themselves: an entry is in the log, a log goes on from an earlier one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use uuid::Uuid;

use crate::entry::Line;
use crate::error::{Error, ErrorKind, Result};
use crate::merkle::{Hash, is_consistent, root_of_path};
use crate::receipt::Receipt;
use crate::signing::PublicKey;
use crate::tlog::{Checkpoint, Commitment};
use crate::writer_id::WriterId;

/// The first line of a proof (C2SP `tlog-proof`).
const PROOF_FORMAT: &str = "c2sp.org/tlog-proof@v1";
/// Longest path there can be: a tree of 2^64 leaves.
const MAX_PATH: usize = 64;

/// Which entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryName {
    /// By its id.
    Id(Uuid),
    /// By its place in the sequence of the writer that took it.
    Place {
        /// The writer.
        writer: WriterId,
        /// The number in the writer's sequence.
        sequence: u64,
    },
}

impl From<Uuid> for EntryName {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<(WriterId, u64)> for EntryName {
    fn from((writer, sequence): (WriterId, u64)) -> Self {
        Self::Place { writer, sequence }
    }
}

impl From<Receipt> for EntryName {
    fn from(receipt: Receipt) -> Self {
        Self::Place { writer: receipt.writer, sequence: receipt.sequence }
    }
}

impl EntryName {
    /// Whether a line is the entry that is meant.
    pub(crate) fn is(&self, line: &Line) -> bool {
        match self {
            Self::Id(id) => line.id == *id,
            Self::Place { writer, sequence } => {
                line.writer == *writer && line.sequence == *sequence
            }
        }
    }
}

/// Proof that one entry is in the log: its line, its place, the path to the root, and the
/// checkpoint that signs the root.
///
/// As text it is a `tlog-proof` of C2SP with the entry's line as extra data; whoever has the text
/// and the public key needs nothing else, neither bucket nor store. `docs/audit_proof.py` checks one
/// with Python alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    line: Vec<u8>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: Checkpoint,
}

impl InclusionProof {
    pub(crate) fn new(line: Vec<u8>, index: u64, path: Vec<Hash>, checkpoint: Checkpoint) -> Self {
        Self { line, index, path, checkpoint }
    }

    /// The entry's line as it is archived, without its newline. Personal fields are sealed.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The entry's place in the log, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint that the path leads to.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checks the proof with the public key that signed the checkpoint, and nothing else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when the key has not signed the checkpoint; [`ErrorKind::Corrupt`] when
    /// line, place and path do not lead to its root.
    pub fn verify(&self, key: &PublicKey) -> Result<()> {
        if !self.checkpoint.is_signed_by(key) {
            return Err(Error::new(ErrorKind::Key, "the key has not signed the checkpoint"));
        }
        self.check_path()
    }

    /// Checks that the path leads from the entry to the root, whoever signed it.
    pub(crate) fn check_path(&self) -> Result<()> {
        let line = Line::decode(&self.line)?;
        let leaf = Commitment::of(line.category, &self.line).hash();
        let root = root_of_path(leaf, self.index, self.checkpoint.size(), &self.path);
        if root.as_ref() == Some(self.checkpoint.root()) {
            return Ok(());
        }
        Err(Error::corrupt("the path does not lead from the entry to the root of the checkpoint"))
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{PROOF_FORMAT}")?;
        writeln!(f, "extra {}", BASE64.encode(&self.line))?;
        writeln!(f, "index {}", self.index)?;
        write_path(f, &self.path)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for InclusionProof {
    type Err = Error;

    /// Reads a proof; [`verify`](Self::verify) checks it.
    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (head, checkpoint) = text.split_once("\n\n")?;
            let mut lines = head.split('\n');
            if lines.next()? != PROOF_FORMAT {
                return None;
            }
            let line = BASE64.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
            let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
            let proof =
                Self { line, index, path: path(lines)?, checkpoint: checkpoint.parse().ok()? };
            // One spelling.
            (proof.to_string() == text).then_some(proof)
        };
        parse().ok_or_else(|| Error::new(ErrorKind::Misuse, "not a proof of this log"))
    }
}

/// Proof that the log of one checkpoint is the beginning of the log of another: nothing of it was
/// altered or taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    old: Checkpoint,
    new: Checkpoint,
    path: Vec<Hash>,
}

impl ConsistencyProof {
    pub(crate) fn new(old: Checkpoint, new: Checkpoint, path: Vec<Hash>) -> Self {
        Self { old, new, path }
    }

    /// The later checkpoint.
    pub fn new_checkpoint(&self) -> &Checkpoint {
        &self.new
    }

    /// The hashes that lead from the earlier tree to the later one (RFC 6962, section 2.1.2).
    pub fn path(&self) -> &[[u8; 32]] {
        &self.path
    }

    /// Checks the proof with the public keys that signed the two checkpoints: one key twice unless
    /// it was rotated in between.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when a key has not signed its checkpoint; [`ErrorKind::Corrupt`] when the
    /// later log does not begin with the earlier one.
    pub fn verify(&self, old: &PublicKey, new: &PublicKey) -> Result<()> {
        if !self.old.is_signed_by(old) || !self.new.is_signed_by(new) {
            return Err(Error::new(ErrorKind::Key, "the key has not signed the checkpoint"));
        }
        self.check_path()
    }

    /// Checks that the later tree begins with the earlier one, whoever signed them.
    pub(crate) fn check_path(&self) -> Result<()> {
        let heads =
            [&self.old, &self.new].map(|checkpoint| (checkpoint.size(), *checkpoint.root()));
        let is_one_log = self.old.origin() == self.new.origin();
        if is_one_log && is_consistent(heads[0], heads[1], &self.path) {
            return Ok(());
        }
        Err(Error::corrupt("the later log does not begin with the earlier one"))
    }
}

fn write_path(f: &mut fmt::Formatter<'_>, path: &[Hash]) -> fmt::Result {
    path.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))
}

fn path<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let hash = |line| BASE64.decode(line).ok()?.try_into().ok();
    let path: Vec<_> = lines.take(MAX_PATH + 1).map(hash).collect::<Option<_>>()?;
    (path.len() <= MAX_PATH).then_some(path)
}
