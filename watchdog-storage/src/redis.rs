//! The one seam to Redis: standalone, Sentinel and Cluster, with or without TLS.
//!
//! ```no_run
//! use watchdog_storage::redis::{Redis, RedisConfig, Script};
//!
//! static VISIT: Script = Script::new("app.visit.v1", "return redis.call('INCR', KEYS[1])");
//!
//! # async fn example() -> watchdog_storage::Result<()> {
//! let redis = Redis::connect(&RedisConfig::from_url("redis://localhost")?).await?;
//! let key = redis.keys().key("visits", "user-7", &[]);
//! let visits = redis.call(&VISIT, &[&key], &[]).await?.integer()?;
//! assert!(visits > 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Model
//!
//! - A [`Key`] is made by a [`KeySpace`] only; its hash tag decides the Cluster slot.
//! - Reads are plain commands. What has a condition is a [`Script`] over keys of one hash tag, sent
//!   by its SHA and in full where the server forgot it.
//! - One [`RedisConfig::command_timeout`] (1 s) bounds a call from the first to its last attempt,
//!   waiting for a connection included. A broken connection is made again for ever, after
//!   100 ms to 10 s with jitter.
//! - A server that hangs breaks no connection. When all calls to it time out for two timeouts,
//!   another client is started beside the old one, which goes on with the other nodes of a Cluster
//!   and ends a timeout after the new one stands. While that cannot be connected either, it is tried
//!   again after 2 s to 10 s, doubled each time; a slow server that answers in time is never left.
//! - Calls in flight are bounded by [`RedisConfig::max_buffer`] (10 000); one more fails at once.
//! - [`Redis::track`] has the servers tell which keys changed, on connections of its own.
//! - Concurrent calls of one client share a connection and are pipelined; a pool rarely helps.
//!
//! # Commands in flight
//!
//! What a caller learns, and how often a script that was under way ran. Each row is the name of a
//! test in `tests/redis_in_flight.rs` or `tests/redis_failover.rs`.
//!
//! | test | caller gets | script ran |
//! |---|---|---|
//! | `lost_reply_with_two_attempts_runs_twice_and_succeeds` (the default) | the second answer | twice |
//! | `lost_reply_with_one_attempt_ran_once_and_is_unavailable` | `Unavailable`, at once | once |
//! | `cut_connection_is_made_again_and_calls_in_between_wait` | an answer, some 100 ms later | once |
//! | `restarted_server_on_the_same_port_is_found_again` | `CommandTimeout` or `Unavailable` meanwhile | never |
//! | `given_up_while_the_server_is_away_never_runs` | `CommandTimeout` | never |
//! | `dropped_while_the_server_is_away_never_runs` | nothing, it dropped the call | never |
//! | `frozen_server_times_out_and_the_command_may_run_later` | `CommandTimeout` after 1 s | once, when the server thaws |
//! | `hanging_connection_is_replaced_after_two_timeouts` | `CommandTimeout` | perhaps |
//! | `cluster_primary_hangs`, `sentinel_primary_hangs` | `CommandTimeout` until a replica took over, 3 s at least | perhaps |
//! | `standalone_server_hangs_and_thaws_or_is_restarted` | `CommandTimeout` until it is back | perhaps |
//! | `full_buffer_refuses_at_once` | `Saturated`, at once | never |
//! | `calls_given_up_in_a_long_outage_do_not_pile_up` | `CommandTimeout`, then `Saturated` at once | never |
//! | `cuts_under_a_full_buffer_do_not_end_the_client` | any of the above | perhaps |
//! | `cluster_primary_killed`, `sentinel_primary_killed` | `CommandTimeout` until a replica took over | perhaps: on the dead primary, the new one, or both |
//! | `refusals_of_the_server_are_told_apart` | `Refusing` | never |
//!
//! "Twice" and "perhaps" are why **every script has to be idempotent under verbatim replay**. A call
//! that changes something goes on in a task of its own when its future is dropped: that does not
//! take it back when it was sent, and it is never sent after its timeout.
//!
//! # Errors
//!
//! | kind | when | what helps |
//! |---|---|---|
//! | [`Unavailable`](ErrorKind::Unavailable) | no connection, or it broke under the last attempt | try again |
//! | [`CommandTimeout`](ErrorKind::CommandTimeout) | no answer in time; the command may have run | try again |
//! | [`Saturated`](ErrorKind::Saturated) | too many calls in flight; nothing was sent | slow down |
//! | [`Refusing`](ErrorKind::Refusing) | out of memory, read only, loading, Cluster down | try again |
//! | [`Denied`](ErrorKind::Denied) | password or permission | mend the configuration |
//! | [`Misuse`](ErrorKind::Misuse) | a script without keys, or with keys of two hash tags | mend the code |
//! | [`Unexpected`](ErrorKind::Unexpected) | any other answer: wrong type, an error in a script | mend the code |
//!
//! [`Redis::connect`] adds [`ConnectTimeout`](ErrorKind::ConnectTimeout) and
//! [`Config`](ErrorKind::Config). An error names the command or the script, never a key or a value.
//!
//! # Metrics
//!
//! | name | labels |
//! |---|---|
//! | `watchdog_storage_redis_commands_total` | `command` (or script), `outcome`: `ok`, `error`, `cancelled` |
//! | `watchdog_storage_redis_command_duration_seconds` | `command` (or script) |
//! | `watchdog_storage_redis_errors_total` | `kind` |
//! | `watchdog_storage_redis_connection_errors_total` | `kind` |
//! | `watchdog_storage_redis_reconnects_total` | |
//! | `watchdog_storage_redis_client_restarts_total` | |
//! | `watchdog_storage_redis_script_fallbacks_total` | `script` |
//! | `watchdog_storage_redis_tracking_losses_total` | |
//! | `watchdog_storage_redis_tracking_invalidations_total` | |
//! | `watchdog_storage_redis_tracking_connected` (connections) | |
//!
//! # Limits
//!
//! - A read whose caller drops it may still be sent later; it changes nothing.
//! - The user needs the commands `HELLO`, `CLIENT ID`, `INFO`, `PING`, `EVALSHA` and `EVAL` beside those
//!   it calls, with Cluster `CLUSTER INFO` and `CLUSTER SLOTS` too.
//! - With a Cluster over TLS the nodes' certificates have to name the addresses the nodes announce.
//! - Redis 6 or later, since connections speak RESP3.

