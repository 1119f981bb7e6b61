//! Connections behind the gate.
//!
//! The driver has a pool of its own. This one replaces it, because there a single deadline covers
//! waiting, checking and connecting, refused connects are retried until all of them become the
//! same timeout, and a cancelled call throws away the connection it was opening
//! (launchbadge/sqlx#2276, #3132).

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::oneshot;

use super::config::DbConfig;
use super::connect::Connector;
use super::connection::Connection;
use super::gate::{Gate, Permit, Refusal};
use super::metrics;
use super::stats::PoolStats;
use crate::error::{Error, ErrorKind, Result};

/// How long saying goodbye to the server may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// How long an idle connection may take to show that it works.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// How much longer than `statement_timeout` a cancelled statement may hold its place.
const RETURN_GRACE: Duration = Duration::from_secs(2);

pub(super) struct Pool {
    gate: Gate,
    connector: Connector,
    settings: Settings,
    idle: Mutex<Vec<Live>>,
    connections: Arc<AtomicUsize>,
    is_closed: AtomicBool,
    started: Instant,
    answered_ms: AtomicU64,
}

struct Settings {
    database: String,
    pool_size: usize,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    idle_timeout: Duration,
    max_lifetime: Duration,
    check_idle_after: Duration,
}

/// An open connection.
pub(super) struct Live {
    pub(super) raw: PgConnection,
    retire_at: Option<Instant>,
    used_at: Instant,
    /// Set while the connection must not be lent out again.
    pub(super) is_spoilt: bool,
    _count: Count,
}

/// Counts an open connection.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to one connection of a pool.
pub(super) struct Slot {
    pub(super) pool: Arc<Pool>,
    _permit: Permit,
}

impl Pool {
    pub(super) async fn new(config: &DbConfig) -> Result<Arc<Self>> {
        let pool_size = (config.pool_size as usize).max(1);
        let pool = Arc::new(Self {
            gate: Gate::new(config.max_connections(), config.max_waiting as usize),
            connector: Connector::new(config).await?,
            settings: Settings {
                database: config.name.clone().unwrap_or_default(),
                pool_size,
                acquire_timeout: config.acquire_timeout,
                statement_timeout: config.statement_timeout,
                idle_timeout: config.idle_timeout,
                max_lifetime: config.max_lifetime,
                check_idle_after: config.check_idle_after,
            },
            idle: Mutex::new(Vec::with_capacity(pool_size)),
            connections: Arc::default(),
            is_closed: AtomicBool::new(false),
            started: Instant::now(),
            answered_ms: AtomicU64::new(0),
        });
        tokio::spawn(reap(Arc::downgrade(&pool)));
        Ok(pool)
    }

    /// Waits for a place and lends a connection that works.
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Connection> {
        let start = Instant::now();
        let entered = self.gate.enter(self.settings.acquire_timeout).await;
        metrics::waited(start.elapsed());
        let permit = entered.map_err(|refusal| self.explain(refusal))?;
        self.lend(permit).await
    }

    /// The same without waiting for a place: `None` when all are taken.
    pub(super) async fn try_acquire(self: &Arc<Self>) -> Option<Result<Connection>> {
        let permit = self.gate.try_enter()?;
        Some(self.lend(permit).await)
    }

