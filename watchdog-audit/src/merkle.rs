//! The Merkle tree hash of RFC 6962, section 2.1, with SHA-256.

use aws_lc_rs::digest;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// Takes leaves in order and tells the root; keeps one hash for each power of two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    size: u64,
    /// Roots of the full subtrees, greatest first: one for each bit of `size`.
    peaks: Vec<Hash>,
}

impl Tree {
    /// Adds the next leaf: the stored bytes of a line.
    pub(crate) fn push(&mut self, leaf: &[u8]) {
        let mut hash = sha256(&[&[LEAF], leaf]);
        // Each trailing one of the size is a full subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = sha256(&[&[NODE], &left, &hash]);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves so far; that of no leaf is the hash of nothing.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(*last, |right, left| sha256(&[&[NODE], left, &right]))
    }
}

/// The SHA-256 of parts one after another.
pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hex;

    /// The leaves and roots of the Certificate Transparency reference implementation
    /// (google/certificate-transparency, `merkle_tree_test.cc`).
    #[test]
    fn roots_equal_those_of_the_reference_implementation() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(
            hex::encode(&tree.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(leaf);
            assert_eq!(hex::encode(&tree.root()), root);
        }
    }

    /// The definition of the RFC, word by word.
    fn defined(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => sha256(&[&[LEAF], leaf]),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                sha256(&[&[NODE], &defined(left), &defined(right)])
            }
        }
    }

    proptest! {
        #[test]
        fn the_streamed_root_is_the_defined_root(
            leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..70)
        ) {
            let mut tree = Tree::default();
            for leaf in &leaves {
                tree.push(leaf);
            }
            prop_assert_eq!(tree.root(), defined(&leaves));
        }
    }
}