mod command;
mod config;
mod connect;
mod failure;
mod gate;
mod health;
mod key;
mod metric;
mod pause;
mod pulse;
mod replication;
mod script;
mod slot;
mod tls;
mod tracking;
mod url;
mod value;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use slot::Slot;

pub use config::RedisConfig;
pub use health::RedisHealth;
pub use key::{Key, KeySpace};
pub use replication::Replication;
pub use script::Script;
pub use tracking::{Invalidations, Tracking};
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
    /// How many calls are.
    in_flight: Arc<AtomicUsize>,
    max_buffer: usize,
    command_timeout: Duration,
    /// For connections beside the client's.
    config: RedisConfig,
    runtime: Handle,
    reconnections: Arc<watch::Sender<u64>>,
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
        let reconnections = Arc::new(watch::Sender::new(0));
        let inner = Inner {
            keys: KeySpace::new(&config.key_prefix),
            slots: connect::connect(config, &reconnections).await?,
            next: AtomicUsize::new(0),
            in_flight: Arc::default(),
            max_buffer: config.max_buffer,
            command_timeout: config.command_timeout,
            config: config.clone(),
            runtime: Handle::current(),
            reconnections,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How many connections were made again so far.
    ///
    /// A connection that broke may lead to another server now: a replica that was promoted, and
    /// never got the last writes that its primary acknowledged. Whoever cannot bear that writes
    /// them again when this number changes.
    pub fn reconnections(&self) -> watch::Receiver<u64> {
        self.inner.reconnections.subscribe()
    }

    /// The key space the configuration names.
    pub fn keys(&self) -> &KeySpace {
        &self.inner.keys
    }

    /// Where the keys are, without credentials: servers, database and prefix, as they were
    /// configured.
    pub fn address(&self) -> String {
        self.inner.config.address()
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

    fn command_timeout(&self) -> Duration {
        self.inner.command_timeout
    }
}
