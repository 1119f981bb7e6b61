//! The tree over all entries, made again from the objects and compared with manifests and tiles.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use watchdog_core::audit::Category;

use crate::archive::{Archive, manifest_key};
use crate::chain::{Fault, FaultKind};
use crate::error::Result;
use crate::manifest::{Manifest, TreeHead};
use crate::merkle::is_consistent;
use crate::tlog::{Absent, Commitment, Tiling, consistency_ranges, piece_key};
use crate::verify::AT_ONCE;

/// The tree as far as it was made again.
#[derive(Debug)]
pub(super) struct TreeCheck<'a> {
    archive: &'a Archive,
    /// As far as the checkpoint goes there are tiles.
    limit: u64,
    /// `None` outside of the time that is asked for.
    tiling: Option<Tiling>,
    /// The end of each part that was made again.
    pub(super) ends: Vec<TreeHead>,
    /// Tiles and bundles that were compared.
    pub(super) compared: u64,
    /// The first tile that is not what it has to be.
    pub(super) fault: Option<Fault>,
}

/// The leaves of one object.
#[derive(Debug)]
pub(super) enum Leaves {
    /// From its lines.
    Known(Vec<Commitment>),
    /// It was not read: so many of a category, from the bundles.
    Kept(u64, Category),
}

impl<'a> TreeCheck<'a> {
    pub(super) fn new(archive: &'a Archive, limit: u64) -> Self {
        let tiling = Some(Tiling::default());
        Self { archive, limit, tiling, ends: Vec::new(), compared: 0, fault: None }
    }

    /// Whether the tiles hold the entries of a manifest.
    pub(super) fn reaches(&self, manifest: &Manifest) -> bool {
        manifest.tree.size <= self.limit
    }

    /// Goes past a manifest that is not asked for.
    pub(super) fn skip(&mut self) {
        if let Some(tiling) = self.tiling.take().filter(|tiling| tiling.size() > 0) {
            self.ends.push(tiling.head());
        }
    }

    /// Adds the entries of a manifest that comes after the tree `before`.
    pub(super) async fn add(
        &mut self,
        manifest: &Manifest,
        before: &TreeHead,
        leaves: Vec<Leaves>,
    ) -> Result<Result<(), Fault>> {
        let mut tiling = match self.tiling.take() {
            Some(tiling) => tiling,
            None => match self.archive.log().edge_within(before, self.limit).await? {
                Ok(tiling) => tiling,
                Err(absent) => return Ok(Err(absent.fault())),
            },
        };
        let (mut kept, mut is_foreign) = (None, false);
        for leaves in leaves {
            let entries = match leaves {
                Leaves::Known(entries) => entries,
                Leaves::Kept(count, category) => {
                    let range = (tiling.size(), tiling.size() + count);
                    // Where the checkpoint does not reach there are the tiles of the manifest.
                    let size = self.limit.max(manifest.tree.size);
                    match self.archive.log().commitments(range, size).await? {
                        Ok(found) => {
                            kept.get_or_insert(range.0);
                            is_foreign |= found.iter().any(|entry| !entry.is_of(category));
                            found
                        }
                        Err(absent) => return Ok(Err(absent.fault())),
                    }
                }
            };
            entries.into_iter().for_each(|entry| tiling.push(entry));
        }
        if tiling.head() != manifest.tree {
            return Ok(Err(self.difference(manifest, kept)));
        }
        if is_foreign {
            let (key, detail) = (
                manifest_key(manifest.number),
                "an object that is not there held entries of another category than it says",
            );
            return Ok(Err(Fault::new(FaultKind::AlteredManifest, key, detail)));
        }
        let mut pieces = tiling.take_full();
        if manifest.tree.size == self.limit {
            pieces.extend(tiling.edge());
        }
        if self.reaches(manifest) && self.fault.is_none() {
            self.fault = self.compare(pieces).await?;
        }
        self.tiling = Some(tiling);
        Ok(Ok(()))
    }

    /// Who is to blame when the root is another: what was read from a bundle has no other witness.
    fn difference(&self, manifest: &Manifest, kept: Option<u64>) -> Fault {
        let bundle = kept.and_then(|index| {
            crate::tlog::Bundle::holding(index, self.limit.max(manifest.tree.size))
        });
        match bundle {
            Some(bundle) => Absent { path: bundle.path(), is_altered: true }.fault(),
            None => Fault::new(
                FaultKind::WrongTree,
                manifest_key(manifest.number),
                "the tree it states is not the one over its entries and those before",
            ),
        }
    }

    async fn compare(&mut self, pieces: Vec<(String, Vec<u8>)>) -> Result<Option<Fault>> {
        self.compared += pieces.len() as u64;
        let log = self.archive.log();
        let reads = pieces.into_iter().map(|(path, wanted)| async move {
            let found = log.piece(&path).await?;
            let fault = match found {
                Some(found) if found == wanted => None,
                found => Some(Absent { path, is_altered: found.is_some() }.fault()),
            };
            Result::<_>::Ok(fault)
        });
        let found: Vec<Option<Fault>> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().next())
    }

    /// Checks that every part that was made again, and `others`, begin the tree of the checkpoint.
    pub(super) async fn begin(
        &mut self,
        others: Option<TreeHead>,
        checkpoint: &TreeHead,
    ) -> Result<Option<Fault>> {
        self.skip();
        for end in std::mem::take(&mut self.ends).into_iter().chain(others) {
            if end.size > checkpoint.size {
                continue;
            }
            let ranges = consistency_ranges(end.size, checkpoint.size);
            let path = match self.archive.log().roots(&ranges, checkpoint.size).await? {
                Ok(path) => path,
                Err(absent) => return Ok(Some(absent.fault())),
            };
            let (Some(old), Some(new)) = (end.hash(), checkpoint.hash()) else { continue };
            if !is_consistent((end.size, old), (checkpoint.size, new), &path) {
                let detail = format!(
                    "from the tree of {} entries no path leads to that of {}",
                    end.size, checkpoint.size
                );
                return Ok(Some(Fault::new(FaultKind::AlteredTile, piece_key("tile/"), detail)));
            }
        }
        Ok(None)
    }
}

impl Absent {
    fn fault(&self) -> Fault {
        let place = piece_key(&self.path);
        if self.is_altered {
            Fault::new(FaultKind::AlteredTile, place, "it does not hold what the tree does")
        } else {
            Fault::new(FaultKind::MissingTile, place, "it is not in the bucket")
        }
    }
}
