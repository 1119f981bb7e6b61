//! One primary, two replicas, and three sentinels that watch them.

use std::fs;
use std::time::{Duration, Instant};

use super::server::start_in;
use super::{Control, RedisServer, Reply};
use crate::testing::process::ServerProcess;
use crate::testing::{free_port, wait_until};

/// How long the servers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often another port is tried.
const TRIES: u32 = 5;

/// The name the sentinels watch the primary under.
const SERVICE: &str = "mymaster";

/// A deployment with Sentinel; a primary that does not answer for half a second is replaced.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<(ServerProcess, u16)>,
}

impl RedisSentinel {
    /// Starts three servers and three sentinels; takes about two seconds.
    ///
    /// # Panics
    ///
    /// When they do not start or do not find each other.
    pub fn start() -> Self {
        let primary = RedisServer::start();
        let port = primary.port().to_string();
        let replica = || RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        let servers = vec![replica(), replica(), primary];
        wait_until("the replicas follow", PATIENCE, || {
            servers[..2].iter().all(|server| {
                let info = server.command(&["INFO", "replication"]);
                info.text().contains("master_link_status:up")
            })
        });
        let sentinels = (0..3).map(|_| start_sentinel(&port)).collect();
        let deployment = Self { servers, sentinels };
        wait_until("the sentinels know all", PATIENCE, || deployment.is_whole());
        deployment
    }

    fn is_whole(&self) -> bool {
        self.sentinels.iter().all(|(_, port)| {
            let Ok(mut sentinel) = Control::connect(*port) else { return false };
            let Ok(Reply::List(facts)) = sentinel.command(&["SENTINEL", "MASTER", SERVICE]) else {
                return false;
            };
            let has = |name: &str, value: &str| {
                facts.chunks(2).any(|fact| fact[0].text() == name && fact[1].text() == value)
            };
            has("num-slaves", "2") && has("num-other-sentinels", "2") && has("flags", "master")
        })
    }

    /// The URL with all three sentinels.
    pub fn url(&self) -> String {
        let [first, second, third] = [0, 1, 2].map(|index| self.sentinels[index].1);
        format!(
            "redis-sentinel://127.0.0.1:{first}?node=127.0.0.1:{second}&node=127.0.0.1:{third}\
             &sentinelServiceName={SERVICE}"
        )
    }

    /// The primary, by its own word: right after a failover the sentinels disagree for a moment.
    ///
    /// # Panics
    ///
    /// When no living server is the primary.
    #[expect(clippy::expect_used, reason = "a test states what it expects")]
    pub fn primary(&self) -> &RedisServer {
        let is_primary = |server: &&RedisServer| {
            let Ok(mut control) = Control::connect(server.port()) else { return false };
            let info = control.command(&["INFO", "replication"]);
            info.is_ok_and(|info| info.text().contains("role:master"))
        };
        self.servers.iter().find(is_primary).expect("one of the servers is the primary")
    }

    /// Kills the primary. A replica takes over in about 2 s; this returns at once.
    pub fn kill_primary(&mut self) -> Instant {
        let port = self.primary().port();
        self.kill(port)
    }

    /// Kills the server on a port.
    pub fn kill(&mut self, port: u16) -> Instant {
        for server in self.servers.iter_mut().filter(|server| server.port() == port) {
            server.kill();
        }
        Instant::now()
    }

    /// The primary and its replicas, those that were killed included.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// Starts the servers again that were killed, empty: the sentinels make them replicas after some
    /// seconds. This returns once they run.
    ///
    /// # Panics
    ///
    /// When they do not start.
    pub fn restart_killed(&mut self) {
        for server in self.servers.iter_mut().filter(|server| !server.process().is_running()) {
            server.restart();
        }
    }
}

#[expect(clippy::panic, reason = "a test without its server should stop")]
fn start_sentinel(primary: &str) -> (ServerProcess, u16) {
    let mut log = String::new();
    for _ in 0..TRIES {
        let port = free_port();
        match try_start_sentinel(primary, port) {
            Ok(process) => return (process, port),
            Err(output) => log = output,
        }
    }
    panic!("a sentinel does not start: {log}");
}

fn try_start_sentinel(primary: &str, port: u16) -> Result<ServerProcess, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?.keep();
    // A sentinel rewrites its configuration, so it needs a file.
    let file = directory.join("sentinel.conf");
    let settings = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\n\
         sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {SERVICE} 1000\n\
         sentinel failover-timeout {SERVICE} 2000\n",
        directory.display(),
    );
    fs::write(&file, settings).map_err(|error| error.to_string())?;
    start_in(&directory, &[file.display().to_string(), "--sentinel".to_owned()])
}
