//! The log as the archiver keeps it: after each manifest the tiles, then the checkpoint.

use crate::archive::Archive;
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::pack::split;
use crate::signing::PublicKey;
use crate::tlog::checkpoint::{Checkpoint, origin};
use crate::tlog::{Commitment, Tiling};

impl Archive {
    /// The edge of the tree after the last manifest, with every tile of it written.
    ///
    /// A run that broke off between a manifest and its tiles has left them to be written here: from
    /// the objects of the manifest, so that they are the same whoever writes them.
    pub(crate) async fn edge_at(&self, chain: &Chain) -> Result<Tiling> {
        let Some(last) = chain.manifests().last() else { return Ok(Tiling::default()) };
        let mut edge = self.edge().lock().await;
        if edge.0 == last.number && edge.1.size() == last.tree.size {
            return Ok(edge.1.clone());
        }
        let tiling = self.mended(chain).await?;
        *edge = (last.number, tiling.clone());
        drop(edge);
        self.mend_checkpoint(chain).await?;
        Ok(tiling)
    }

    async fn mended(&self, chain: &Chain) -> Result<Tiling> {
        let mut tiling = Tiling::default();
        let mut behind = Vec::new();
        for manifest in chain.manifests().iter().rev() {
            if let Some(found) = self.log().restored(&manifest.tree).await? {
                tiling = found;
                break;
            }
            behind.push(manifest);
        }
        for manifest in behind.into_iter().rev() {
            tracing::info!(manifest = manifest.number, "the tiles of a manifest are written again");
            self.push_all(&mut tiling, manifest).await?;
            self.write_tiles(&mut tiling).await?;
        }
        Ok(tiling)
    }

    /// Adds the entries of a manifest from its objects; of an object that has expired, from the
    /// bundles that were written while it was there.
    async fn push_all(&self, tiling: &mut Tiling, manifest: &Manifest) -> Result<()> {
        for object in &manifest.objects {
            let lines = match self.lines(object).await? {
                Ok(lines) => lines,
                Err(fault) => {
                    let range = (tiling.size(), tiling.size() + object.entries);
                    let kept = self.log().commitments(range, manifest.tree.size).await?;
                    let kept = kept.map_err(|_| {
                        Error::corrupt(format_args!("the tiles cannot be written again: {fault}"))
                    })?;
                    kept.into_iter().for_each(|entry| tiling.push(entry));
                    continue;
                }
            };
            split(&lines).for_each(|line| tiling.push(Commitment::of(object.category, line)));
        }
        if tiling.head() == manifest.tree {
            return Ok(());
        }
        Err(Error::corrupt(format_args!(
            "the tree of manifest {} is not the one over its entries",
            manifest.number
        )))
    }

    /// Writes what became full, then the edge. Who finds the edge of a size finds all of its tiles.
    pub(crate) async fn write_tiles(&self, tiling: &mut Tiling) -> Result<()> {
        self.log().write(tiling.take_full()).await?;
        self.log().write(tiling.edge()).await
    }

    /// Signs and writes the checkpoint after the last manifest.
    pub(crate) async fn write_checkpoint(&self, chain: &Chain) -> Result<()> {
        let (Some(first), Some(active)) = (chain.keys().first(), chain.active_key()) else {
            return Ok(());
        };
        let key = self.checkpoint_key(chain, active);
        let checkpoint = Checkpoint::sign(&origin(first), &chain.tree(), &key, self.signer())?;
        self.log().write_checkpoint(&checkpoint).await
    }

    /// The key that signs a checkpoint: the one that signs the next manifest, or, in a process that
    /// does not have it, the newest of the chain's that it has.
    fn checkpoint_key(&self, chain: &Chain, active: PublicKey) -> PublicKey {
        let mut known = chain.keys().iter().rev();
        known.find(|key| self.signer().holds(&key.id())).copied().unwrap_or(active)
    }

    /// Writes the checkpoint again when the one in the bucket is another than the chain's last.
    pub(crate) async fn mend_checkpoint(&self, chain: &Chain) -> Result<()> {
        if chain.head().is_none() {
            return Ok(());
        }
        match self.log().checkpoint().await? {
            Some(Ok(found)) if found.tree() == chain.tree() => Ok(()),
            // Another archiver has gone on since the chain was read.
            Some(Ok(found))
                if found.size() > chain.tree().size
                    && chain.keys().iter().any(|key| found.is_signed_by(key)) =>
            {
                Ok(())
            }
            _ => self.write_checkpoint(chain).await,
        }
    }

    /// Notes that the tiles after a manifest are written.
    pub(crate) async fn keep_edge(&self, number: u64, tiling: Tiling) {
        *self.edge().lock().await = (number, tiling);
    }
}
