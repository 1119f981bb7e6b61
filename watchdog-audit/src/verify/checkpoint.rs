//! The checkpoint in the bucket, and one that was kept elsewhere.

use crate::archive::{Archive, manifest_key};
use crate::chain::{Fault, FaultKind, Links};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Manifest, TreeHead};
use crate::signing::PublicKey;
use crate::tlog::{Checkpoint, checkpoint_key, origin};

/// A checkpoint that was read, and whether the chain had its tree.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) checkpoint: Checkpoint,
    is_in_chain: bool,
}

/// The checkpoints of one verification.
///
/// The first was read before the chain: the chain must hold its tree. The second was read after the
/// manifests were listed: it must reach the last but one, since each manifest is committed after the
/// checkpoint of the one before.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    first: Option<Result<Seen>>,
    second: Option<Result<Seen>>,
    since: Option<Seen>,
    /// The tree before the last manifest.
    before_last: Option<TreeHead>,
    /// The id of the key that signed the last manifest.
    last_key: Option<String>,
}

impl Checkpoints {
    pub(super) async fn read_first(archive: &Archive, since: Option<&Checkpoint>) -> Result<Self> {
        let since = since.map(|pinned| Seen { checkpoint: pinned.clone(), is_in_chain: false });
        Ok(Self { first: read(archive).await?, since, ..Self::default() })
    }

    pub(super) async fn read_second(&mut self, archive: &Archive) -> Result<()> {
        self.second = read(archive).await?;
        Ok(())
    }

    /// How many entries the tiles hold.
    pub(super) fn limit(&self) -> u64 {
        self.second().map_or(0, |seen| seen.checkpoint.size())
    }

    fn second(&self) -> Option<&Seen> {
        self.second.as_ref()?.as_ref().ok()
    }

    /// The newest checkpoint of the bucket that the chain was seen to hold. One that was read later
    /// than the chain may be anything.
    pub(super) fn current(&self) -> Option<&Checkpoint> {
        let read = [&self.second, &self.first].into_iter();
        let mut read = read.filter_map(|read| read.as_ref()?.as_ref().ok());
        read.find(|seen| seen.is_in_chain).map(|seen| &seen.checkpoint)
    }

    /// Its tree.
    pub(super) fn known_tree(&self) -> Option<TreeHead> {
        self.current().map(Checkpoint::tree)
    }

    /// Notes the tree after a manifest.
    pub(super) fn note(&mut self, manifest: &Manifest, before: &TreeHead) {
        self.before_last = Some(before.clone());
        self.last_key = Some(manifest.key.clone());
        let bucket = [self.first.as_mut(), self.second.as_mut()].into_iter().flatten();
        let bucket = bucket.filter_map(|seen| seen.as_mut().ok());
        for seen in bucket.chain(self.since.as_mut()) {
            let is_same = seen.checkpoint.size() == manifest.tree.size
                && seen.checkpoint.tree() == manifest.tree;
            seen.is_in_chain |= is_same;
        }
    }

    /// Whether the log holds what the checkpoint that was kept elsewhere says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when no key of the log has signed it.
    pub(super) fn since_fault(&self, archive: &Archive, links: &Links) -> Result<Option<Fault>> {
        let Some(seen) = &self.since else { return Ok(None) };
        let pinned = &seen.checkpoint;
        let is_ours = links.keys().iter().any(|key| pinned.is_signed_by(key))
            || archive.signer().accepts(pinned);
        if !is_ours {
            let context = "the checkpoint to verify against is not signed by a key of this log";
            return Err(Error::new(ErrorKind::Misuse, context));
        }
        if seen.is_in_chain && is_of(pinned, links) {
            return Ok(None);
        }
        let (held, size) = (links.tree().size, pinned.size());
        let detail = if held < size {
            format!("it held {size} entries and holds {held}")
        } else {
            format!("at {size} entries it had another tree")
        };
        Ok(Some(Fault::new(FaultKind::LogRolledBack, checkpoint_key(), detail)))
    }

    /// The checkpoint the checkpoint kept elsewhere leads on from.
    pub(super) fn since_tree(&self) -> Option<TreeHead> {
        self.since.as_ref().map(|seen| seen.checkpoint.tree())
    }

