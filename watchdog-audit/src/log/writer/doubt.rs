//! Whether the store still has what it acknowledged.
//!
//! A promoted replica may lack the newest entries, and a server that was restarted those its log had
//! not synced. Under load the next frame finds out. An idle process asks, by offering its newest
//! frame again: the store knows it and changes nothing, or says what it has, and gets the rest. A
//! process that ends asks once more; where nobody answers it leaves what it has in memory in the
//! spool, for the next process to offer.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::log::delivery::Undelivered;
use crate::log::writer::Writer;
use crate::log::writer::direct::PATIENCE;
use crate::spool::answered;
use crate::telemetry;

/// What the store has is doubted when it was offered nothing for so long.
pub(super) const DOUBTED_AFTER: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) fn may_doubt(&self) -> bool {
        self.policy.doubts && self.stored > 0 && !self.has_backlog() && self.superseded.is_none()
    }

    /// Sees whether the store still has the newest frame.
    pub(super) async fn doubt(&mut self) {
        self.go_back();
        // What the spool keeps is offered as its backlog.
        if !self.policy.keeps_until_archived && !self.is_confirmed().await {
            tracing::debug!("the store does not say whether it has the newest audit entries");
        }
    }

    /// Takes the newest frame for unsent.
    pub(super) fn go_back(&mut self) {
        self.offered = Instant::now();
        let keeps = self.policy.keeps_until_archived;
        // Where the spool comes first, newer frames may wait in memory for room in it.
        let sent = if keeps { self.stored } else { u64::MAX };
        let newest = self.sources.memory().newest_up_to(sent).map(|frame| frame.first());
        if let Some(first) = newest {
            self.stored = first - 1;
        }
        if !keeps {
            // The spool has let go of what the store had.
            self.spooled = self.spooled.min(self.stored);
        }
    }

    /// Offers the newest frame, and brings what the store lacks; whether it answered.
    async fn is_confirmed(&mut self) -> bool {
        let step = self.delivery.step(&self.sources, (self.stored, self.next - 1));
        match timeout(PATIENCE, step).await {
            Ok(Ok(stored)) => self.stored = stored,
            Ok(Err(Undelivered::Superseded { lost })) => self.superseded = Some(lost),
            Ok(Err(Undelivered::Failed(_))) | Err(_) => return false,
        }
        self.offered = Instant::now();
        if self.superseded.is_none() && self.stored + 1 < self.next {
            self.bring_all(Vec::new()).await;
        }
        true
    }

    /// Asks the store for the last time; whether there is nothing left to do.
    pub(super) async fn may_leave(&mut self) -> bool {
        // What a spool keeps until it is archived, the next process looks after.
        if !self.may_doubt() || self.policy.keeps_until_archived {
            return true;
        }
        self.go_back();
        if self.is_confirmed().await {
            return self.superseded.is_none() && !self.has_backlog();
        }
        self.leave_behind().await;
        true
    }

    /// Leaves what is in memory in the spool. The next process offers it to the store, which knows
    /// what it has of it.
    async fn leave_behind(&self) {
        let Some(spool) = &self.sources.spool else { return };
        let frames = self.sources.memory().after(0);
        let entries = frames.iter().map(|frame| frame.count()).sum();
        match answered(spool.write(frames).await) {
            Ok(()) => telemetry::spooled(entries),
            Err(error) => tracing::warn!(
                %error,
                "the store does not say whether it has the newest audit entries, and they are not \
                 in the spool either"
            ),
        }
    }
}
