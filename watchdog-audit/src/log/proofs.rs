//! Checkpoints and proofs out of a log.

use std::sync::Arc;

use crate::archive::Archive;
use crate::chain::{Chain, FaultKind};
use crate::entry::Line;
use crate::error::{Error, Result};
use crate::log::AuditLog;
use crate::manifest::{ArchivedObject, Manifest};
use crate::pack::split;
use crate::proof::{ConsistencyProof, EntryName, InclusionProof};
use crate::signing::PublicKey;
use crate::tlog::{Checkpoint, consistency_ranges, inclusion_ranges};

/// How far the time in an entry's id may be from when it occurred, in milliseconds: an hour.
const NEAR_MILLIS: i64 = 3_600_000;

impl AuditLog {
    /// The newest checkpoint: the signed state of the tree over all archived entries. `None` before
    /// the first entry is archived.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when what stands in the
    /// bucket is not a checkpoint of this log, else as of the bucket.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let archive = self.archiver()?.archive();
        // In this order the chain has what the checkpoint states.
        let Some(checkpoint) = archive.log().checkpoint().await? else { return Ok(None) };
        let chain = archive.refreshed().await?;
        let refused = || Error::corrupt("the bucket holds something else than a checkpoint");
        let checkpoint = checkpoint.map_err(|_| refused())?;
        let mut heads = chain.manifests().iter().rev();
        let is_known = heads.any(|manifest| manifest.tree == checkpoint.tree());
        if is_known && chain.keys().iter().any(|key| checkpoint.is_signed_by(key)) {
            return Ok(Some(checkpoint));
        }
        Err(refused())
    }

    /// The public keys that signed the archive, in the order they came: the first is the one to hand
    /// to verifiers, each vouches for the next, and the last signs what follows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, else as of the bucket.
    pub async fn signing_keys(&self) -> Result<Vec<PublicKey>> {
        Ok(self.archiver()?.archive().refreshed().await?.keys().to_vec())
    }

    /// Proves that an entry is in the log; `None` when it is not archived, or no more.
    ///
    /// By writer and number, as in the entry's receipt, it reads the objects of one manifest; by id
    /// objects are read until it is found.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when an object or a tile is
    /// not what was archived, else as of the bucket.
    pub async fn prove(
        &self,
        entry: impl Into<EntryName> + Send,
    ) -> Result<Option<InclusionProof>> {
        let entry = entry.into();
        let Some(checkpoint) = self.checkpoint().await? else { return Ok(None) };
        let archive = self.archiver()?.archive();
        let chain = archive.refreshed().await?;
        for (first, object) in candidates(&chain, &entry) {
            let Some((line, offset)) = find(archive, object, &entry).await? else { continue };
            let index = first + offset;
            if index >= checkpoint.size() {
                return Ok(None);
            }
            let ranges = inclusion_ranges(index, checkpoint.size());
            let path = archive.log().roots(&ranges, checkpoint.size()).await?;
            let path = path.map_err(|absent| {
                Error::corrupt(format_args!("{} is not what the tree holds", absent.path))
            })?;
            // A tile is taken as it is: what it adds up to tells whether it was altered.
            let proof = InclusionProof::new(line, index, path, checkpoint);
            return proof.check_path().map(|()| Some(proof));
        }
        Ok(None)
    }

    /// Proves that the log of today begins with the log of an earlier checkpoint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the log is shorter than
    /// the checkpoint, has none or had another tree, or a tile is not there or was altered, else as
    /// of the bucket.
    pub async fn prove_since(&self, old: &Checkpoint) -> Result<ConsistencyProof> {
        let new = self.checkpoint().await?;
        let new = new.filter(|new| new.size() >= old.size()).ok_or_else(|| {
            Error::corrupt("the log is shorter than it was at the earlier checkpoint")
        })?;
        let ranges = consistency_ranges(old.size(), new.size());
        let path = self.archiver()?.archive().log().roots(&ranges, new.size()).await?;
        let path = path.map_err(|absent| {
            Error::corrupt(format_args!("{} is not what the tree holds", absent.path))
        })?;
        let proof = ConsistencyProof::new(old.clone(), new, path);
        proof.check_path().map(|()| proof)
    }
}

/// The objects that may hold an entry, with the place of their first one in the log; the most
/// promising first.
fn candidates<'a>(chain: &'a Chain, entry: &EntryName) -> Vec<(u64, &'a ArchivedObject)> {
    let may_hold = |manifest: &&Arc<Manifest>| match entry {
        EntryName::Id(_) => true,
        EntryName::Place { writer, sequence } => manifest
            .writers
            .get(writer)
            .is_some_and(|range| (range.first..=range.last).contains(sequence)),
    };
    let mut found = Vec::new();
    for manifest in chain.manifests().iter().filter(may_hold) {
        let mut first = manifest.tree.size - manifest.entries;
        for object in &manifest.objects {
            found.push((first, object));
            first += object.entries;
        }
    }
    if let EntryName::Id(id) = entry {
        let made = id.get_timestamp().and_then(|made| {
            let (seconds, nanos) = made.to_unix();
            i64::try_from(seconds)
                .ok()?
                .checked_mul(1000)?
                .checked_add(i64::from(nanos / 1_000_000))
        });
        found.sort_by_key(|(_, object)| {
            let is_near = made.is_some_and(|made| {
                object.occurred.from.as_millisecond() - NEAR_MILLIS <= made
                    && made <= object.occurred.to.as_millisecond() + NEAR_MILLIS
            });
            !is_near
        });
    }
    found
}

/// The line of an entry and its place in an object, when it is there.
async fn find(
    archive: &Archive,
    object: &ArchivedObject,
    entry: &EntryName,
) -> Result<Option<(Vec<u8>, u64)>> {
    let lines = match archive.lines(object).await? {
        Ok(lines) => lines,
        // It has expired, with the entry if it was in it.
        Err(fault) if fault.kind == FaultKind::MissingObject => return Ok(None),
        Err(fault) => return Err(Error::corrupt(fault)),
    };
    for (offset, bytes) in (0..).zip(split(&lines)) {
        if entry.is(&Line::decode(bytes)?) {
            return Ok(Some((bytes.to_vec(), offset)));
        }
    }
    Ok(None)
}
