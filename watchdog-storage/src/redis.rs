//! The one seam to Redis: no other crate names the client behind it.

mod command;
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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::MetricsInterface as _;
use fred::types::Value as Wire;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, ErrorKind, Result};
use connect::Slot;
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
    slots: Vec<Slot>,
    next: AtomicUsize,
    /// One permit per call in flight.
    permits: Arc<Semaphore>,
    max_buffer: usize,
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
        let inner = Inner {
            keys: KeySpace::new(&config.key_prefix),
            slots: connect::connect(config).await?,
            next: AtomicUsize::new(0),
            permits: Arc::new(Semaphore::new(config.max_buffer)),
            max_buffer: config.max_buffer,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The key space the configuration names.
    pub fn keys(&self) -> &KeySpace {
        &self.inner.keys
    }

    /// The health of this deployment, as a [`HealthCheck`](watchdog_core::HealthCheck).
    pub fn health(&self) -> RedisHealth {
        RedisHealth::new(self.clone())
    }

    /// Finishes what is in flight and closes the connections, within a second for each client.
    pub async fn close(&self) {
        for slot in &self.inner.slots {
            slot.close(Duration::from_secs(1)).await;
        }
    }

    /// Runs a command that changes nothing.
    async fn read<F>(&self, name: &'static str, call: impl FnOnce(Client) -> F) -> Result<Value>
    where
        F: Future<Output = Answer>,
    {
        let admitted = self.admit(name)?;
        let call = call(admitted.client.clone());
        admitted.run(call).await
    }

    /// Runs a command that changes something, in a task of its own: the client forgets a command
    /// whose caller ran out of time, but would send one whose caller went away even hours later,
    /// when the server is back.
    async fn write<F>(&self, name: &'static str, call: impl FnOnce(Client) -> F) -> Result<Value>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let admitted = self.admit(name)?;
        let call = call(admitted.client.clone());
        tokio::spawn(admitted.run(call)).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("{name} was stopped")).with_source(error)
        })?
    }

    /// The one gate to the server. What waits in front of it is bounded twice: calls in flight by
    /// the permits, calls that were given up while the server is away by the client's queue.
    fn admit(&self, name: &'static str) -> Result<Admitted> {
        let inner = &*self.inner;
        let timing = Timing::start(name);
        let index = inner.next.fetch_add(1, Ordering::Relaxed) % inner.slots.len();
        let slot = &inner.slots[index];
        if slot.is_closed() {
            timing.failed(ErrorKind::Unavailable);
            return Err(Error::new(ErrorKind::Unavailable, format!("{name} after close")));
        }
        let client = slot.client();
        let permit = Arc::clone(&inner.permits).try_acquire_owned();
        match permit {
            Ok(permit) if client.command_queue_len() < inner.max_buffer => {
                Ok(Admitted { name, client, timing, _permit: permit })
            }
            _ => {
                timing.failed(ErrorKind::Saturated);
                let context = format!("{name} refused: too many calls in flight");
                Err(Error::new(ErrorKind::Saturated, context))
            }
        }
    }
}

/// What the client gives back.
type Answer = Result<Wire, fred::error::Error>;

/// A call that was let in: measured, with our errors.
struct Admitted {
    name: &'static str,
    client: Client,
    timing: Timing,
    _permit: OwnedSemaphorePermit,
}

impl Admitted {
    async fn run(self, call: impl Future<Output = Answer>) -> Result<Value> {
        match call.await {
            Ok(wire) => {
                self.timing.succeeded();
                Value::from_wire(wire)
            }
            Err(error) => {
                let error = failure::error(self.name, &error);
                self.timing.failed(error.kind());
                Err(error)
            }
        }
    }
}