    async fn lend(self: &Arc<Self>, permit: Permit) -> Result<Connection> {
        let mut slot = Slot { pool: Arc::clone(self), _permit: permit };
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Unavailable, "the connection pool is closed"));
        }
        while let Some(live) = self.take_idle() {
            let is_fresh = live.used_at.elapsed() < self.settings.check_idle_after;
            let mut connection = Connection::new(live, slot);
            if is_fresh || self.check(&mut connection).await {
                self.show();
                return Ok(connection);
            }
            metrics::discarded();
            slot = connection.throw_away();
        }
        self.connect(slot).await
    }

    /// Opens a connection in a task of its own: when the caller goes away, it is finished all the
    /// same and kept for the next.
    async fn connect(self: &Arc<Self>, slot: Slot) -> Result<Connection> {
        let (sender, receiver) = oneshot::channel();
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let opened = pool.connector.open().await;
            let opened = opened.map(|raw| {
                pool.answered();
                Connection::new(pool.live(raw), slot)
            });
            pool.show();
            // A caller that is gone drops the connection, which puts it back.
            let _ = sender.send(opened);
        });
        let stopped = |_| Error::new(ErrorKind::Unavailable, "the runtime is shutting down");
        receiver.await.map_err(stopped)?
    }

    /// Whether an idle connection still answers. One that does not answer in time tells on the
    /// others: a firewall that drops idle connections drops all of them.
    async fn check(&self, connection: &mut Connection) -> bool {
        match tokio::time::timeout(CHECK_LIMIT, connection.ping()).await {
            Ok(Ok(())) => {
                self.answered();
                true
            }
            Ok(Err(_)) => false,
            Err(_) => {
                metrics::timed_out("check");
                self.idle().clear();
                false
            }
        }
    }

    /// Takes a connection back when its user is done: keeps it if it is of use.
    pub(super) async fn take_back(self: Arc<Self>, mut live: Live, slot: Slot) {
        if live.is_spoilt || !self.is_clean(&mut live).await {
            // Dropping closes the socket; the server ends what ran there.
            metrics::discarded();
            drop(live);
        } else if let Some(surplus) = self.keep(live) {
            close(surplus).await;
        }
        drop(slot);
        self.show();
    }

    /// Whether the server is done with everything and no transaction is open.
    ///
    /// A statement whose caller went away still runs on the server. The place stays taken until it
    /// ends, or the server would get more work than there are places.
    async fn is_clean(&self, live: &mut Live) -> bool {
        let limit = self.settings.statement_timeout.saturating_add(RETURN_GRACE);
        // Outside of a transaction a statement starts its own, at the same instant.
        let sql = "SELECT CASE WHEN now() = statement_timestamp() THEN 1 END";
        let answer = sqlx::Executor::fetch_one(&mut live.raw, sql);
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(row)) => {
                self.answered();
                let is_clean = sqlx::Row::try_get_raw(&row, 0)
                    .is_ok_and(|value| !sqlx::ValueRef::is_null(&value));
                if !is_clean {
                    tracing::warn!("a connection came back inside a transaction and was closed");
                }
                is_clean
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Puts a connection among the idle ones, or hands it back when it is to be closed.
    fn keep(&self, mut live: Live) -> Option<Live> {
        let now = Instant::now();
        live.used_at = now;
        let mut idle = self.idle();
        let is_surplus = idle.len() >= self.settings.pool_size;
        if is_surplus || live.is_retired(now) || self.is_closed.load(Ordering::Acquire) {
            return Some(live);
        }
        idle.push(live);
        None
    }

    /// The connection used last, so that those beyond the need grow old.
    fn take_idle(&self) -> Option<Live> {
        self.idle().pop()
    }

    fn live(&self, raw: PgConnection) -> Live {
        let now = Instant::now();
        let retire_at =
            lifetime(self.settings.max_lifetime).and_then(|lifetime| now.checked_add(lifetime));
        Live {
            raw,
            retire_at,
            used_at: now,
            is_spoilt: false,
            _count: Count::new(&self.connections),
        }
    }

    /// Lets nobody in any more, waits for those inside, closes every connection.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let patience = self.settings.statement_timeout.saturating_add(RETURN_GRACE);
        let _ = tokio::time::timeout(patience, self.gate.drain()).await;
        let idle = std::mem::take(&mut *self.idle());
        for live in idle {
            close(live).await;
        }
        self.show();
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn statement_timeout(&self) -> Duration {
        self.settings.statement_timeout
    }

    pub(super) fn stats(&self) -> PoolStats {
        PoolStats {
            connections: self.connections.load(Ordering::Relaxed),
            in_use: self.gate.taken(),
            idle: self.idle().len(),
            waiting: self.gate.waiting(),
            pool_size: self.settings.pool_size,
            max: self.gate.max(),
        }
    }

    pub(super) fn database(&self) -> &str {
        &self.settings.database
    }

    /// How long ago the server last answered on any connection.
    pub(super) fn silence(&self) -> Duration {
        let answered = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(answered)
    }

    pub(super) fn answered(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered_ms.fetch_max(now, Ordering::Relaxed);
    }

    fn show(&self) {
        metrics::show(&self.settings.database, self.stats());
    }

    fn explain(&self, refusal: Refusal) -> Error {
        let PoolStats { in_use, max, waiting, .. } = self.stats();
        let load = format!("{in_use} of {max} connections in use, {waiting} calls waiting");
        self.show();
        match refusal {
            Refusal::TimedOut => {
                metrics::timed_out("acquire");
                let limit = self.settings.acquire_timeout;
                let text = format!("no connection became free within {limit:?}: {load}");
                Error::new(ErrorKind::AcquireTimeout, text)
            }
            Refusal::Full => {
                metrics::refused();
                let text = format!("the queue for connections is full: {load}");
                Error::new(ErrorKind::Saturated, text)
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Live>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the connections that are too old or were idle for too long.
    fn remove_old(&self) -> Vec<Live> {
        let now = Instant::now();
        let limit = self.settings.idle_timeout;
        self.idle()
            .extract_if(.., |live| {
                let idle_for = now.saturating_duration_since(live.used_at);
                live.is_retired(now) || (!limit.is_zero() && idle_for >= limit)
            })
            .collect()
    }
}

impl Live {
    fn is_retired(&self, now: Instant) -> bool {
        self.retire_at.is_some_and(|retire_at| retire_at <= now)
    }
}

/// Says goodbye, so that the server does not log a broken connection.
async fn close(live: Live) {
    let Live { raw, _count, .. } = live;
    let _ = tokio::time::timeout(CLOSE_LIMIT, raw.close()).await;
}

/// A lifetime up to a fifth shorter than `max`, so that connections opened together do not end
/// together (launchbadge/sqlx#3051).
fn lifetime(max: Duration) -> Option<Duration> {
    if max.is_zero() {
        return None;
    }
    let mut random = [0; 1];
    // Without randomness they end together, which is slow and not wrong.
    let _ = watchdog_core::fill_random(&mut random);
    let shorter = max / 5 * u32::from(random[0]) / 256;
    Some(max.saturating_sub(shorter))
}

/// Closes old connections while the pool exists.
async fn reap(pool: Weak<Pool>) {
    let Some(tick) = pool.upgrade().map(|pool| {
        let settings = &pool.settings;
        let limits = [settings.idle_timeout, settings.max_lifetime];
        let shortest = limits.into_iter().filter(|limit| !limit.is_zero()).min();
        let shortest = shortest.unwrap_or(Duration::from_secs(120));
        (shortest / 4).clamp(Duration::from_millis(50), Duration::from_secs(30))
    }) else {
        return;
    };
    loop {
        tokio::time::sleep(tick).await;
        let Some(pool) = pool.upgrade() else { return };
        let old = pool.remove_old();
        pool.show();
        for live in old {
            close(live).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_by_up_to_a_fifth() {
        let max = Duration::from_secs(1_000);
        let lifetimes: Vec<_> = (0..200).filter_map(|_| lifetime(max)).collect();
        assert!(lifetimes.iter().all(|life| *life <= max && *life > max / 5 * 4));
        assert!(lifetimes.iter().max() > lifetimes.iter().min());
        assert_eq!(lifetime(Duration::ZERO), None);
    }
}
