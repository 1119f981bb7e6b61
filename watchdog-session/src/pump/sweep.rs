//! Looks for events that nobody in this process knows of: what a process left that died.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::Pump;
use crate::error::{Error, ErrorKind, Result};
use crate::place::BUCKETS;
use crate::store::Waiting;

/// Looks on their way at once.
const MOST_LOOKS: usize = 64;
const PAUSE: Duration = Duration::from_secs(30);
/// Each so many rounds look into every bucket: every 5 minutes.
const ROUNDS: u64 = 10;

impl Pump {
    /// Looks into every bucket once, two small reads each. What has events waits for delivery.
    pub(crate) async fn sweep(&self) -> Result<()> {
        self.look_into(0..BUCKETS).await
    }

    /// Looks again where something waited: perhaps with a process that has died meanwhile.
    pub(super) async fn look_again(&self) -> Result<()> {
        let seen: Vec<u16> = {
            let state = self.state();
            state.seen.keys().chain(state.left.keys()).copied().collect()
        };
        self.look_into(seen).await
    }

    async fn look_into(&self, buckets: impl IntoIterator<Item = u16>) -> Result<()> {
        let mut looks = JoinSet::new();
        for bucket in buckets {
            if looks.len() >= MOST_LOOKS
                && let Some(look) = looks.join_next().await
            {
                self.note(look)?;
            }
            let store = Arc::clone(&self.store);
            looks.spawn(async move { Ok((bucket, store.backlog(bucket).await?)) });
        }
        while let Some(look) = looks.join_next().await {
            self.note(look)?;
        }
        Ok(())
    }

    fn note(&self, look: std::result::Result<Result<(u16, Waiting)>, JoinError>) -> Result<()> {
        let (bucket, waiting) = look.map_err(|error| {
            Error::new(ErrorKind::Internal, "a look for events ended early").with_source(error)
        })??;
        self.remember(bucket, waiting);
        if waiting != Waiting::default() {
            self.state().waiting.insert(bucket);
        }
        Ok(())
    }

    /// Looks into one bucket.
    pub(super) async fn look(&self, bucket: u16) -> Result<Waiting> {
        let waiting = self.store.backlog(bucket).await?;
        self.remember(bucket, waiting);
        Ok(waiting)
    }

    fn remember(&self, bucket: u16, waiting: Waiting) {
        let mut state = self.state();
        if waiting == Waiting::default() {
            state.seen.remove(&bucket);
            state.left.remove(&bucket);
        } else {
            state.seen.insert(bucket, waiting.dropped);
        }
    }
}

/// Says that nobody sweeps any more, also when a runtime drops the task half-way.
struct Sweeping(Weak<Pump>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        if let Some(pump) = self.0.upgrade() {
            pump.state().is_sweeping = false;
        }
    }
}

/// Sweeps at once, then now and then for as long as the pump lives.
pub(super) async fn run(pump: Weak<Pump>) {
    let _sweeping = Sweeping(Weak::clone(&pump));
    for round in 0_u64.. {
        let Some(pump) = pump.upgrade() else { return };
        let looked =
            if round.is_multiple_of(ROUNDS) { pump.sweep().await } else { pump.look_again().await };
        if let Err(error) = looked {
            tracing::debug!(%error, "the look for left session events failed");
        }
        pump.start();
        drop(pump);
        tokio::time::sleep(PAUSE).await;
    }
}
