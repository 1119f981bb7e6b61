//! Which parts of the tree a proof is made of, without I/O.

/// Leaves from and up to.
pub(crate) type Leaves = (u64, u64);

/// The subtrees whose roots are the path of a leaf in a tree of `size`, from the leaf up (RFC 6962,
/// section 2.1.1).
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Vec<Leaves> {
    let mut ranges = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 && index < size {
        let middle = from + split(to - from);
        if index < middle {
            ranges.push((middle, to));
            to = middle;
        } else {
            ranges.push((from, middle));
            from = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The subtrees whose roots prove that the tree of `old` leaves begins the tree of `new` (RFC 6962,
/// section 2.1.2).
pub(crate) fn consistency_ranges(old: u64, new: u64) -> Vec<Leaves> {
    let mut ranges = Vec::new();
    if old == 0 || old >= new {
        return ranges;
    }
    let (mut from, mut to) = (0, new);
    while old < to {
        let middle = from + split(to - from);
        if old <= middle {
            ranges.push((middle, to));
            to = middle;
        } else {
            ranges.push((from, middle));
            from = middle;
        }
    }
    // The old tree itself is known to who asks.
    if from > 0 {
        ranges.push((from, to));
    }
    ranges.reverse();
    ranges
}

/// The full subtrees of a range that begins where one can, greatest first: height, and number
/// among those of its height.
pub(crate) fn full_subtrees((mut from, to): Leaves) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    while from < to {
        let height = (to - from).ilog2().min(if from == 0 { 63 } else { from.trailing_zeros() });
        found.push((height, from >> height));
        from += 1 << height;
    }
    found
}

/// The greatest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Hash, Tree, is_consistent, leaf_hash, root_of_path};

    fn root((from, to): Leaves) -> Hash {
        let mut tree = Tree::default();
        (from..to).for_each(|n| tree.push(&n.to_be_bytes()));
        tree.root()
    }

    #[test]
    fn every_path_leads_to_the_root_and_to_no_other() {
        for size in 1..70 {
            for index in 0..size {
                let path: Vec<_> = inclusion_ranges(index, size).into_iter().map(root).collect();
                let leaf = leaf_hash(&index.to_be_bytes());
                assert_eq!(root_of_path(leaf, index, size, &path), Some(root((0, size))));
                assert_ne!(
                    root_of_path(leaf, (index + 1) % (size + 1), size, &path),
                    Some(root((0, size)))
                );
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(root_of_path(leaf, index, size, shorter), None);
                }
                let longer = [path.as_slice(), &[leaf]].concat();
                assert_eq!(root_of_path(leaf, index, size, &longer), None);
            }
        }
    }

    #[test]
    fn every_tree_begins_every_later_one_and_no_other() {
        for new in 0..70 {
            for old in 0..=new {
                let path: Vec<_> = consistency_ranges(old, new).into_iter().map(root).collect();
                let (begin, end) = ((old, root((0, old))), (new, root((0, new))));
                assert!(is_consistent(begin, end, &path), "{old} in {new}");
                // There is but one tree without a leaf.
                let other = is_consistent((old, root((1, old + 1))), end, &path);
                assert!(!other || old == 0, "{old} in {new}");
                assert!(!is_consistent((new + 1, begin.1), end, &path));
                let longer = [path.as_slice(), &[end.1]].concat();
                assert!(!is_consistent(begin, end, &longer));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!is_consistent(begin, end, shorter), "{old} in {new}");
                    assert!(!is_consistent(begin, (new, root((1, new + 1))), &path));
                }
            }
        }
    }

    #[test]
    fn full_subtrees_cover_their_range() {
        assert_eq!(full_subtrees((0, 7)), [(2, 0), (1, 2), (0, 6)]);
        assert_eq!(full_subtrees((4, 8)), [(2, 1)]);
        assert_eq!(full_subtrees((6, 7)), [(0, 6)]);
        assert!(full_subtrees((3, 3)).is_empty());
    }
}
