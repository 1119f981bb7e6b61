//! One place of the pool: what sits in it, and who replaces that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error as ClientError;
use fred::interfaces::{ClientLike as _, ClusterInterface as _, EventInterface as _};
use fred::types::Builder;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::config::RedisConfig;
use super::connect::start;
use super::key::Key;
use super::pause::{jitter, pause};
use super::pulse::{ANY, ONLY, Place, Pulse};
use super::url::Topology;
use super::{failure, metric};
use crate::error::ErrorKind;

/// A client, and what its calls say about the servers.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) client: Client,
    pulse: Arc<Pulse>,
    is_cluster: bool,
}

impl Seat {
    fn new(client: Client, config: &RedisConfig) -> Self {
        let topology = config.url.as_ref().map(|url| url.topology);
        Self {
            client,
            pulse: Arc::new(Pulse::new(config.command_timeout)),
            is_cluster: topology == Some(Topology::Cluster),
        }
    }

    /// Where a call goes.
    pub(super) fn place(&self, key: Option<&Key>) -> Place {
        match key {
            _ if !self.is_cluster => ONLY,
            Some(key) => key.slot(),
            None => ANY,
        }
    }

    /// What the end of a call says about its server.
    pub(super) fn learn(&self, place: Place, error: Option<ErrorKind>) {
        match error {
            Some(ErrorKind::CommandTimeout) => {
                let now = Instant::now().into_std();
                self.pulse.timed_out(place, now, || self.served_with(place));
            }
            // Not sent, or the connection broke and is made again: no word of the server.
            Some(ErrorKind::Unavailable | ErrorKind::Saturated) => {}
            _ => self.pulse.answered(place),
        }
    }

    /// The slots of the server that serves one of them.
    fn served_with(&self, place: Place) -> Vec<std::ops::RangeInclusive<Place>> {
        let only = || vec![place..=place];
        if !self.is_cluster || place == ANY {
            return only();
        }
        let Some(state) = self.client.cached_cluster_state() else { return only() };
        let Some(server) = state.get_server(place) else { return only() };
        let served = state.slots().iter().filter(|range| range.primary == *server);
        served.map(|range| range.start..=range.end).collect()
    }
}

/// One place of the pool: the client in it, replaced should it ever stop for good, or a server hang.
#[derive(Debug)]
pub(super) struct Slot {
    seat: Arc<RwLock<Seat>>,
    is_closing: Arc<AtomicBool>,
    supervisor: AbortHandle,
}

impl Slot {
    /// Fills a place and keeps it filled.
    pub(super) fn new(
        running: Running,
        config: &RedisConfig,
        builder: Builder,
        limit: Duration,
        reconnections: Arc<watch::Sender<u64>>,
    ) -> Self {
        let seat = Seat::new(running.client.clone(), config);
        let keeping = Keeping {
            seat: Arc::new(RwLock::new(seat)),
            is_closing: Arc::new(AtomicBool::new(false)),
            builder,
            limit,
            config: config.clone(),
            failures: 0,
            not_before: Instant::now(),
            retired: None,
            reconnections,
        };
        let (seat, is_closing) = (Arc::clone(&keeping.seat), Arc::clone(&keeping.is_closing));
        let supervisor = tokio::spawn(keeping.supervise(running)).abort_handle();
        Self { seat, is_closing, supervisor }
    }

