//! The Merkle tree of RFC 6962, section 2.1, with SHA-256: roots, and the check of proofs.

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
    /// Adds the next leaf.
    #[cfg(test)]
    pub(crate) fn push(&mut self, leaf: &[u8]) {
        self.push_hash(leaf_hash(leaf));
    }

    /// Adds the hash of the next leaf.
    pub(crate) fn push_hash(&mut self, mut hash: Hash) {
        // Each trailing one of the size is a full subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves so far; that of no leaf is the hash of nothing.
    pub(crate) fn root(&self) -> Hash {
        joined(self.peaks.iter().copied())
    }
}

/// The hash of a leaf.
pub(crate) fn leaf_hash(leaf: &[u8]) -> Hash {
    // Of little data the calls cost more than the hashing: one call, where it fits.
    let mut bytes = [LEAF; 64];
    match bytes.get_mut(1..=leaf.len()) {
        Some(place) => {
            place.copy_from_slice(leaf);
            sha256(&[&bytes[..=leaf.len()]])
        }
        None => sha256(&[&[LEAF], leaf]),
    }
}

/// The hash of a node over two subtrees.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [NODE; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&[&bytes])
}

/// The root over full subtrees that stand side by side, greatest first.
pub(crate) fn joined(peaks: impl DoubleEndedIterator<Item = Hash>) -> Hash {
    let mut peaks = peaks.rev();
    let Some(last) = peaks.next() else { return sha256(&[]) };
    peaks.fold(last, |right, left| node_hash(&left, &right))
}

/// The root that follows when the leaf at `index` of a tree of `size` has this hash and this path
/// (RFC 9162, section 2.1.3.2), `None` when the path has another length than it must have.
pub(crate) fn root_of_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut root = leaf;
    for hash in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(hash, &root);
            // A right edge without a sibling is passed up as it is.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// Whether the tree of `old` leaves is the beginning of the tree of `new` leaves (RFC 9162, section
/// 2.1.4.2).
pub(crate) fn is_consistent(old: (u64, Hash), new: (u64, Hash), path: &[Hash]) -> bool {
    if old.0 > new.0 {
        return false;
    }
    if old.0 == new.0 {
        return path.is_empty() && old.1 == new.1;
    }
    if old.0 == 0 {
        return path.is_empty() && old.1 == sha256(&[]);
    }
    let (mut node, mut last) = (old.0 - 1, new.0 - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // Where the old tree is one full subtree, its root is where the path begins.
    let mut path = path.iter();
    let begin = if old.0.is_power_of_two() { Some(old.1) } else { path.next().copied() };
    let Some(begin) = begin else { return false };
    let (mut first, mut second) = (begin, begin);
    for hash in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            first = node_hash(hash, &first);
            second = node_hash(hash, &second);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            second = node_hash(&second, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && first == old.1 && second == new.1
}

/// The SHA-256 of parts one after another.
pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hash = [0; 32];
    if let [whole] = parts {
        hash.copy_from_slice(digest::digest(&digest::SHA256, whole).as_ref());
        return hash;
    }
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
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
