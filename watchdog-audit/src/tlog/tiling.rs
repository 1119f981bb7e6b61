//! The right edge of the tree: takes entries in order and makes the tiles, without I/O.

use crate::manifest::TreeHead;
use crate::merkle::{Hash, joined};
use crate::tlog::tile::{Bundle, Tile, peaks, tile_root};
use crate::tlog::{Commitment, TILE_WIDTH};

/// An object of the log: its name below the log's prefix, and its bytes.
pub(crate) type Piece = (String, Vec<u8>);

/// The edge of the tree: of each level at most one tile that is not full, 8 KiB.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tiling {
    size: u64,
    /// The entries of the last bundle, while it is not full.
    entries: Vec<Commitment>,
    /// The hashes of the last tile of each level, while it is not full.
    levels: Vec<Vec<Hash>>,
    /// Tiles and bundles that became full and were not taken yet.
    full: Vec<Piece>,
}

impl Tiling {
    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: Commitment) {
        let width = u16::try_from(TILE_WIDTH).unwrap_or(256);
        let number = self.size / TILE_WIDTH;
        self.size += 1;
        self.entries.push(entry);
        if self.entries.len() == usize::from(width) {
            let name = Bundle { number, width }.path();
            self.full.push((name, Bundle::encode(&self.entries)));
            self.entries.clear();
        }
        let mut hash = entry.hash();
        let mut number = number;
        for level in 0.. {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(usize::from(level)) else { return };
            hashes.push(hash);
            if hashes.len() < usize::from(width) {
                return;
            }
            self.full.push((Tile { level, number, width }.path(), hashes.concat()));
            hash = tile_root(hashes);
            hashes.clear();
            number /= TILE_WIDTH;
        }
    }

    /// How many entries there are, and the root over them.
    pub(crate) fn head(&self) -> TreeHead {
        let peaks = self.levels.iter().rev().flat_map(|hashes| peaks(hashes));
        let peaks: Vec<_> = peaks.collect();
        TreeHead::new(self.size, &joined(peaks.into_iter()))
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the full tiles and bundles that were made since the last time.
    pub(crate) fn take_full(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.full)
    }

    /// The tiles and the bundle of the edge, as long as they are not full.
    pub(crate) fn edge(&self) -> Vec<Piece> {
        let names = edge(self.size);
        let bundle = names.0.map(|bundle| (bundle.path(), Bundle::encode(&self.entries)));
        let tiles = names.1.into_iter().filter_map(|tile| {
            let hashes = self.levels.get(usize::from(tile.level))?;
            Some((tile.path(), hashes.concat()))
        });
        bundle.into_iter().chain(tiles).collect()
    }

    /// The edge of a tree of `size` from its bytes, in the order [`edge`] names them. `None` when
    /// they are not of the right length.
    pub(crate) fn from_edge(size: u64, bundle: Option<&[u8]>, tiles: &[Vec<u8>]) -> Option<Self> {
        let (named, levels) = edge(size);
        let entries = match (named, bundle) {
            (Some(named), Some(bytes)) => named.decode(bytes)?,
            (None, None) => Vec::new(),
            _ => return None,
        };
        let top = levels.last().map_or(0, |tile| usize::from(tile.level) + 1);
        let mut edge = Self { size, entries, levels: vec![Vec::new(); top], full: Vec::new() };
        if tiles.len() != levels.len() {
            return None;
        }
        for (tile, bytes) in levels.iter().zip(tiles) {
            let (hashes, rest) = bytes.as_chunks::<32>();
            if !rest.is_empty() || hashes.len() != usize::from(tile.width) {
                return None;
            }
            *edge.levels.get_mut(usize::from(tile.level))? = hashes.to_vec();
        }
        // The entries of the edge are those its lowest tile stands for.
        let lowest = edge.levels.first().map_or(&[][..], Vec::as_slice);
        let is_one = edge.entries.iter().map(Commitment::hash).eq(lowest.iter().copied());
        is_one.then_some(edge)
    }
}

/// What is not full at the edge of a tree of `size`: the bundle, and the tiles from the lowest
/// level up.
pub(crate) fn edge(size: u64) -> (Option<Bundle>, Vec<Tile>) {
    let width = |count: u64| u16::try_from(count % TILE_WIDTH).unwrap_or(0);
    let bundle = Bundle { number: size / TILE_WIDTH, width: width(size) };
    let mut tiles = Vec::new();
    let mut count = size;
    for level in 0..8 {
        let tile = Tile { level, number: count / TILE_WIDTH, width: width(count) };
        if tile.width > 0 {
            tiles.push(tile);
        }
        count /= TILE_WIDTH;
    }
    ((bundle.width > 0).then_some(bundle), tiles)
}

#[cfg(test)]
mod tests {
    use watchdog_core::audit::Category;

    use super::*;
    use crate::merkle::Tree;

    fn entry(n: u64) -> Commitment {
        Commitment::of(Category::Access, &n.to_be_bytes())
    }

    /// Across the first borders of every level that a test can reach.
    #[test]
    fn roots_are_those_of_the_tree_and_the_edge_reads_back_at_every_size() {
        let (mut tiling, mut tree) = (Tiling::default(), Tree::default());
        for n in 0..70_000 {
            assert!(n > 0 || tiling.edge().is_empty());
            tiling.push(entry(n));
            tree.push_hash(entry(n).hash());
            if n % 997 != 0 && !(n + 2).is_multiple_of(256) && !(n + 1).is_multiple_of(256) {
                continue;
            }
            let head = tiling.head();
            assert_eq!(head, TreeHead::new(n + 1, &tree.root()));
            let edge = tiling.edge();
            assert!(!edge.is_empty(), "something tells that the tiles of size {} are there", n + 1);
            let is_bundle = |piece: &&Piece| piece.0.contains("entries");
            let bundle = edge.iter().find(is_bundle).map(|piece| piece.1.as_slice());
            let tiles: Vec<_> = edge
                .iter()
                .filter(|piece| !is_bundle(piece))
                .map(|piece| piece.1.clone())
                .collect();
            let again = Tiling::from_edge(n + 1, bundle, &tiles).unwrap();
            assert_eq!((again.head(), again.edge()), (head, edge));
        }
        let full = tiling.take_full();
        assert_eq!(full.len(), 2 * 273 + 1, "bundles and tiles of level 0, one of level 1");
        assert!(tiling.take_full().is_empty());
    }

    #[test]
    fn an_edge_that_is_not_one_is_refused() {
        let mut tiling = Tiling::default();
        (0..300).for_each(|n| tiling.push(entry(n)));
        let edge = tiling.edge();
        let (bundle, tiles) = (&edge[0].1, [edge[1].1.clone(), edge[2].1.clone()]);
        assert!(Tiling::from_edge(300, Some(bundle), &tiles).is_some());
        assert!(Tiling::from_edge(299, Some(bundle), &tiles).is_none());
        assert!(Tiling::from_edge(300, None, &tiles).is_none());
        assert!(Tiling::from_edge(300, Some(bundle), &tiles[..1]).is_none());
        let mut other = bundle.clone();
        other[40] ^= 1;
        assert!(Tiling::from_edge(300, Some(&other), &tiles).is_none());
    }
}
