//! Health probes that answer from a background snapshot and never cause the outage.
//!
//! ```
//! use std::sync::Arc;
//! use watchdog_core::health::{CheckReport, HealthCheck, Status};
//! use watchdog_health::{CheckSpec, Health};
//!
//! #[derive(Debug)]
//! struct Inventory;
//!
//! #[async_trait::async_trait]
//! impl HealthCheck for Inventory {
//!     async fn check(&self) -> CheckReport {
//!         CheckReport::pass().with_observation("items", 12.0)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> watchdog_health::Result<()> {
//! let health = Health::builder().check(CheckSpec::new("inventory"), Arc::new(Inventory)).build()?;
//! health.first_results().await;
//! assert_eq!(health.readiness(), Status::Pass);
//! # Ok(())
//! # }
//! ```
//!
//! # Model
//!
//! - A *check* is anything that implements [`HealthCheck`](watchdog_core::HealthCheck); a
//!   [`CheckSpec`] names it and says how often it runs, how long it may take and what its trouble
//!   means ([`Impact`]).
//! - Each check runs in the background in a task of its own. Endpoints read the last results.
//! - *Liveness* (`/livez`) asks whether this process works. No dependency has a say: a restart
//!   does not mend a database, and restarting every instance at once turns a blip into an outage.
//! - *Readiness* (`/readyz`) asks whether to send traffic here now; *startup* (`/startupz`) whether
//!   the process has come up, once and for good.
//! - A critical check that fails, or that nobody can tell about, fails the service (503). A
//!   degrading one makes it warn (200). An informing one changes nothing.
//!
//! # Guarantees and their limits
//!
//! - A request never causes a probe. One check is probed once per interval, and once more within
//!   the first interval; at most one probe of it is in flight.
//! - A failure shows within `fall` × interval + timeout (6 s by default), a recovery within `rise` ×
//!   interval + timeout (11 s).
//! - A check without a result is unknown, and unknown never counts as a pass.
//! - A result older than 3 × interval + timeout (16 s by default) is a failure.
//! - A check that panics or hangs fails alone. One that *blocks* its thread costs the runtime that
//!   thread until it returns and is not started again before; with two worker threads or more
//!   everything else goes on, with one nothing does.
//! - Liveness fails when the runtime's heartbeat (every 1 s) is older than the stall limit (10 s).
//! - Without a [`DetailPolicy`] that says otherwise, a caller sees a status and nothing else. By
//!   guessing, a caller can find out which names `/health/{name}` knows.
//!
//! # Metrics
//!
//! `watchdog_health_status` (0 pass, 1 warn, 2 unknown, 3 fail), `watchdog_health_age_seconds`,
//! `watchdog_health_check_duration_seconds`, `watchdog_health_transitions_total`; the label is
//! `check`. Alert on `watchdog_health_status > 1`.
//!
//! # Features
//!
//! - `axum`: the endpoints as a `Router`, in the format of draft-inadarei-api-health-check-06.
//!
//! # Not here
//!
//! The checks themselves: the clients of `watchdog-storage` and the other crates bring theirs. No
//! configuration either: intervals belong to the code that knows what the check costs.
//!
//! # Extending
//!
//! Implement [`HealthCheck`](watchdog_core::HealthCheck) for a client of your own: one small piece
//! of work per call, safe to drop at any await. The crate bounds it in time.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod fold;
mod health;
mod hysteresis;
mod metrics;
mod pulse;
mod report;
#[cfg(feature = "axum")]
mod router;
mod runner;
mod slot;
mod spec;
mod state;
mod task;

pub use error::{Error, ErrorKind, Result};
pub use fold::Impact;
pub use health::{Health, HealthBuilder};
pub use report::{Check, Report};
#[cfg(feature = "axum")]
pub use router::{DetailPolicy, router};
pub use slot::CheckState;
pub use spec::{CheckSpec, MAX_NAME_BYTES, Probe};
