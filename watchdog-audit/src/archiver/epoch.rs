//! The epoch of an archiver: its fencing token.

use serde::Serialize;

use super::{Archiver, Moment, Observer, State, Step, told};
use crate::chain::Chain;
use crate::error::{Error, ErrorKind, Result};

impl Archiver {
    /// Asks the bucket once whether it honours create-only, and publishes the signing key.
    pub(super) async fn probe(&self, state: &mut State) -> Result<()> {
        if state.is_probed {
            return Ok(());
        }
        if !self.archive.is_create_only().await? {
            tracing::warn!(
                "the bucket overwrites objects that are to be created once: two archivers are kept \
                 apart by the fencing token in the store alone"
            );
        }
        self.archive.publish_key().await?;
        state.is_probed = true;
        Ok(())
    }

    /// The fencing token: an epoch that is this archiver's own and the newest.
    pub(super) async fn token(
        &self,
        state: &mut State,
        chain: &Chain,
        observer: &Observer<'_>,
    ) -> Result<u64> {
        #[derive(Serialize)]
        struct Epoch<'a> {
            format: &'static str,
            number: u64,
            holder: &'a str,
            begun_at: watchdog_core::Timestamp,
        }
        let known = state.epoch.unwrap_or(0).max(chain.epoch());
        let newest = self.archive.newest_epoch(known).await?;
        if let Some(own) = state.epoch
            && own == newest
        {
            // A replica that was promoted without the fence would let segments expire.
            self.raise_fences(own).await?;
            return Ok(own);
        }
        let number = newest
            .checked_add(1)
            .ok_or_else(|| Error::corrupt("the bucket holds the last epoch there can be"))?;
        told(observer, &Step::Epoch, Moment::Before)?;
        let epoch = Epoch {
            format: "watchdog-audit-epoch/v1",
            number,
            holder: &self.holder,
            begun_at: self.clock.now(),
        };
        let content = serde_json::to_vec(&epoch).map_err(|error| {
            Error::new(ErrorKind::Misuse, "epoch is not JSON").with_source(error)
        })?;
        self.archive.create_epoch(number, content.into()).await?;
        told(observer, &Step::Epoch, Moment::After)?;
        self.raise_fences(number).await?;
        state.epoch = Some(number);
        Ok(number)
    }

    async fn raise_fences(&self, token: u64) -> Result<()> {
        for partition in 0..self.store.partitions() {
            self.store.raise_fence(partition, token).await?;
        }
        Ok(())
    }
}
