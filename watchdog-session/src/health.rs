//! The health of sessions.

use std::sync::Arc;

use async_trait::async_trait;
use watchdog_core::HealthCheck;
use watchdog_core::health::{CheckReport, Status};

use crate::pump::{Backlog, Pump};
use crate::store::SessionStore;

/// Checks the store, and that events reach the audit sink.
#[derive(Clone, Debug)]
pub struct SessionHealth {
    store: Arc<dyn SessionStore>,
    pump: Option<Arc<Pump>>,
}

impl SessionHealth {
    pub(crate) fn new(store: Arc<dyn SessionStore>, pump: Option<Arc<Pump>>) -> Self {
        Self { store, pump }
    }
}

#[async_trait]
impl HealthCheck for SessionHealth {
    async fn check(&self) -> CheckReport {
        let report = self.store.check().await;
        let backlog = self.pump.as_ref().map(|pump| pump.backlog()).unwrap_or_default();
        let message = match backlog {
            _ if report.status != Status::Pass => return report,
            Backlog { dropped: 1.., .. } => {
                "session events are dropped: the audit sink does not take them fast enough"
            }
            Backlog { refused: 1.., .. } => {
                "the audit sink refused session events; they stay in the store"
            }
            Backlog { buckets: 1.., .. } => "session events wait for the audit sink",
            _ => return report,
        };
        // A count beyond 2^52 takes centuries.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let dropped = backlog.dropped as f64;
        CheckReport::warn(message)
            .with_observation("events_dropped", dropped)
            .with_observation("buckets_waiting", backlog.buckets.into())
            .with_observation("events_refused", backlog.refused.into())
            .with_observation("events_unread", backlog.unread.into())
    }
}
