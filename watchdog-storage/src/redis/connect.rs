//! From the configuration to connected clients: every setting that matters is stated here.

use std::sync::Arc;
use std::time::Duration;

use fred::error::{Error as ClientError, ErrorKind as ClientKind};
use fred::interfaces::ClientLike as _;
use fred::socket2::TcpKeepalive;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectError,
    ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConfig, TlsConnector, UnresponsiveConfig,
};
use fred::types::{Builder, RespVersion};
use tokio::sync::watch;

use super::config::RedisConfig;
use super::slot::{Owned, Running, Slot};
use super::url::{RedisUrl, Topology};
use super::{failure, tls};
use crate::error::{Error, ErrorKind, Result};

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
        slots.push(Slot::new(running, config, builder.clone(), limit, Arc::clone(reconnections)));
    }
    Ok(slots)
}

const WHAT: &str = "connecting to redis";

fn too_slow(limit: Duration) -> Error {
    let context = format!("{WHAT} took longer than {} ms", limit.as_millis());
    Error::new(ErrorKind::ConnectTimeout, context)
}

/// Builds and connects a client, and proves it with a `PING`.
pub(super) async fn start(builder: &Builder, limit: Duration) -> Result<Running> {
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
        // A connection that swallows commands is closed two command timeouts after the last one
        // (aembke/fred.rs#208). Steady calls put that off for ever; see `pulse`.
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
