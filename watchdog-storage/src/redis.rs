//! The one seam to Redis: no other crate names the client behind it.

mod config;
mod connect;
mod failure;
mod health;
mod key;
mod metric;
mod script;
mod tls;
mod url;
mod value;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{
    ClientLike as _, HashesInterface as _, KeysInterface as _, LuaInterface as _,
    StreamsInterface as _,
};
use fred::types::{InfoKind, Value as Wire};
use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};
use connect::Connected;
use metric::Timing;

pub use config::RedisConfig;
pub use health::RedisHealth;
pub use key::{Key, KeySpace};
pub use script::Script;
pub use url::RedisUrl;
pub use value::{Arg, StreamEntry, Ttl, Value};

/// A client of one Redis deployment: standalone, Sentinel or Cluster.
///
/// A clone shares the connections. They close when the last clone goes.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    keys: KeySpace,
    clients: Vec<Connected>,
    next: AtomicUsize,
    /// One permit per call in flight: what the client queues is bounded, and a full queue is an
    /// answer at once.
    permits: Semaphore,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("keys", &self.inner.keys).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects and proves the connection with a `PING`.
    ///
    /// One try, bounded by twice [`RedisConfig::connect_timeout`]. Once it stood, a broken
    /// connection is made again for ever.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the settings cannot work, [`ErrorKind::Denied`] when the server
    /// refuses the credentials, [`ErrorKind::ConnectTimeout`] and [`ErrorKind::Unavailable`] when
    /// it cannot be reached.
    pub async fn connect(config: &RedisConfig) -> Result<Self> {
        metric::describe();
        let clients = connect::connect(config).await?;
        let keys = KeySpace::new(&config.key_prefix);
        let permits = Semaphore::new(config.max_buffer);
        let next = AtomicUsize::new(0);
        Ok(Self { inner: Arc::new(Inner { keys, clients, next, permits }) })
    }

    /// The key space the configuration names.
    pub fn keys(&self) -> &KeySpace {
        &self.inner.keys
    }

    /// The health of this deployment, as a [`HealthCheck`](watchdog_core::HealthCheck).
    pub fn health(&self) -> RedisHealth {
        RedisHealth::new(self.clone())
    }

    /// `PING`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn ping(&self) -> Result<()> {
        self.run("PING", self.client().ping::<Wire>(None)).await.map(drop)
    }

    /// `GET`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.run("GET", self.client().get::<Wire, _>(key)).await?.into_optional_bytes()
    }

    /// `HMGET`: one answer per field, in order.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn hmget(&self, key: &Key, fields: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let fields: Vec<fred::types::Key> = fields.iter().map(|&field| field.into()).collect();
        let answer = self.run("HMGET", self.client().hmget::<Wire, _, _>(key, fields)).await?;
        answer.into_array()?.into_iter().map(Value::into_optional_bytes).collect()
    }

    /// `HGETALL`, in no particular order; empty when there is no such key.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn hgetall(&self, key: &Key) -> Result<Vec<(Bytes, Bytes)>> {
        value::pairs(self.run("HGETALL", self.client().hgetall::<Wire, _>(key)).await?)
    }

    /// `XRANGE key from to COUNT count`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn xrange(
        &self,
        key: &Key,
        from: &str,
        to: &str,
        count: u64,
    ) -> Result<Vec<StreamEntry>> {
        let call = self.client().xrange::<Wire, _, _, _>(key, from, to, Some(count));
        value::entries(self.run("XRANGE", call).await?)
    }

    /// `XLEN`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn xlen(&self, key: &Key) -> Result<u64> {
        natural(&self.run("XLEN", self.client().xlen::<Wire, _>(key)).await?)
    }

    /// `XDEL`: how many entries left.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn xdel(&self, key: &Key, ids: &[&str]) -> Result<u64> {
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        natural(&self.run("XDEL", self.client().xdel::<Wire, _, _>(key, ids)).await?)
    }

    /// `PTTL`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn pttl(&self, key: &Key) -> Result<Ttl> {
        match self.run("PTTL", self.client().pttl::<Wire, _>(key)).await?.integer()? {
            -2 => Ok(Ttl::Missing),
            -1 => Ok(Ttl::Unbounded),
            millis => Ok(Ttl::Millis(millis.unsigned_abs())),
        }
    }

    /// `DEL`: whether the key existed.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn del(&self, key: &Key) -> Result<bool> {
        let gone = self.run("DEL", self.client().del::<Wire, _>(key)).await?;
        Ok(gone.integer()? > 0)
    }

    /// Runs a script by SHA, with `EVAL` when the server does not know it.
    ///
    /// The script may run twice when a reply is lost: it must be idempotent under verbatim replay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without keys or with keys of different hash tags, before anything is
    /// sent; else as every command: see the [module](self).
    pub async fn call(&self, script: &Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value> {
        let name = script.name();
        let tag = keys.first().map(|key| key.tag());
        if tag.is_none() || keys.iter().any(|key| Some(key.tag()) != tag) {
            let context = format!("{name} needs keys, all of one hash tag");
            return Err(Error::new(ErrorKind::Misuse, context));
        }
        let keys: Vec<fred::types::Key> = keys.iter().map(|&key| key.into()).collect();
        let args: Vec<Wire> = args.iter().map(|&arg| arg.into()).collect();
        let client = self.client();
        let call = async {
            match client.evalsha(script.sha(), keys.clone(), args.clone()).await {
                // A restarted server and a promoted replica have no scripts. EVAL leaves it there.
                Err(error) if failure::is_unknown_script(&error) => {
                    metric::fell_back(name);
                    client.eval(script.source(), keys, args).await
                }
                answer => answer,
            }
        };
        self.run(name, call).await
    }

    /// `maxmemory-policy` of the server, `None` where the server does not tell.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](self).
    pub async fn maxmemory_policy(&self) -> Result<Option<String>> {
        let call = self.client().info(Some(InfoKind::Memory));
        let info = self.run("INFO", call).await?.into_bytes()?;
        let policy = String::from_utf8_lossy(&info)
            .lines()
            .find_map(|line| line.strip_prefix("maxmemory_policy:"))
            .map(|policy| policy.trim().to_owned());
        Ok(policy)
    }

    /// Finishes what is in flight and closes the connections, within a second.
    pub async fn close(&self) {
        for connected in &self.inner.clients {
            let _ = tokio::time::timeout(Duration::from_secs(1), connected.client.quit()).await;
        }
    }

    /// The one way to the server: bounded, measured, with our errors.
    async fn run(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<Wire, fred::error::Error>>,
    ) -> Result<Value> {
        let timing = Timing::start(name);
        let Ok(_permit) = self.inner.permits.try_acquire() else {
            timing.failed(ErrorKind::Saturated);
            return Err(Error::new(
                ErrorKind::Saturated,
                format!("{name} refused: too many calls"),
            ));
        };
        match call.await {
            Ok(wire) => {
                timing.succeeded();
                Value::from_wire(wire)
            }
            Err(error) => {
                let error = failure::error(name, &error);
                timing.failed(error.kind());
                Err(error)
            }
        }
    }

    fn client(&self) -> &Client {
        let clients = &self.inner.clients;
        let index = self.inner.next.fetch_add(1, Ordering::Relaxed) % clients.len();
        &clients[index].client
    }
}

fn natural(value: &Value) -> Result<u64> {
    let number = value.integer()?;
    u64::try_from(number)
        .map_err(|_| Error::new(ErrorKind::Unexpected, "redis answered a negative count"))
}

impl From<&Key> for fred::types::Key {
    fn from(key: &Key) -> Self {
        key.as_str().into()
    }
}
