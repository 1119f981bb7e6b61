//! What every handler can reach.

use metrics_exporter_prometheus::PrometheusHandle;
use watchdog_audit::AuditLog;
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
}
