//! The endpoints, for axum (feature `axum`).

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use watchdog_core::health::Status;

use crate::health::Health;
use crate::report::{View, Viewed, http_status};

const HEALTH_JSON: HeaderValue = HeaderValue::from_static("application/health+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Who sees more than a status: names of checks, reasons, numbers.
///
/// The predicate must not wait. Where finding out who asks needs I/O, do it in a middleware in
/// front of the router, put the answer into the request's extensions and look at those here.
///
/// ```
/// use watchdog_health::DetailPolicy;
///
/// #[derive(Clone, PartialEq)]
/// struct Role(&'static str);
///
/// let admins = DetailPolicy::when(|request| {
///     request.extensions.get::<Role>() == Some(&Role("admin"))
/// });
/// ```
#[derive(Clone)]
pub struct DetailPolicy(Arc<dyn Fn(&Parts) -> bool + Send + Sync>);

impl DetailPolicy {
    /// Nobody sees details.
    pub fn nobody() -> Self {
        Self::when(|_| false)
    }

    /// Whoever the predicate accepts sees details.
    pub fn when(predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(predicate))
    }
}

impl Default for DetailPolicy {
    fn default() -> Self {
        Self::nobody()
    }
}

impl fmt::Debug for DetailPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetailPolicy").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Edge {
    health: Health,
    details: DetailPolicy,
}

/// `/livez`, `/readyz`, `/startupz`, `/health` and `/health/{name}`.
///
/// Answers 200 for pass and warn, 503 for fail, 404 for a name that is not registered; always
/// `application/health+json` and `Cache-Control: no-store`. Answers come from the last results:
/// no request causes a probe.
pub fn router<S: Clone + Send + Sync + 'static>(
    health: Health,
    details: DetailPolicy,
) -> Router<S> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/health", get(all))
        .route("/health/{name}", get(one))
        .with_state(Edge { health, details })
}

async fn livez(State(edge): State<Edge>, request: Request) -> Response {
    edge.answer(View::Liveness, request)
}

async fn readyz(State(edge): State<Edge>, request: Request) -> Response {
    edge.answer(View::Readiness, request)
}

async fn startupz(State(edge): State<Edge>, request: Request) -> Response {
    edge.answer(View::Startup, request)
}

async fn all(State(edge): State<Edge>, request: Request) -> Response {
    edge.answer(View::All, request)
}

async fn one(State(edge): State<Edge>, Path(name): Path<String>, request: Request) -> Response {
    match edge.health.slot(&name) {
        Some(slot) => edge.answer(View::One(slot), request),
        None => respond(StatusCode::NOT_FOUND, Body::from(r#"{"status":"unknown"}"#)),
    }
}

impl Edge {
    fn answer(&self, view: View<'_>, request: Request) -> Response {
        let viewed = self.health.view(view);
        if (self.details.0)(&request.into_parts().0) { detailed(&viewed) } else { terse(&viewed) }
    }
}

/// The status alone: a constant, nothing is rendered.
fn terse(viewed: &Viewed<'_>) -> Response {
    let status = viewed.status();
    let body = match status {
        Status::Pass => r#"{"status":"pass"}"#,
        Status::Warn => r#"{"status":"warn"}"#,
        Status::Unknown | Status::Fail => r#"{"status":"fail"}"#,
    };
    respond(code(status), Body::from(body))
}

fn detailed(viewed: &Viewed<'_>) -> Response {
    let report = viewed.report();
    match serde_json::to_vec(&report) {
        Ok(body) => respond(code(report.status), Body::from(body)),
        Err(error) => {
            tracing::error!(%error, "a health report could not be rendered");
            terse(viewed)
        }
    }
}

fn code(status: Status) -> StatusCode {
    StatusCode::from_u16(http_status(status)).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

fn respond(code: StatusCode, body: Body) -> Response {
    (code, [(CONTENT_TYPE, HEALTH_JSON), (CACHE_CONTROL, NO_STORE)], body).into_response()
}
