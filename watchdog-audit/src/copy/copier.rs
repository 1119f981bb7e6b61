//! The copier of a process, and what it knows of its lag.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::health::{CheckReport, Status};
use watchdog_storage::postgres::Postgres;

use crate::chain::Chain;
use crate::copy::cursor::Cursor;
use crate::copy::{MIGRATIONS, PostgresCopy, telemetry};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Schema;

/// A copy that is later than this is a warning.
const LATE: Duration = Duration::from_secs(3_600);

/// Brings archived entries into one Postgres.
#[derive(Debug)]
pub(crate) struct Copier {
    postgres: Postgres,
    schema: Schema,
    is_ready: AtomicBool,
    state: Mutex<State>,
}

/// What the last run saw.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The last manifest that is copied; unknown until Postgres has answered once.
    manifest: Option<u64>,
    left_out: u64,
    /// Manifests that are not copied, and when the oldest of them was written. While it is not
    /// known what is copied: since when.
    behind: u64,
    behind_since: Option<Timestamp>,
}

impl State {
    fn lag(&self, now: Timestamp) -> Duration {
        let since = self.behind_since.unwrap_or(now);
        now.duration_since(since).try_into().unwrap_or_default()
    }
}

impl Copier {
    /// The copier that the settings ask for.
    pub(crate) fn chosen(
        is_wanted: bool,
        copy: Option<PostgresCopy>,
        is_archived: bool,
    ) -> Result<Option<Self>> {
        let refused = |text| Err(Error::new(ErrorKind::Config, text));
        match copy {
            _ if !is_wanted => Ok(None),
            None => refused(
                "archived entries are to be copied and no Postgres is given: call \
                 with_postgres_copy, or set WATCHDOG_AUDIT_POSTGRES_COPY=false",
            ),
            Some(_) if !is_archived => refused(
                "the copy in Postgres is made from the archive, and the audit log has none: call \
                 with_archive, or set WATCHDOG_AUDIT_POSTGRES_COPY=false",
            ),
            Some(copy) => Ok(Some(Self {
                schema: copy.schema()?,
                postgres: copy.postgres,
                is_ready: AtomicBool::new(false),
                state: Mutex::default(),
            })),
        }
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Sees once that the tables are there, in a version this program knows.
    pub(crate) async fn ready(&self) -> Result<()> {
        if !self.is_ready.load(Ordering::Acquire) {
            MIGRATIONS.apply(&self.postgres, &self.schema).await?;
            self.is_ready.store(true, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn reached(&self, cursor: &Cursor) {
        let mut state = self.state();
        state.manifest = Some(cursor.manifest);
        state.left_out = cursor.left_out;
    }

    /// Notes how a run ended.
    pub(crate) fn note(&self, chain: &Chain, now: Timestamp, failed: Option<&Error>) {
        let mut state = self.state();
        if let Some(manifest) = state.manifest {
            state.behind = (chain.next() - 1).saturating_sub(manifest);
            state.behind_since = chain.manifest(manifest + 1).map(|oldest| oldest.created_at);
        } else if failed.is_some() {
            state.behind_since.get_or_insert(now);
        }
        telemetry::lag(state.lag(now).as_secs_f64(), state.behind);
        match failed {
            None => {}
            Some(error) if error.kind() == ErrorKind::Busy => {
                tracing::debug!(%error, "another process copies");
            }
            Some(error) => {
                // The tables may have gone with the server.
                self.is_ready.store(false, Ordering::Release);
                telemetry::failed(error);
            }
        }
    }

    /// Adds to a report how far behind the copy is.
    pub(crate) fn observe(&self, report: CheckReport, now: Timestamp) -> CheckReport {
        let state = *self.state();
        let lag = state.lag(now);
        let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let mut report = report;
        if lag > LATE && report.status == Status::Pass {
            report.status = Status::Warn;
            report.output = Some("archived entries wait long for their copy in Postgres".into());
        }
        report
            .with_observation("copy_lag_seconds", lag.as_secs_f64())
            .with_observation("copy_lag_manifests", number(state.behind))
            .with_observation("copy_left_out_objects", number(state.left_out))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
