//! What happens to a command that is under way when something breaks. The names of these tests
//! stand in the table of `watchdog_storage::redis`.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]
#![expect(clippy::print_stdout, reason = "the measured outage is worth reading")]

use std::time::{Duration, Instant};

use watchdog_storage::ErrorKind;
use watchdog_storage::redis::{Key, Redis, RedisConfig, Script, Value};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, is_available};

const LIMIT: Duration = Duration::from_secs(20);

/// Not idempotent on purpose: it counts how often it ran.
static COUNT: Script = Script::new("test.count.v1", "return redis.call('INCR', KEYS[1])");

/// A server behind a proxy, and a client of it.
struct Bench {
    server: RedisServer,
    proxy: FaultProxy,
    redis: Redis,
    key: Key,
}

impl Bench {
    async fn start(config: RedisConfig) -> Option<Self> {
        if !is_available() {
            return None;
        }
        let server = RedisServer::start();
        let proxy = FaultProxy::start(server.port()).await.unwrap();
        let url = RedisConfig::from_url(&format!("redis://127.0.0.1:{}", proxy.port())).unwrap();
        let redis = Redis::connect(&RedisConfig { url: url.url, ..config }).await.unwrap();
        let key = redis.keys().key("count", "t", &[]);
        // The server knows the script from now on, so that one call is one command.
        redis.call(&COUNT, &[&key], &[]).await.unwrap();
        redis.del(&key).await.unwrap();
        Some(Self { server, proxy, redis, key })
    }

    async fn count(&self) -> Result<Value, watchdog_storage::Error> {
        self.redis.call(&COUNT, &[&self.key], &[]).await
    }

    /// How often the script ran, asked past the proxy.
    fn runs(&self) -> u64 {
        let answer = self.server.control().command(&["GET", self.key.as_str()]).unwrap();
        match answer {
            watchdog_storage::testing::redis::Reply::Text(text) => text.parse().unwrap(),
            _ => 0,
        }
    }

    /// Waits until the client serves again, and says how long that took.
    async fn recovered(&self) -> Duration {
        let start = Instant::now();
        eventually("the client recovers", LIMIT, async || self.redis.ping().await.is_ok()).await;
        start.elapsed()
    }
}

fn attempts(attempts: u32) -> RedisConfig {
    RedisConfig { attempts, ..RedisConfig::default() }
}

#[tokio::test]
async fn lost_reply_with_one_attempt_ran_once_and_is_unavailable() {
    let Some(bench) = Bench::start(attempts(1)).await else { return };
    bench.proxy.set(Fault::LoseReply);
    let error = bench.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(bench.proxy.lost_replies(), 1);
    assert_eq!(bench.runs(), 1);
    assert_eq!(bench.count().await.unwrap(), Value::Integer(2));
}

#[tokio::test]
async fn lost_reply_with_two_attempts_runs_twice_and_succeeds() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.proxy.set(Fault::LoseReply);
    assert_eq!(bench.count().await.unwrap(), Value::Integer(2));
    assert_eq!(bench.proxy.lost_replies(), 1);
    assert_eq!(bench.runs(), 2);
}

#[tokio::test]
async fn frozen_server_times_out_and_the_command_may_run_later() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.server.pause();
    let start = Instant::now();
    let error = bench.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandTimeout, "{error:?}");
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(950) && waited < Duration::from_millis(1500),
        "{waited:?}"
    );
    bench.server.resume();
    bench.recovered().await;
    // It was on its way when the server froze, and was not sent again.
    eventually("the command ran", LIMIT, async || bench.runs() == 1).await;
    assert_eq!(bench.count().await.unwrap(), Value::Integer(2));
}

#[tokio::test]
async fn hanging_connection_is_replaced_after_two_timeouts() {
    let timeout = Duration::from_millis(300);
    let config = RedisConfig { command_timeout: timeout, ..RedisConfig::default() };
    let Some(bench) = Bench::start(config).await else { return };
    let before = bench.proxy.connections();
    bench.proxy.set(Fault::Freeze);
    let start = Instant::now();
    assert_eq!(bench.count().await.unwrap_err().kind(), ErrorKind::CommandTimeout);
    assert_eq!(bench.proxy.connections(), before, "given up too early");
    eventually("the client gives the connection up", LIMIT, async || {
        bench.proxy.connections() > before
    })
    .await;
    let waited = start.elapsed();
    assert!(waited >= timeout * 2 && waited < Duration::from_secs(2), "{waited:?}");
    bench.proxy.set(Fault::Forward);
    bench.recovered().await;
}

#[tokio::test]
async fn given_up_while_the_server_is_away_never_runs() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.proxy.set(Fault::Cut);
    // The first one may find the connection still open and lose an attempt to it.
    for _ in 0..2 {
        let error = bench.count().await.unwrap_err();
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::CommandTimeout | ErrorKind::Unavailable), "{error:?}");
    }
    bench.proxy.set(Fault::Forward);
    bench.recovered().await;
    assert_eq!(bench.count().await.unwrap(), Value::Integer(1));
}

#[tokio::test]
async fn dropped_while_the_server_is_away_never_runs() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.proxy.set(Fault::Cut);
    eventually("the client notices", LIMIT, async || bench.redis.ping().await.is_err()).await;
    // A request handler that is cancelled, as when its client disconnects.
    let dropped = tokio::time::timeout(Duration::from_millis(50), bench.count()).await;
    assert!(dropped.is_err());
    // The call ends with its own timeout; the server comes back afterwards.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    bench.proxy.set(Fault::Forward);
    bench.recovered().await;
    assert_eq!(bench.count().await.unwrap(), Value::Integer(1));
}

