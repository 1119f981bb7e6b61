//! What every handler can reach.

use metrics_exporter_prometheus::PrometheusHandle;
use watchdog_audit::AuditLog;
use watchdog_core::audit::Entry;
use watchdog_health::Health;
use watchdog_session::web::WebSessions;
use watchdog_storage::objects::Objects;

use crate::backends::Backends;

/// What every handler can reach. A clone is cheap.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) web: WebSessions,
    pub(crate) audit: AuditLog,
    pub(crate) objects: Objects,
    pub(crate) health: Health,
    pub(crate) metrics: PrometheusHandle,
}

impl App {
    pub(crate) fn new(backends: &Backends, metrics: PrometheusHandle) -> Self {
        Self {
            web: backends.web.clone(),
            audit: backends.audit.clone(),
            objects: backends.objects.clone(),
            health: backends.health.clone(),
            metrics,
        }
    }

    /// Records what has happened already and cannot be taken back, before it is answered.
    ///
    /// Without an acknowledgement the answer is given all the same: a client that never learns its
    /// new refresh token would come back with the old one and be taken for a thief. The log keeps
    /// the entry and writes it when its store is back.
    pub(crate) async fn record_done(&self, entry: Entry) {
        let action = entry.action.clone();
        if let Err(error) = self.audit.record(entry).await {
            tracing::error!(%error, action, "an audit entry is not acknowledged yet");
        }
    }
}
