//! What every handler can reach.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use watchdog_audit::{AuditLog, Operation, SubjectHandle, SubjectKeys};
use watchdog_core::audit::{Actor, Outcome, Resource};
use watchdog_health::Health;
use watchdog_session::web::WebSessions;
use watchdog_storage::objects::Objects;

use crate::backends::Backends;
use crate::failure::Failure;

/// What every handler can reach. A clone is cheap.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) web: WebSessions,
    pub(crate) audit: AuditLog,
    pub(crate) subject_keys: Arc<dyn SubjectKeys>,
    pub(crate) objects: Objects,
    pub(crate) health: Health,
    pub(crate) metrics: PrometheusHandle,
}

impl App {
    pub(crate) fn new(backends: &Backends, metrics: PrometheusHandle) -> Self {
        Self {
            web: backends.web.clone(),
            audit: backends.audit.clone(),
            subject_keys: Arc::clone(&backends.subject_keys),
            objects: backends.objects.clone(),
            health: backends.health.clone(),
            metrics,
        }
    }

    /// A user's account, as entries name it: by the pseudonym that stands for the user in the log.
    /// What an entry is about is not sealed, and a name could not be erased there.
    pub(crate) async fn account(&self, user: &str) -> Result<Resource, Failure> {
        let handles = self.subject_keys.handles(&Actor::user(user)).await?;
        Ok(Resource::new("account", handles.first().map_or("", SubjectHandle::as_str)))
    }
}

/// Ends an operation the way it went, and waits until that is recorded: what is not known to be
/// recorded is not answered as done.
pub(crate) async fn ended<T, E: Into<Failure>>(
    operation: Operation,
    result: Result<T, E>,
) -> Result<T, Failure> {
    match result {
        Ok(value) => {
            operation.end(Outcome::Success).await?;
            Ok(value)
        }
        Err(error) => {
            let failure = error.into();
            operation.end(failure.outcome()).await?;
            Err(failure)
        }
    }
}
