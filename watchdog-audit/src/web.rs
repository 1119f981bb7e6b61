//! A layer that records requests, and an extractor for handlers (feature `axum`).
//!
//! ```
//! use axum::{Router, routing::get};
//! use watchdog_audit::{AuditLog, web::{Audit, Rate, Refusal}};
//! use watchdog_core::audit::{Category, Resource};
//!
//! async fn rename(audit: Audit) -> Result<&'static str, Refusal> {
//!     let note = Resource::new("note", "7");
//!     let operation = audit.begin(Category::Application, "note.renamed", note).await?;
//!     // … the change itself; an early return records `unknown`.
//!     operation.succeed().await?;
//!     Ok("done")
//! }
//!
//! # fn router(log: AuditLog) -> Router {
//! let layer = log
//!     .layer()
//!     .with_rate(Category::Access, Rate::new(0.1))
//!     .without_reads_of(["/livez", "/readyz"]);
//! Router::new().route("/notes/{id}", get(|| async { "a note" }).post(rename)).layer(layer)
//! # }
//! ```
//!
//! # What an entry says
//!
//! The action `http.get`, `http.post`, …; the resource `route` with its template, `/notes/{id}`,
//! never the path; the outcome; client, request id and trace id; in its details `status`,
//! `latency_ms` until the head of the answer, `rate` when it stands for several, and `ended` when
//! there was no answer or the client did not take it whole. The query and the body are never in it.
//!
//! | how it ended | outcome | `ended` |
//! |---|---|---|
//! | 1xx, 2xx, 3xx | `success` | |
//! | 401, 403 | `denied` | |
//! | any other answer | `failure` | |
//! | the client did not take the whole answer ([`Recording::Queued`] alone sees that) | `failure` | `cut` |
//! | the handler panicked; the service failed | `failure` | `panicked`, `failed` |
//! | the request was cancelled before there was an answer | `unknown` | `cancelled` |
//!
//! # Which requests are recorded, and when
//!
//! | | begun before the handler | recorded | answered |
//! |---|---|---|---|
//! | methods that may change something | yes; else 503 and no handler runs | always | when acknowledged; else 503 |
//! | reads, [`Recording::Queued`] | no | always when denied or failed, else by [`Rate`] | at once |
//! | reads, [`Recording::Acknowledged`] | no | the same | when acknowledged; else 503 |
//! | requests that no route takes | no | by a [`Rate`] of their own, as [`UNMATCHED`]; always when they may change something and were answered as done | at once |
//!
//! A fallback, and what a service nested with `nest_service` takes, has no template: nothing is begun
//! for it. Put a layer of its own around such a service, within.
//!
//! A 503 after the handler says that it is not known to be recorded, not that nothing was done. What
//! is sampled out is counted in `watchdog_audit_requests_total`.
//!
//! # Who it was
//!
//! The layer puts a [`Requester`](watchdog_core::audit::Requester) into the extensions of each
//! request. The layer of `watchdog-session` fills it in; a service with other means says
//! [`set_actor`](watchdog_core::audit::Requester::set_actor) when it has authenticated somebody. An
//! [`axum::Extension`] of [`Actor`](watchdog_core::audit::Actor) or
//! [`Client`](watchdog_core::audit::Client) around the layer counts while nobody says more. Without
//! any, the actor is anonymous and the client the peer of the connection.

mod body;
mod context;
mod exchange;
mod extract;
mod layer;
mod policy;
mod reject;
mod telemetry;
mod trace;

use crate::log::AuditLog;

pub use extract::Audit;
pub use layer::{AuditLayer, AuditService};
pub use policy::{Rate, Recording, UNMATCHED};
pub use reject::Refusal;
pub use trace::REQUEST_ID;

impl AuditLog {
    /// What a router is wrapped in, around every other layer. Without it [`Audit`] answers 500.
    pub fn layer(&self) -> AuditLayer {
        AuditLayer::new(self.clone())
    }
}
