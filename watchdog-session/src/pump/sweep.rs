//! Looks for events that nobody in this process knows of: what a process left that died.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::Pump;
use crate::error::{Error, ErrorKind, Result};
use crate::place::BUCKETS;

/// Looks on their way at once.
const MOST_LOOKS: usize = 64;
const PAUSE: Duration = Duration::from_secs(300);

impl Pump {
    /// Looks into every bucket once, one small read each. What has events waits for delivery.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let mut looks = JoinSet::new();
        for bucket in 0..BUCKETS {
            if looks.len() >= MOST_LOOKS
                && let Some(look) = looks.join_next().await
            {
                self.note(look)?;
            }
            let store = Arc::clone(&self.store);
            looks.spawn(async move { Ok((bucket, store.events(bucket, None, 1).await?)) });
        }
        while let Some(look) = looks.join_next().await {
            self.note(look)?;
        }
        Ok(())
    }

    fn note<E>(&self, look: std::result::Result<Result<(u16, Vec<E>)>, JoinError>) -> Result<()> {
        let (bucket, events) = look.map_err(|error| {
            Error::new(ErrorKind::Internal, "a look for events ended early").with_source(error)
        })??;
        if !events.is_empty() {
            self.state().waiting.insert(bucket);
        }
        Ok(())
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
    loop {
        let Some(pump) = pump.upgrade() else { return };
        if let Err(error) = pump.sweep().await {
            tracing::debug!(%error, "the look for left session events failed");
        }
        pump.start();
        drop(pump);
        tokio::time::sleep(PAUSE).await;
    }
}
