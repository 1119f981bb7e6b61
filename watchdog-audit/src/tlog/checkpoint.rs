//! Checkpoints: a state of the tree as a signed note (C2SP `signed-note`, `tlog-checkpoint`).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{Error, ErrorKind, Result};
use crate::hex;
use crate::manifest::TreeHead;
use crate::merkle::{Hash, sha256};
use crate::signing::{PublicKey, Signer};

/// The byte that stands for Ed25519 in a signed note.
const ED25519: u8 = 1;
/// Longest checkpoint that is read, in bytes: ours has under 300, and witnesses may have signed it.
pub(crate) const MAX_CHECKPOINT_BYTES: u64 = 64 * 1024;

/// A signed state of the tree over all archived entries, as text that stands for itself.
///
/// Keep one where nobody can reach who can write to bucket and store, and hand it to
/// [`AuditLog::verify_since`](crate::AuditLog::verify_since) later: then nothing that was archived
/// before it can have gone unnoticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    /// Name, key id and signature of each signature line.
    signatures: Vec<Signature>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    key: [u8; 4],
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// The log it is of: the first line of the note.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The state of the tree.
    pub fn tree(&self) -> TreeHead {
        TreeHead::new(self.size, &self.root)
    }

    /// Whether one of its signatures is this key's.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let body = self.body();
        self.signatures.iter().any(|signature| {
            signature.name == self.origin
                && signature.key == key.note_id(&self.origin)
                && key.verify_bytes(body.as_bytes(), &signature.bytes)
        })
    }

    pub(crate) fn root(&self) -> &Hash {
        &self.root
    }

    /// Signs a state of the tree.
    pub(crate) fn sign(
        origin: &str,
        tree: &TreeHead,
        key: &PublicKey,
        signer: &Signer,
    ) -> Result<Self> {
        let root = tree.hash().ok_or_else(|| Error::corrupt("the root of the tree is no hash"))?;
        let mut checkpoint = Self {
            origin: origin.to_owned(),
            size: tree.size,
            root,
            signatures: Vec::new(),
            text: String::new(),
        };
        let body = checkpoint.body();
        let bytes = signer.signature(&key.id(), body.as_bytes())?;
        let id = key.note_id(origin);
        let signed = BASE64.encode([id.as_slice(), &bytes].concat());
        checkpoint.text = format!("{body}\n\u{2014} {origin} {signed}\n");
        checkpoint.signatures =
            vec![Signature { name: origin.to_owned(), key: id, bytes: bytes.to_vec() }];
        Ok(checkpoint)
    }

    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Checkpoint {
    type Err = Error;

    /// Reads a note; its signatures are not checked yet.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| Error::new(ErrorKind::Misuse, "not a checkpoint of this log"))
    }
}

fn parse(text: &str) -> Option<Checkpoint> {
    let (body, signatures) = text.split_once("\n\n")?;
    let mut lines = body.split('\n');
    let checkpoint = Checkpoint {
        origin: lines.next().filter(|origin| !origin.is_empty())?.to_owned(),
        size: lines.next()?.parse().ok()?,
        root: BASE64.decode(lines.next()?).ok()?.try_into().ok()?,
        signatures: signatures
            .strip_suffix('\n')?
            .split('\n')
            .map(signature)
            .collect::<Option<_>>()?,
        text: text.to_owned(),
    };
    // One spelling: no extension lines, no leading zeros.
    (checkpoint.body().strip_suffix('\n') == Some(body)).then_some(checkpoint)
}

fn signature(line: &str) -> Option<Signature> {
    let (name, signed) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let signed = BASE64.decode(signed).ok()?;
    let (key, bytes) = signed.split_first_chunk::<4>()?;
    Some(Signature { name: name.to_owned(), key: *key, bytes: bytes.to_vec() })
}

/// The origin of the log whose first manifest was signed by this key; it stays when keys rotate.
pub(crate) fn origin(first: &PublicKey) -> String {
    format!("watchdog-audit/{}", first.id())
}

impl PublicKey {
    /// The key as verifiers of signed notes take it (`vkey`), for the log with this origin.
    pub fn note_key(&self, origin: &str) -> String {
        let public = BASE64.encode([&[ED25519], self.as_bytes().as_slice()].concat());
        format!("{origin}+{}+{public}", hex::encode(&self.note_id(origin)))
    }

    /// The key id of signed notes: the first four bytes of SHA-256 over name, newline, algorithm
    /// and key.
    fn note_id(&self, name: &str) -> [u8; 4] {
        let hash = sha256(&[name.as_bytes(), &[b'\n', ED25519], self.as_bytes()]);
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

#[cfg(test)]
mod tests {
    use watchdog_core::RootKeys;

    use super::*;

    fn checkpoint() -> (Checkpoint, PublicKey) {
        let signer = Signer::new(&RootKeys::ephemeral().unwrap(), &[]).unwrap();
        let key = signer.public_key();
        let tree = TreeHead::new(7, &[9; 32]);
        (Checkpoint::sign(&origin(&key), &tree, &key, &signer).unwrap(), key)
    }

    #[test]
    fn a_checkpoint_reads_back_and_is_signed() {
        let (checkpoint, key) = checkpoint();
        let again: Checkpoint = checkpoint.to_string().parse().unwrap();
        assert_eq!(again, checkpoint);
        assert_eq!((again.size(), again.tree()), (7, TreeHead::new(7, &[9; 32])));
        assert!(again.is_signed_by(&key));
        assert!(!again.is_signed_by(&PublicKey::from_bytes([1; 32])));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (checkpoint, key) = checkpoint();
        let text = checkpoint.to_string();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let altered = String::from_utf8(bytes).ok().and_then(|text| parse(&text));
            assert!(!altered.is_some_and(|altered| altered.is_signed_by(&key)), "bit {bit}");
        }
    }

    #[test]
    fn what_is_not_a_checkpoint_is_refused() {
        let (checkpoint, _) = checkpoint();
        let text = checkpoint.to_string();
        for other in [
            String::new(),
            text.replace("\n7\n", "\n07\n"),
            text.replace("\n7\n", "\n+7\n"),
            text.replace("\n\n", "\nextension\n\n"),
            text.trim_end().to_owned(),
            text.replace("\n\n", "\n"),
        ] {
            let error = other.parse::<Checkpoint>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse, "{other}");
        }
    }

    /// The key of the Go checksum database, with its published id.
    #[test]
    fn key_ids_are_those_of_signed_notes() {
        let vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let encoded = vkey.splitn(3, '+').nth(2).unwrap();
        let bytes = BASE64.decode(encoded).unwrap();
        let key = PublicKey::from_bytes(bytes[1..].try_into().unwrap());
        assert_eq!(key.note_key("sum.golang.org"), vkey);
    }
}
