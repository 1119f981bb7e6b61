//! Tiles and checkpoint in the bucket.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use watchdog_storage::objects::Objects;

use crate::error::{Error, ErrorKind, Result, storage};
use crate::manifest::TreeHead;
use crate::merkle::{Hash, joined};
use crate::tlog::checkpoint::{Checkpoint, MAX_CHECKPOINT_BYTES};
use crate::tlog::range::{Leaves, full_subtrees};
use crate::tlog::tile::{Bundle, Tile};
use crate::tlog::tiling::{Piece, Tiling, edge};
use crate::tlog::{COMMITMENT_BYTES, Commitment, TILE_WIDTH};

const PREFIX: &str = "audit/v1/log/";
const CHECKPOINT: &str = "audit/v1/log/checkpoint";
/// Longest piece that is read: a full bundle.
const MAX_PIECE_BYTES: u64 = TILE_WIDTH * (COMMITMENT_BYTES as u64 + 2);
/// Pieces that are read or written at once.
const AT_ONCE: usize = 16;

/// The key of the checkpoint.
pub(crate) fn checkpoint_key() -> &'static str {
    CHECKPOINT
}

/// The key of a tile or bundle.
pub(crate) fn piece_key(path: &str) -> String {
    format!("{PREFIX}{path}")
}

/// The log below its prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log<'a> {
    bucket: &'a Objects,
}

impl<'a> Log<'a> {
    pub(crate) fn new(bucket: &'a Objects) -> Self {
        Self { bucket }
    }

    /// Writes pieces, reads each back and compares.
    ///
    /// Whatever stood under their names is replaced: what a piece holds follows from the manifests.
    pub(crate) async fn write(&self, pieces: Vec<Piece>) -> Result<()> {
        let writes = pieces.into_iter().map(|(path, content)| self.write_one(path, content));
        stream::iter(writes).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn write_one(&self, path: String, content: Vec<u8>) -> Result<()> {
        self.put(&piece_key(&path), content.into()).await
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<()> {
        let context = storage("a tile or the checkpoint of the audit log was not written");
        self.bucket.put(key, content.clone()).await.map_err(context)?;
        match self.read(key, content.len() as u64).await? {
            Some(stored) if stored == content => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                format_args!("the bucket does not hold {key} as it acknowledged it"),
            )),
        }
    }

