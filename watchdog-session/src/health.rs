//! The health of sessions.

use std::sync::Arc;

use async_trait::async_trait;
use watchdog_core::HealthCheck;
use watchdog_core::health::{CheckReport, Status};

use crate::pump::Pump;
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
        match self.pump.as_ref().and_then(|pump| pump.failing()) {
            Some(buckets) if report.status == Status::Pass => {
                let waiting = f64::from(u32::try_from(buckets).unwrap_or(u32::MAX));
                CheckReport::warn("session events wait for the audit sink")
                    .with_observation("buckets_waiting", waiting)
            }
            _ => report,
        }
    }
}
