//! The keeper of the spools: lets go of what is archived, and takes over from processes that are
//! gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Result;
use crate::log::adoption::Adoption;
use crate::log::delivery::Delivery;
use crate::log::heir::Encoder;
use crate::log::policy::Policy;
use crate::log::shared::Shared;
use crate::spool::{Spool, SpoolPlace, Unusable, Wanted};
use crate::telemetry;

/// The spool of an id this process has given up.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) spool: Spool,
    /// What comes after this entry is to be recorded again.
    pub(crate) from: u64,
}

/// What the keeper needs.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) delivery: Delivery,
    pub(crate) encoder: Encoder,
    pub(crate) policy: Policy,
    pub(crate) place: SpoolPlace,
    pub(crate) orphans: mpsc::UnboundedReceiver<Orphan>,
    pub(crate) every: Duration,
    /// Spools that were found at the start.
    pub(crate) found: Vec<Spool>,
}

impl Keeper {
    /// Runs until it is aborted, with everything it has begun.
    pub(crate) async fn run(mut self) {
        let mut adoptions = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        for spool in std::mem::take(&mut self.found) {
            adoptions.spawn(self.adoption(spool, None).run());
        }
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shared.keep.notified() => {}
                Some(orphan) = self.orphans.recv() => {
                    adoptions.spawn(self.adoption(orphan.spool, Some(orphan.from)).run());
                    continue;
                }
                Some(_) = adoptions.join_next() => continue,
            }
            shared.forget_removed();
            match Spool::abandoned(&self.place, Wanted::All).await {
                Ok((spools, unusable)) => {
                    for spool in spools {
                        adoptions.spawn(self.adoption(spool, None).run());
                    }
                    for Unusable { writer, path, error } in unusable {
                        shared.block(writer, &error, &path);
                    }
                }
                Err(error) => telemetry::append_failed(&error),
            }
            if let Err(error) = self.let_go().await {
                tracing::warn!(%error, "the audit spool keeps what may be archived");
            }
        }
    }

    fn adoption(&self, spool: Spool, recorded_again_after: Option<u64>) -> Adoption {
        let found = spool.status(watchdog_core::Timestamp::UNIX_EPOCH);
        self.shared.damaged.fetch_add(found.damaged_files, Ordering::Relaxed);
        let partition = spool.origin().map(|origin| origin.partition);
        Adoption {
            shared: Arc::clone(&self.shared),
            delivery: self.delivery.adopting(spool.writer(), partition),
            encoder: self.encoder.clone(),
            keeps_until_archived: self.policy.keeps_until_archived,
            every: self.every,
            spool,
            recorded_again_after,
            first: 1,
            stored: 0,
        }
    }

    /// Lets go of what a committed manifest covers.
    async fn let_go(&self) -> Result<()> {
        if !self.policy.keeps_until_archived {
            return Ok(());
        }
        let Some(spool) = self.shared.spool() else { return Ok(()) };
        let now = watchdog_core::Timestamp::UNIX_EPOCH;
        if spool.status(now).entries == 0 {
            return Ok(());
        }
        spool.release(self.delivery.watermark.of(&spool.writer()).await?);
        Ok(())
    }
}
