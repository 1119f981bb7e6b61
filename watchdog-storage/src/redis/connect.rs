//! From the configuration to connected clients: every setting that matters is stated here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error as ClientError, ErrorKind as ClientKind};
use fred::interfaces::{ClientLike as _, EventInterface as _};
use fred::socket2::TcpKeepalive;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectError,
    ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConfig, TlsConnector, UnresponsiveConfig,
};
use fred::types::{Builder, RespVersion};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::config::RedisConfig;
use super::url::{RedisUrl, Topology};
use super::{failure, metric, tls};
use crate::error::{Error, ErrorKind, Result};

/// One place of the pool: the client in it, replaced should it ever stop for good.
#[derive(Debug)]
pub(super) struct Slot {
    client: Arc<RwLock<Client>>,
    is_closing: Arc<AtomicBool>,
    supervisor: AbortHandle,
}

impl Slot {
    pub(super) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Finishes what is in flight and closes the connections, within `limit`.
    pub(super) async fn close(&self, limit: Duration) {
        self.is_closing.store(true, Ordering::Release);
        let _ = tokio::time::timeout(limit, self.client().quit()).await;
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
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connected client, and the task that drives its connections.
struct Running {
    client: Client,
    router: Owned<Result<(), ClientError>>,
}

/// Builds and connects the clients of a configuration. Every connection that is made again is
/// counted in `reconnections`.
pub(super) async fn connect(
    config: &RedisConfig,
    reconnections: &Arc<watch::Sender<u64>>,
) -> Result<Vec<Slot>> {
    if let Some((fields, expected, hint)) = config.problems().first() {
        let fields = fields.join(", ");
        let context = format!("redis settings ({fields}): expected {expected}; {hint}");
        return Err(Error::new(ErrorKind::Config, context));
    }
    let Some(url) = &config.url else {
        return Err(Error::new(ErrorKind::Config, "the redis URL is not set"));
    };
    let builder = builder(config, url)?;
    // Discovery of a Cluster or through Sentinel takes several connections.
    let limit = config.connect_timeout.saturating_mul(2);
    // One deadline for the whole pool; what stood until then closes with its slot.
    match tokio::time::timeout(limit, fill(config, &builder, limit, reconnections)).await {
        Ok(slots) => slots,
        Err(_) => Err(too_slow(limit)),
    }
}

async fn fill(
    config: &RedisConfig,
    builder: &Builder,
    limit: Duration,
    reconnections: &Arc<watch::Sender<u64>>,
) -> Result<Vec<Slot>> {
    let mut slots = Vec::with_capacity(config.pool_size);
    for _ in 0..config.pool_size {
        let running = start(builder, limit).await?;
        let client = Arc::new(RwLock::new(running.client.clone()));
        let is_closing = Arc::new(AtomicBool::new(false));
        let keeping = Keeping {
            slot: Arc::clone(&client),
            is_closing: Arc::clone(&is_closing),
            builder: builder.clone(),
            limit,
            pause: config.reconnect_max,
            reconnections: Arc::clone(reconnections),
        };
        let supervisor = tokio::spawn(keeping.supervise(running)).abort_handle();
        slots.push(Slot { client, is_closing, supervisor });
    }
    Ok(slots)
}

const WHAT: &str = "connecting to redis";

fn too_slow(limit: Duration) -> Error {
    let context = format!("{WHAT} took longer than {} ms", limit.as_millis());
    Error::new(ErrorKind::ConnectTimeout, context)
}

async fn start(builder: &Builder, limit: Duration) -> Result<Running> {
    let client = builder.build().map_err(|error| failure::error(WHAT, &error))?;
    let mut router = Owned(client.connect());
    let greeting = async {
        // The task ends when the first connection fails, and knows why; the client's own event
        // may be gone before anybody listens.
        tokio::select! {
            biased;
            ended = &mut router.0 => match ended {
                Ok(Err(error)) => return Err(error),
                _ => return Err(ClientError::new(ClientKind::Canceled, "the client stopped")),
            },
            connected = client.wait_for_connect() => connected?,
        }
        client.ping::<()>(None).await
    };
    match tokio::time::timeout(limit, greeting).await {
        Ok(Ok(())) => Ok(Running { client, router }),
        Ok(Err(error)) if failure::kind(&error) == ErrorKind::CommandTimeout => {
            Err(Error::new(ErrorKind::ConnectTimeout, format!("{WHAT} took too long")))
        }
        Ok(Err(error)) => Err(failure::error(WHAT, &error)),
        Err(_) => Err(too_slow(limit)),
    }
}

/// What it takes to keep a place of the pool filled.
struct Keeping {
    slot: Arc<RwLock<Client>>,
    is_closing: Arc<AtomicBool>,
    builder: Builder,
    limit: Duration,
    pause: Duration,
    reconnections: Arc<watch::Sender<u64>>,
}

impl Keeping {
    /// Replaces a client whose task ended. The client makes broken connections again by itself,
    /// but a few errors end it for good, such as a Cluster node that came back without Cluster
    /// mode; without this the service would need a restart.
    async fn supervise(self, mut running: Running) {
        loop {
            let _events =
                Owned(tokio::spawn(watch(running.client.clone(), Arc::clone(&self.reconnections))));
            let _ = (&mut running.router.0).await;
            if self.is_closing.load(Ordering::Acquire) {
                return;
            }
            metric::restarted();
            tracing::warn!("the redis client stopped; starting another one");
            running = loop {
                match start(&self.builder, self.limit).await {
                    Ok(running) => break running,
                    Err(error) => {
                        let kind = error.kind();
                        tracing::debug!(?kind, "the redis client cannot be started yet");
                        tokio::time::sleep(self.pause).await;
                    }
                }
            };
            *self.slot.write().unwrap_or_else(PoisonError::into_inner) = running.client.clone();
            self.reconnections.send_modify(|count| *count += 1);
        }
    }
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

fn builder(config: &RedisConfig, url: &RedisUrl) -> Result<Builder> {
    let mut builder = Builder::from_config(client_config(config, url)?);
    builder.set_connection_config(connection_config(config));
    builder.set_performance_config(PerformanceConfig {
        default_command_timeout: config.command_timeout,
        max_feed_count: 200,
        // Receivers of events that fall behind lose the oldest; ours count what they lost.
        broadcast_channel_capacity: 256,
    });
    builder.set_policy(reconnect_policy(config));
    Ok(builder)
}

fn client_config(config: &RedisConfig, url: &RedisUrl) -> Result<Config> {
    let tls = if config.uses_tls() {
        let connector = TlsConnector::from(tls::client(config.tls_ca.as_deref())?);
        Some(TlsConfig::from(connector))
    } else {
        None
    };
    Ok(Config {
        // The first connection says at once what is wrong: a refused password or a wrong address
        // must not look like a server that is slow to start. Later ones are made again for ever.
        fail_fast: true,
        username: config.effective_username().map(str::to_owned),
        password: config.effective_password().map(str::to_owned),
        server: server_config(config, url),
        version: RespVersion::RESP3,
        database: Some(config.database()).filter(|&db| db != 0),
        tls,
        ..Config::default()
    })
}

fn server_config(config: &RedisConfig, url: &RedisUrl) -> ServerConfig {
    let hosts = || url.hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port));
    match url.topology {
        Topology::Standalone => {
            let (host, port) = url.hosts.first().cloned().unwrap_or_default();
            ServerConfig::new_centralized(host, port)
        }
        Topology::Cluster => ServerConfig::Clustered {
            hosts: hosts().collect(),
            // The names in the URL lead to living nodes even when every cached address is gone,
            // as after a rolling restart in Kubernetes (aembke/fred.rs#232).
            policy: ClusterDiscoveryPolicy::ConfigEndpoint,
        },
        Topology::Sentinel => ServerConfig::Sentinel {
            hosts: hosts().collect(),
            service_name: config.service(url).to_owned(),
            username: config.sentinel_username.clone(),
            password: config.sentinel_password.as_ref().map(|secret| secret.expose().to_owned()),
        },
    }
}

fn connection_config(config: &RedisConfig) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: config.connect_timeout,
        // Bounds HELLO, AUTH, CLUSTER SLOTS and SENTINEL: one slow node must not hold up the
        // search for another one (aembke/fred.rs#59).
        internal_command_timeout: config.connect_timeout.min(Duration::from_secs(2)),
        max_command_attempts: config.attempts,
        max_redirections: 5,
        // Unbounded here and bounded in front of it: the client sends its own wish to reconnect
        // through the same queue, and ends for good when the queue is full just then (measured).
        max_command_buffer_len: 0,
        // A connection that swallows commands is closed after two command timeouts
        // (aembke/fred.rs#208).
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(config.command_timeout.saturating_mul(2)),
            interval: config.command_timeout / 2,
        },
        // A password that was changed under us: log in again with every reconnect.
        reconnect_on_auth_error: true,
        reconnect_errors: vec![
            ReconnectError::ReadOnly,
            ReconnectError::Loading,
            ReconnectError::MasterDown,
            ReconnectError::ClusterDown,
        ],
        tcp: TcpConfig {
            nodelay: Some(true),
            keepalive: Some(TcpKeepalive::new().with_time(Duration::from_secs(30))),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    }
}

fn reconnect_policy(config: &RedisConfig) -> ReconnectPolicy {
    let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    let min = millis(config.reconnect_min).max(1);
    // No limit on attempts: a client that gave up would need a restart of the service.
    let mut policy = ReconnectPolicy::new_exponential(0, min, millis(config.reconnect_max), 2);
    // As much jitter as first delay, so that a fleet does not come back in one wave.
    policy.set_jitter(min);
    policy
}
