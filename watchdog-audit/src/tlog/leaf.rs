//! What the tree takes for an entry.

use watchdog_core::audit::Category;

use crate::merkle::{Hash, leaf_hash, sha256};

/// The version of the commitment, its first byte.
const VERSION: u8 = 1;

/// Bytes of a commitment: version, category, SHA-256 of the line.
pub(crate) const COMMITMENT_BYTES: usize = 34;

/// What stands in the tree for an entry: not its line, which may be longer than an entry of
/// `tlog-tiles` can be (65 535 bytes) and goes when its category's retention is over, but the hash
/// of the line. A line holds a random id, so its hash tells nothing of it to who does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commitment {
    bytes: [u8; COMMITMENT_BYTES],
    /// The leaf's hash: needed in the tree of its object and in that over the log.
    hash: Hash,
}

impl Commitment {
    /// The commitment to a line, without its newline.
    pub(crate) fn of(category: Category, line: &[u8]) -> Self {
        let mut bytes = [0; COMMITMENT_BYTES];
        bytes[0] = VERSION;
        bytes[1] = code(category);
        bytes[2..].copy_from_slice(&sha256(&[line]));
        Self::from_bytes(bytes)
    }

    /// A commitment as it was stored.
    pub(crate) fn from_bytes(bytes: [u8; COMMITMENT_BYTES]) -> Self {
        Self { bytes, hash: leaf_hash(&bytes) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; COMMITMENT_BYTES] {
        &self.bytes
    }

    /// Whether it is to an entry of a category.
    pub(crate) fn is_of(&self, category: Category) -> bool {
        self.bytes[1] == code(category)
    }

    /// The leaf's hash in the tree.
    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }
}

/// The byte of a category; it never changes.
fn code(category: Category) -> u8 {
    match category {
        Category::Application => 1,
        Category::Database => 2,
        Category::Access => 3,
        Category::Security => 4,
        // A category this version does not know cannot be written by it.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn a_commitment_is_version_category_and_hash() {
        let commitment = Commitment::of(Category::Access, b"line");
        let text = hex::encode(commitment.as_bytes());
        // printf line | sha256sum
        let digest = "38a9c1e721584da284b90ceea4ed7eb8db15ac4ea86c2c75ec925d5f8799fcf0";
        assert_eq!(text, format!("0103{digest}"));
    }

    #[test]
    fn every_category_has_a_code_of_its_own() {
        let mut codes: Vec<_> = Category::ALL.into_iter().map(code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [1, 2, 3, 4]);
    }
}
