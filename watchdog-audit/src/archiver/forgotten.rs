//! Writers that are gone: the store need not know how far they were.
//!
//! A store may forget a writer whose every entry the chain of manifests has. Should the writer come
//! back, or somebody with its spool, the store asks for its first entry; it is told then what is
//! archived, by [`SegmentStore::skip`](crate::SegmentStore::skip), and goes on after that. Until the
//! bucket answers it may take archived entries once more, which the archiver passes over.

use std::time::Duration;

use watchdog_core::Timestamp;

use crate::archiver::Archiver;
use crate::chain::Chain;
use crate::error::Result;
use crate::writer_id::WriterId;

/// How long a writer has had nothing archived before the store forgets it: seven days. One that is
/// merely silent costs a call more when it speaks again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 86_400);

impl Archiver {
    /// Has the store forget the writers of which the chain has had all for long; `looked` is the
    /// last manifest that was looked at, which is looked at once.
    pub(super) async fn forget_writers(&self, chain: &Chain, looked: &mut u64) -> Result<()> {
        let now = self.clock.now();
        while let Some(manifest) = chain.manifest(*looked + 1)
            && is_old(manifest.created_at, now)
        {
            let gone: Vec<(WriterId, u64)> = manifest
                .writers
                .iter()
                .filter(|(writer, range)| chain.high_water(writer) == range.last)
                .map(|(writer, range)| (*writer, range.last))
                .collect();
            let partition = manifest.segment.partition;
            if !gone.is_empty() && partition < self.store.partitions() {
                self.store.forget(partition, &gone).await?;
            }
            *looked += 1;
        }
        Ok(())
    }
}

fn is_old(created_at: Timestamp, now: Timestamp) -> bool {
    let age = now.as_millisecond().saturating_sub(created_at.as_millisecond());
    u128::try_from(age).is_ok_and(|age| age >= FORGOTTEN_AFTER.as_millis())
}