    /// Whether the log is signed with this key now, and not only said to be: who has the key before
    /// it can cut the log off where that one was replaced.
    pub(super) fn key_fault(&self, key: &PublicKey, links: &Links) -> Option<Fault> {
        let active = links.active_key();
        let has_signed = self.last_key.as_ref() == Some(&key.id())
            || self.current().is_some_and(|checkpoint| checkpoint.is_signed_by(key));
        let detail = match active {
            Some(active) if active == *key && has_signed => return None,
            Some(active) if active == *key => format!(
                "key {} is introduced and has signed nothing: the log was cut off here, or an \
                 archiver has broken off and the next one goes on",
                key.id()
            ),
            Some(active) => format!("key {} signs it, not {}", active.id(), key.id()),
            None => format!("key {} has signed nothing", key.id()),
        };
        let place = links
            .head()
            .map_or_else(|| checkpoint_key().to_owned(), |head| manifest_key(head.number));
        Some(Fault::new(FaultKind::UnknownKey, place, detail))
    }

    /// Whether the checkpoint in the bucket is what it has to be.
    pub(super) fn fault(&self, archive: &Archive, links: &Links) -> Option<Fault> {
        let fault = |kind, detail: &str| Some(Fault::new(kind, checkpoint_key(), detail));
        let due = self.before_last.as_ref().map_or(0, |tree| tree.size);
        for (read, is_last) in [(&self.first, false), (&self.second, true)] {
            let seen = match read {
                None if is_last && due > 0 => {
                    return fault(FaultKind::MissingCheckpoint, "it is not in the bucket");
                }
                None => continue,
                Some(Err(_)) => {
                    return fault(FaultKind::AlteredCheckpoint, "it is not a checkpoint");
                }
                Some(Ok(seen)) => seen,
            };
            let checkpoint = &seen.checkpoint;
            let size = checkpoint.size();
            // It was read before the manifests were listed.
            if !is_last && size > links.tree().size && archive.signer().accepts(checkpoint) {
                let place = manifest_key(links.next());
                let detail = format!("the checkpoint states {size} entries, the chain fewer");
                return Some(Fault::new(FaultKind::TruncatedChain, place, detail));
            }
            if !is_of(checkpoint, links) {
                return fault(FaultKind::AlteredCheckpoint, "it is of another log");
            }
            // One that was written while this runs may be signed by a key that came since.
            let is_later = is_last && size > links.tree().size;
            if !is_later && !links.keys().iter().any(|key| checkpoint.is_signed_by(key)) {
                return fault(FaultKind::AlteredCheckpoint, "no key of the log has signed it");
            }
            if !is_later && !seen.is_in_chain {
                return fault(FaultKind::AlteredCheckpoint, "the chain never had its tree");
            }
            if is_last && size < due {
                let detail = format!("it states {size} entries, {due} were in one before");
                return fault(FaultKind::CheckpointRolledBack, &detail);
            }
        }
        None
    }
}

fn is_of(checkpoint: &Checkpoint, links: &Links) -> bool {
    links.keys().first().is_some_and(|first| checkpoint.origin() == origin(first))
}

async fn read(archive: &Archive) -> Result<Option<Result<Seen>>> {
    let found = archive.log().checkpoint().await?;
    Ok(found.map(|read| read.map(|checkpoint| Seen { checkpoint, is_in_chain: false })))
}

#[cfg(test)]
mod tests {
    use watchdog_core::RootKeys;

    use super::*;
    use crate::signing::Signer;

    fn seen(size: u64, is_in_chain: bool) -> Option<Result<Seen>> {
        let signer = Signer::new(&RootKeys::ephemeral().unwrap(), &[]).unwrap();
        let key = signer.public_key();
        let tree = TreeHead::new(size, &[9; 32]);
        let checkpoint = Checkpoint::sign(&origin(&key), &tree, &key, &signer).unwrap();
        Some(Ok(Seen { checkpoint, is_in_chain }))
    }

    /// A bucket can answer differently each time it is asked.
    #[test]
    fn a_checkpoint_that_the_chain_does_not_hold_is_not_one_to_keep() {
        let size = |first, second| {
            let checkpoints = Checkpoints { first, second, ..Checkpoints::default() };
            checkpoints.current().map(Checkpoint::size)
        };
        assert_eq!(size(seen(4, true), seen(8, true)), Some(8));
        assert_eq!(size(seen(4, true), seen(1 << 40, false)), Some(4));
        assert_eq!(size(None, seen(1 << 40, false)), None);
        assert_eq!(size(None, seen(4, true)), Some(4));
    }
}
