//! Which handler answers what.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use watchdog_health::DetailPolicy;
use watchdog_session::{Role, Sessions};

use crate::app::App;
use crate::files::MAX_FILE_BYTES;
use crate::{audit, auth, files, page, sessions};

/// May read the audit log and verify it, and change nothing.
const AUDITOR: Role = Role::named("auditor");
/// Largest body of a request, in bytes, but for files.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Routes that probes and scrapers read every few seconds.
const PROBES: [&str; 6] =
    ["/livez", "/readyz", "/startupz", "/health", "/health/{name}", "/metrics"];

/// The whole service. A test goes through every route that changes something, as this file names
/// them, and wants an entry for each.
pub(crate) fn router(app: App) -> Router {
    let details = admins(app.web.sessions().clone());
    let session = app.web.layer();
    // `refresh` says why it is answered in any case.
    let audit = app.audit.layer().without_reads_of(PROBES).answering_anyway(["/refresh"]);
    let reading = Router::new()
        .route("/audit", get(audit::read))
        .route("/audit/verify", post(audit::verify).get(audit::verify))
        .route_layer(app.web.require_role([AUDITOR, Role::ADMIN]));
    let administration = Router::new()
        .route("/audit/archive", post(audit::archive))
        .route("/audit/erase", post(audit::erase))
        .route_layer(app.web.require_role([Role::ADMIN]));
    // The innermost limit counts.
    let upload = put(files::put).layer(DefaultBodyLimit::max(MAX_FILE_BYTES));
    Router::new()
        .route("/", get(page::page))
        .route("/login", post(auth::login))
        .route("/me", get(auth::me))
        .route("/refresh", post(auth::refresh))
        .route("/logout", post(auth::logout))
        .route("/logout-all", post(sessions::logout_all))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/.well-known/jwks.json", get(sessions::jwks))
        .route("/session/data", get(sessions::data))
        .route("/session/data/{key}", put(sessions::write).delete(sessions::remove))
        .route("/files/{name}", get(files::read).merge(upload))
        .merge(reading)
        .merge(administration)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route("/metrics", get(metrics))
        .merge(watchdog_health::router(app.health.clone(), details))
        .layer(session)
        // Around the one of sessions, which tells it who asks.
        .layer(audit)
        .with_state(app)
}

/// Details of health are for admins. Their access token is checked without asking any store: the
/// page has to work when the store does not.
fn admins(sessions: Sessions) -> DetailPolicy {
    DetailPolicy::when(move |request| {
        let header = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let session = token.and_then(|token| sessions.authenticate_access(token).ok());
        session.is_some_and(|session| session.has_role("admin"))
    })
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4"), (CACHE_CONTROL, "no-store")];
    (headers, app.metrics.render())
}