    /// Writes the checkpoint: from now on the tree has at least so many entries.
    pub(crate) async fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        let context = storage("the checkpoint of the audit log was not written");
        // Another archiver may write a later one at any time: what is read back may be that.
        self.bucket.put(CHECKPOINT, checkpoint.to_string().into()).await.map_err(context)?;
        match self.checkpoint().await? {
            Some(Ok(stored)) if stored.size() >= checkpoint.size() => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Unavailable,
                "the bucket does not hold the checkpoint it acknowledged",
            )),
        }
    }

    /// The checkpoint, `None` when there is none; its signature is not checked yet.
    pub(crate) async fn checkpoint(&self) -> Result<Option<Result<Checkpoint>>> {
        let Some(bytes) = self.read(CHECKPOINT, MAX_CHECKPOINT_BYTES).await? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        Ok(Some(text.parse()))
    }

    /// The edge of a tree, `None` when its tiles are not there or are of another tree.
    pub(crate) async fn restored(&self, tree: &TreeHead) -> Result<Option<Tiling>> {
        self.edge_within(tree, tree.size).await.map(Result::ok)
    }

    /// The edge of a tree from the tiles of the same tree at a later `size`: where there is a wider
    /// tile, its beginning.
    pub(crate) async fn edge_within(
        &self,
        tree: &TreeHead,
        size: u64,
    ) -> Result<Result<Tiling, Absent>> {
        let (bundle, tiles) = edge(tree.size);
        let mut first = None;
        let mut found = Vec::with_capacity(tiles.len() + 1);
        let entries = bundle.iter().map(|bundle| (bundle.within(size).path(), bundle.bytes()));
        let hashes = tiles.iter().map(|tile| (tile.within(size).path(), tile.bytes()));
        for (path, length) in entries.chain(hashes) {
            let Some(bytes) = self.piece(&path).await? else {
                return Ok(Err(Absent::missing(path)));
            };
            let Some(begin) = bytes.get(..length) else {
                return Ok(Err(Absent { path, is_altered: true }));
            };
            found.push(begin.to_vec());
            first.get_or_insert(path);
        }
        let bundle = bundle.map(|_| found.remove(0));
        let tiling = Tiling::from_edge(tree.size, bundle.as_deref(), &found);
        let path = first.unwrap_or_default();
        Ok(tiling.filter(|edge| edge.head() == *tree).ok_or(Absent { path, is_altered: true }))
    }

    /// A tile or bundle, `None` when it is not there.
    pub(crate) async fn piece(&self, path: &str) -> Result<Option<Bytes>> {
        self.read(&piece_key(path), MAX_PIECE_BYTES).await
    }

    /// What stands for some entries in a tree of `size`, by its bundles; the error side names the
    /// bundle that is not there or not one.
    pub(crate) async fn commitments(
        &self,
        (from, to): Leaves,
        size: u64,
    ) -> Result<Result<Vec<Commitment>, Absent>> {
        let mut found = Vec::new();
        let mut next = from;
        while next < to {
            let Some(bundle) = Bundle::holding(next, size) else {
                return Ok(Err(Absent::missing(
                    Bundle { number: next / TILE_WIDTH, width: 256 }.path(),
                )));
            };
            let Some(bytes) = self.piece(&bundle.path()).await? else {
                return Ok(Err(Absent::missing(bundle.path())));
            };
            let Some(entries) = bundle.decode(&bytes) else {
                return Ok(Err(Absent { path: bundle.path(), is_altered: true }));
            };
            let begin = bundle.number * TILE_WIDTH;
            let end = to.min(begin + TILE_WIDTH);
            let span = usize::try_from(next - begin).ok().zip(usize::try_from(end - begin).ok());
            found.extend(span.and_then(|(a, b)| entries.get(a..b)).unwrap_or_default());
            next = end;
        }
        Ok(Ok(found))
    }

    /// The roots of some ranges of leaves of a tree of `size`, from its tiles.
    pub(crate) async fn roots(
        &self,
        ranges: &[Leaves],
        size: u64,
    ) -> Result<Result<Vec<Hash>, Absent>> {
        let mut read: HashMap<Tile, Bytes> = HashMap::new();
        let mut roots = Vec::with_capacity(ranges.len());
        for range in ranges {
            let mut peaks = Vec::new();
            for (height, index) in full_subtrees(*range) {
                let Some((tile, span)) = Tile::holding(height, index, size) else {
                    return Err(Error::corrupt("a proof needs more of the tree than there is"));
                };
                if let Entry::Vacant(place) = read.entry(tile) {
                    let Some(bytes) = self.piece(&place.key().path()).await? else {
                        return Ok(Err(Absent::missing(place.key().path())));
                    };
                    place.insert(bytes);
                }
                match read.get(&tile).and_then(|bytes| span.root(bytes)) {
                    Some(root) => peaks.push(root),
                    None => return Ok(Err(Absent { path: tile.path(), is_altered: true })),
                }
            }
            roots.push(joined(peaks.into_iter()));
        }
        Ok(Ok(roots))
    }

    async fn read(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        let bucket = self.bucket.clone().with_max_size(limit);
        match bucket.get(key).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == watchdog_storage::ErrorKind::NotFound => Ok(None),
            // Larger than any of ours: it is not what was written.
            Err(error) if error.kind() == watchdog_storage::ErrorKind::Precondition => {
                Ok(Some(Bytes::new()))
            }
            Err(error) => Err(storage("the bucket did not give a part of the log")(error)),
        }
    }
}

/// A piece of the log that is not there, or is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) path: String,
    pub(crate) is_altered: bool,
}

impl Absent {
    fn missing(path: String) -> Self {
        Self { path, is_altered: false }
    }
}
