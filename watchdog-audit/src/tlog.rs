//! One RFC 6962 tree over all archived entries, kept as C2SP `tlog-tiles` with a signed checkpoint.
//!
//! The manifests decide what is in the tree and in which order; tiles and checkpoint follow from
//! them. So two archivers never write different bytes under the name of a tile, and what a run
//! that broke off has not written the next one writes.

mod checkpoint;
mod kept;
mod leaf;
mod range;
mod stored;
mod tile;
mod tiling;

pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::origin;
pub(crate) use leaf::{COMMITMENT_BYTES, Commitment};
pub(crate) use range::{consistency_ranges, inclusion_ranges};
pub(crate) use stored::{Absent, Log, checkpoint_key, piece_key};
pub(crate) use tile::Bundle;
pub(crate) use tiling::Tiling;

/// Hashes in a full tile, and entries in a full bundle.
pub(crate) const TILE_WIDTH: u64 = 256;
