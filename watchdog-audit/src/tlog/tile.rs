//! Names and bytes of tiles and entry bundles (C2SP `tlog-tiles`).

use crate::merkle::{Hash, joined, node_hash};
use crate::tlog::{COMMITMENT_BYTES, Commitment, TILE_WIDTH};

/// A tile of hashes: level, number and how many hashes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tile {
    pub(crate) level: u8,
    pub(crate) number: u64,
    pub(crate) width: u16,
}

impl Tile {
    /// The tile with the root of the full subtree of 2^`height` leaves that begins at leaf
    /// `index` · 2^`height`, in a tree of `size`; and where in the tile that subtree stands.
    pub(crate) fn holding(height: u32, index: u64, size: u64) -> Option<(Self, Span)> {
        let level = height / 8;
        let inner = height % 8;
        // In hashes of the tile's own level.
        let first = index.checked_shl(inner)?;
        let count = size.checked_shr(level * 8).unwrap_or(0);
        let number = first / TILE_WIDTH;
        let width = count.checked_sub(number * TILE_WIDTH)?.min(TILE_WIDTH);
        let from = usize::try_from(first % TILE_WIDTH).ok()?;
        let span = Span { from, to: from + (1 << inner) };
        let tile =
            Self { level: u8::try_from(level).ok()?, number, width: u16::try_from(width).ok()? };
        (span.to <= usize::from(tile.width)).then_some((tile, span))
    }

    /// The name below the log's prefix.
    pub(crate) fn path(&self) -> String {
        format!("tile/{}/{}{}", self.level, digits(self.number), partial(self.width))
    }
}

impl Tile {
    /// The same tile in a larger tree.
    pub(crate) fn within(&self, size: u64) -> Self {
        let count = size.checked_shr(u32::from(self.level) * 8).unwrap_or(0);
        Self { width: widened(self.number, count, self.width), ..*self }
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.width) * 32
    }
}

/// How many of `count` places tile `number` holds, at least `width`.
fn widened(number: u64, count: u64, width: u16) -> u16 {
    let held = count.saturating_sub(number.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH);
    u16::try_from(held).unwrap_or(width).max(width)
}

/// Hashes of a tile, from and up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    from: usize,
    to: usize,
}

impl Span {
    /// The root over the span, a power of two of hashes.
    pub(crate) fn root(self, tile: &[u8]) -> Option<Hash> {
        let bytes = tile.get(self.from * 32..self.to * 32)?;
        let mut hashes = bytes.as_chunks::<32>().0.to_vec();
        while hashes.len() > 1 {
            hashes = hashes.as_chunks::<2>().0.iter().map(|[a, b]| node_hash(a, b)).collect();
        }
        hashes.first().copied()
    }
}

/// A bundle of entries: number and how many it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Bundle {
    pub(crate) number: u64,
    pub(crate) width: u16,
}

impl Bundle {
    /// The bundle with an entry in a tree of `size`.
    pub(crate) fn holding(index: u64, size: u64) -> Option<Self> {
        let number = index / TILE_WIDTH;
        let width = size.checked_sub(number * TILE_WIDTH)?.min(TILE_WIDTH);
        (index < size).then(|| Self { number, width: u16::try_from(width).unwrap_or(256) })
    }

    /// The name below the log's prefix.
    pub(crate) fn path(&self) -> String {
        format!("tile/entries/{}{}", digits(self.number), partial(self.width))
    }

    /// The same bundle in a larger tree.
    pub(crate) fn within(&self, size: u64) -> Self {
        Self { width: widened(self.number, size, self.width), ..*self }
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.width) * (COMMITMENT_BYTES + 2)
    }

    /// The entries, each after its length in two bytes.
    pub(crate) fn encode(entries: &[Commitment]) -> Vec<u8> {
        let length = u16::try_from(COMMITMENT_BYTES).unwrap_or(0).to_be_bytes();
        let entries = entries.iter().map(Commitment::as_bytes);
        entries.flat_map(|bytes| length.iter().chain(bytes)).copied().collect()
    }

    /// The entries of a bundle, `None` when the bytes are not so many of ours.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<Vec<Commitment>> {
        let (entries, rest) = bytes.as_chunks::<{ COMMITMENT_BYTES + 2 }>();
        if !rest.is_empty() || entries.len() != usize::from(self.width) {
            return None;
        }
        let decode = |entry: &[u8; COMMITMENT_BYTES + 2]| {
            let (length, bytes) = entry.split_first_chunk::<2>()?;
            let is_ours = usize::from(u16::from_be_bytes(*length)) == COMMITMENT_BYTES;
            is_ours.then(|| bytes.try_into().ok().map(Commitment::from_bytes))?
        };
        entries.iter().map(decode).collect()
    }
}

/// A number in groups of three digits, all but the last with an `x` before them.
fn digits(number: u64) -> String {
    let mut text = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

fn partial(width: u16) -> String {
    if u64::from(width) == TILE_WIDTH { String::new() } else { format!(".p/{width}") }
}

/// The peaks of the full subtrees over some hashes of one level, greatest first.
pub(crate) fn peaks(hashes: &[Hash]) -> Vec<Hash> {
    let mut peaks = Vec::new();
    let mut rest = hashes;
    while !rest.is_empty() {
        let (full, next) = rest.split_at(1 << rest.len().ilog2());
        let mut row = full.to_vec();
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[a, b]| node_hash(a, b)).collect();
        }
        peaks.extend(row);
        rest = next;
    }
    peaks
}

/// The root of a full tile.
pub(crate) fn tile_root(hashes: &[Hash]) -> Hash {
    joined(peaks(hashes).into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchdog_core::audit::Category;

    #[test]
    fn names_are_those_of_the_specification() {
        let tile = |level, number, width| Tile { level, number, width }.path();
        assert_eq!(tile(0, 0, 256), "tile/0/000");
        assert_eq!(tile(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile(2, 5, 112), "tile/2/005.p/112");
        assert_eq!(Bundle { number: 1000, width: 8 }.path(), "tile/entries/x001/000.p/8");
    }

    #[test]
    fn a_bundle_reads_back_and_nothing_else_does() {
        let entries: Vec<_> =
            [b"a", b"b", b"c"].iter().map(|line| Commitment::of(Category::Access, *line)).collect();
        let bytes = Bundle::encode(&entries);
        assert_eq!(bytes.len(), 3 * 36);
        let bundle = Bundle { number: 0, width: 3 };
        assert_eq!(bundle.decode(&bytes).unwrap(), entries);
        assert_eq!(Bundle { number: 0, width: 2 }.decode(&bytes), None);
        assert_eq!(bundle.decode(&bytes[..107]), None);
        let mut other = bytes;
        other[37] = 35;
        assert_eq!(bundle.decode(&other), None);
    }
}