    pub(super) fn seat(&self) -> Seat {
        self.seat.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Finishes what is in flight and closes the connections, within `limit`.
    pub(super) async fn close(&self, limit: Duration) {
        self.is_closing.store(true, Ordering::Release);
        let _ = tokio::time::timeout(limit, self.seat().client.quit()).await;
        self.supervisor.abort();
    }
}

impl Drop for Slot {
    /// Closes the connections of a client that nobody closed.
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// A task that ends with its handle.
#[derive(Debug)]
pub(super) struct Owned<T>(pub(super) JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connected client, and the task that drives its connections.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) router: Owned<Result<(), ClientError>>,
}

/// What it takes to keep a place of the pool filled.
struct Keeping {
    seat: Arc<RwLock<Seat>>,
    is_closing: Arc<AtomicBool>,
    builder: Builder,
    limit: Duration,
    config: RedisConfig,
    /// How often a client was started because of a server that hangs, and when the next one may be.
    failures: u32,
    not_before: Instant,
    /// The client that was replaced last, until its calls in flight have ended.
    retired: Option<Owned<()>>,
    reconnections: Arc<watch::Sender<u64>>,
}

impl Keeping {
    /// Replaces a client whose task ended, and one of which a server hangs.
    ///
    /// The client makes broken connections again by itself, but a few errors end it for good, such
    /// as a Cluster node that came back without Cluster mode; without this the service would need
    /// a restart.
    async fn supervise(mut self, mut running: Running) {
        loop {
            let events =
                Owned(tokio::spawn(watch(running.client.clone(), Arc::clone(&self.reconnections))));
            let next = tokio::select! {
                biased;
                _ = &mut running.router.0 => None,
                next = self.successor() => Some(next),
            };
            if self.is_closing.load(Ordering::Acquire) {
                return;
            }
            metric::restarted();
            let next = match next {
                Some(next) => {
                    tracing::warn!("a redis server hangs; another client takes over");
                    next
                }
                None => {
                    tracing::warn!("the redis client stopped; starting another one");
                    self.restart().await
                }
            };
            let seat = Seat::new(next.client.clone(), &self.config);
            *self.seat.write().unwrap_or_else(PoisonError::into_inner) = seat;
            self.reconnections.send_modify(|count| *count += 1);
            let retired = std::mem::replace(&mut running, next);
            drop(events);
            self.retired = Some(retire(retired, self.config.command_timeout));
        }
    }

    /// A client after one that stopped for good.
    async fn restart(&self) -> Running {
        loop {
            match start(&self.builder, self.limit).await {
                Ok(running) => return running,
                Err(error) => {
                    let kind = error.kind();
                    tracing::debug!(?kind, "the redis client cannot be started yet");
                    tokio::time::sleep(self.config.reconnect_max).await;
                }
            }
        }
    }

    /// A client after one of which a server hangs, once there is one that finds every server.
    ///
    /// Its connections are not made again by the client itself: while it does that, it serves no
    /// other node, and one whose buffers are full does not even begin. So the old one goes on
    /// with the nodes that answer, and with the one that hangs should it thaw, until the new one
    /// stands. That knows who took over, since it asks anew.
    async fn successor(&mut self) -> Running {
        loop {
            let seat = self.seat.read().unwrap_or_else(PoisonError::into_inner).clone();
            seat.pulse.alarm.notified().await;
            tokio::time::sleep_until(self.not_before).await;
            // Broken connections are the client's own affair.
            if !seat.pulse.is_alarmed() || !seat.client.is_connected() {
                continue;
            }
            self.plan_next();
            match start(&self.builder, self.limit).await {
                Ok(running) => return running,
                Err(error) => {
                    let kind = error.kind();
                    tracing::debug!(?kind, "a redis server hangs and nobody took over yet");
                }
            }
        }
    }

    /// At most one start in two timeouts, and fewer the longer it takes.
    fn plan_next(&mut self) {
        let now = Instant::now();
        let min = self.config.command_timeout.saturating_mul(2);
        let max = self.config.reconnect_max.max(min);
        let was_quiet = now.saturating_duration_since(self.not_before) > max;
        self.failures = if was_quiet { 1 } else { self.failures.saturating_add(1) };
        let spread = self.config.reconnect_min * u32::from(jitter()) / 255;
        self.not_before = now + pause(self.failures, min, max) + spread;
    }
}

/// Lets the calls in flight of a client end, at the latest with their timeout, and closes it.
fn retire(running: Running, command_timeout: Duration) -> Owned<()> {
    Owned(tokio::spawn(async move {
        tokio::time::sleep(command_timeout).await;
        drop(running);
    }))
}

/// Counts and logs what happens to the connections after the first one stood.
async fn watch(client: Client, reconnections: Arc<watch::Sender<u64>>) {
    let mut reconnected = client.reconnect_rx();
    let mut failed = client.error_rx();
    drop(client);
    loop {
        tokio::select! {
            server = reconnected.recv() => match server {
                Ok(server) => {
                    metric::reconnected(1);
                    reconnections.send_modify(|count| *count += 1);
                    tracing::debug!(%server, "connected to redis again");
                }
                Err(RecvError::Lagged(missed)) => {
                    metric::reconnected(missed);
                    reconnections.send_modify(|count| *count += missed);
                }
                Err(RecvError::Closed) => return,
            },
            error = failed.recv() => match error {
                Ok((error, server)) => {
                    let kind = failure::kind(&error);
                    metric::connection_failed(kind);
                    let server = server.map(|server| server.to_string());
                    tracing::debug!(?kind, server, "a connection to redis failed");
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}
