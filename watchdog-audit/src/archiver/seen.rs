//! What store and bucket have seen of the chain before: nobody goes on from less.
//!
//! Who went on from a chain that was cut off would write over what tells of the cut: the last
//! manifest that the gate has seen, and the checkpoint.

use super::Archiver;
use crate::archive::manifest_key;
use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::segment::ManifestRef;
use crate::signing::Signer;
use crate::tlog::Checkpoint;

/// How whoever operates the log goes on.
const MEND: &str = "bring back what was removed, from the old versions of the bucket's objects or a \
                    copy of it; a chain that cannot be brought back ends here, and the log goes on \
                    with another bucket and another store";

/// The last manifests the partitions have seen, and the checkpoint.
#[derive(Debug)]
pub(super) struct Seen {
    heads: Vec<ManifestRef>,
    checkpoint: Option<Checkpoint>,
}

impl Archiver {
    /// To be read before the chain: a chain that was read later holds what was seen.
    pub(super) async fn seen(&self) -> Result<Seen> {
        let mut heads = Vec::new();
        for partition in 0..self.store.partitions() {
            heads.extend(self.store.partition(partition).await?.head);
        }
        // What stands there and is no checkpoint is written again.
        let checkpoint = self.archive.log().checkpoint().await?.and_then(Result::ok);
        Ok(Seen { heads, checkpoint })
    }
}

impl Seen {
    /// Refuses a chain that does not hold what was seen.
    pub(super) fn check(&self, chain: &Chain, signer: &Signer) -> Result<()> {
        for head in &self.heads {
            let key = manifest_key(head.number);
            let found = if chain.next() <= head.number {
                "the bucket has it no more"
            } else if chain.reference(head.number).as_ref() != Some(head) {
                "the bucket has another content of it"
            } else {
                continue;
            };
            return Err(Error::corrupt(format_args!(
                "the store has seen the manifest {key}, {found}: {MEND}"
            )));
        }
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        let is_ours = signer.accepts(checkpoint)
            || chain.keys().iter().any(|key| checkpoint.is_signed_by(key));
        let (stated, held) = (checkpoint.size(), chain.tree().size);
        if is_ours && stated > held {
            return Err(Error::corrupt(format_args!(
                "the checkpoint states {stated} entries, the manifests hold {held}: {MEND}"
            )));
        }
        Ok(())
    }
}