#[tokio::test]
async fn cut_connection_is_made_again_and_calls_in_between_wait() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    let mut reconnections = bench.redis.reconnections();
    for _ in 0..3 {
        bench.proxy.cut_once().await;
        // No error reaches the caller: the first wait is 100 to 200 ms, the call has a second.
        bench.redis.ping().await.unwrap();
    }
    assert_eq!(bench.proxy.connections(), 4);
    reconnections.wait_for(|&count| count == 3).await.unwrap();
}

#[tokio::test]
async fn restarted_server_on_the_same_port_is_found_again() {
    let Some(mut bench) = Bench::start(attempts(2)).await else { return };
    bench.server.kill();
    assert!(bench.count().await.unwrap_err().is_retryable());
    bench.server.restart();
    let outage = bench.recovered().await;
    println!("served again {outage:?} after the restart");
    assert!(outage < Duration::from_secs(10));
    // The new server has no scripts.
    assert_eq!(bench.count().await.unwrap(), Value::Integer(1));
}

#[tokio::test]
async fn full_buffer_refuses_at_once() {
    let config = RedisConfig { max_buffer: 8, ..RedisConfig::default() };
    let Some(bench) = Bench::start(config).await else { return };
    bench.proxy.set(Fault::Freeze);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (redis, key) = (bench.redis.clone(), bench.key.clone());
            tokio::spawn(async move { redis.get(&key).await })
        })
        .collect();
    // Lets each task reach its wait for the answer.
    tokio::task::yield_now().await;
    let start = Instant::now();
    let error = bench.redis.get(&bench.key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Saturated, "{error:?}");
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::CommandTimeout);
    }
    bench.proxy.set(Fault::Forward);
    bench.recovered().await;
}

#[tokio::test]
async fn calls_given_up_in_a_long_outage_do_not_pile_up() {
    let config = RedisConfig {
        max_buffer: 20,
        command_timeout: Duration::from_millis(50),
        ..RedisConfig::default()
    };
    let Some(bench) = Bench::start(config).await else { return };
    bench.proxy.set(Fault::Cut);
    let mut refused = 0;
    for _ in 0..200 {
        let error = bench.count().await.unwrap_err();
        refused += u32::from(error.kind() == ErrorKind::Saturated);
        tokio::task::yield_now().await;
    }
    // Given up calls stay in the client until it is connected again: twenty, and no more.
    assert!(refused > 100, "only {refused} of 200 were refused");
    bench.proxy.set(Fault::Forward);
    bench.recovered().await;
    let runs = bench.runs();
    assert_eq!(runs, 0, "{runs} calls ran after their callers had been told otherwise");
}

#[tokio::test]
async fn slow_and_distant_servers_work_within_the_timeout() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.proxy.set(Fault::Delay {
        to_server: Duration::from_millis(30),
        to_client: Duration::from_millis(30),
    });
    let start = Instant::now();
    bench.redis.ping().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(60));
    bench.proxy.set(Fault::Forward);
    let content = bytes::Bytes::from(vec![b'x'; 100_000]);
    bench.redis.set(&bench.key, content.clone(), None).await.unwrap();
    // Ten seconds for the answer, one for the command.
    bench.proxy.set(Fault::Slow { bytes_per_second: 10_000 });
    assert_eq!(bench.redis.get(&bench.key).await.unwrap_err().kind(), ErrorKind::CommandTimeout);
    bench.proxy.set(Fault::Forward);
    bench.recovered().await;
    assert_eq!(bench.redis.get(&bench.key).await.unwrap(), Some(content));
}

#[tokio::test]
async fn refusals_of_the_server_are_told_apart() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = bench.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refusing, "{error:?}");
    bench.server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    // A primary that was demoted under its open connections.
    bench.server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = bench.count().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refusing, "{error:?}");
    bench.server.command(&["REPLICAOF", "NO", "ONE"]);
    bench.recovered().await;
    assert_eq!(bench.count().await.unwrap(), Value::Integer(1));
}

#[tokio::test]
async fn connecting_to_a_hanging_server_is_bounded() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.proxy.set(Fault::Freeze);
    let url = format!("redis://127.0.0.1:{}", bench.proxy.port());
    let config = RedisConfig {
        connect_timeout: Duration::from_millis(300),
        ..RedisConfig::from_url(&url).unwrap()
    };
    let start = Instant::now();
    let error = Redis::connect(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout, "{error:?}");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn closed_client_refuses_calls() {
    let Some(bench) = Bench::start(attempts(2)).await else { return };
    bench.redis.close().await;
    let error = bench.redis.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

/// The client's own bounded queue did not survive this: its wish to reconnect found the queue full,
/// and the client ended for good. The bound in front of it leaves room for that wish.
#[tokio::test(flavor = "multi_thread")]
async fn cuts_under_a_full_buffer_do_not_end_the_client() {
    let config = RedisConfig {
        max_buffer: 64,
        command_timeout: Duration::from_millis(100),
        ..RedisConfig::default()
    };
    let Some(bench) = Bench::start(config).await else { return };
    let end = Instant::now() + Duration::from_secs(3);
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (redis, key) = (bench.redis.clone(), bench.key.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let _ = redis.call(&COUNT, &[&key], &[]).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    while Instant::now() < end {
        bench.proxy.cut_once().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    bench.recovered().await;
    bench.count().await.unwrap();
}
