//! Deployments whose primaries can die.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::time::{Duration, Instant};

use watchdog_session::Place;
use watchdog_storage::redis::{KeySpace, RedisConfig};
use watchdog_storage::testing::redis::{Control, RedisCluster, RedisSentinel, RedisServer, Reply};
use watchdog_storage::testing::wait_until;

const PATIENCE: Duration = Duration::from_secs(30);

/// Servers of which one takes over when another dies.
pub(crate) enum Deployment {
    Cluster(RedisCluster),
    Sentinel(RedisSentinel),
}

/// A process that does not wait long before it looks for a new primary.
pub(crate) fn quick(redis: &mut RedisConfig) {
    redis.reconnect_min = Duration::from_millis(20);
    redis.reconnect_max = Duration::from_millis(200);
}

fn slot(place: Place) -> u16 {
    KeySpace::new("any").key("u", &place.location.bucket.to_string(), &[]).slot()
}

impl Deployment {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "cluster",
            Self::Sentinel(_) => "sentinel",
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Cluster(cluster) => cluster.url(),
            Self::Sentinel(sentinel) => sentinel.url(),
        }
    }

    pub(crate) fn primary_of(&self, place: Place) -> &RedisServer {
        match self {
            Self::Cluster(cluster) => cluster.primary_of(slot(place)).unwrap(),
            Self::Sentinel(sentinel) => sentinel.primary(),
        }
    }

    fn servers(&self) -> &[RedisServer] {
        match self {
            Self::Cluster(cluster) => cluster.nodes(),
            Self::Sentinel(sentinel) => sentinel.servers(),
        }
    }

    /// Returns once everything written so far to the primary has reached a replica: replication keeps
    /// the order, so what is written now arrives last.
    pub(crate) fn replicated(&self, place: Place) {
        let mut control = self.primary_of(place).control();
        let key = format!("mark:{{{}}}", place.location.bucket);
        assert_eq!(control.command(&["SET", &key, "1", "EX", "60"]).unwrap().text(), "OK");
        let reached = control.command(&["WAIT", "1", "5000"]).unwrap();
        assert_ne!(reached.text(), "0", "no replica answers");
    }

    /// Ends replication and keeps it from starting again: the primary asks for a password that its
    /// replicas do not know. Connections that stand already go on, those of the SDK too.
    /// The port of that primary.
    pub(crate) fn cut_replication_of(&self, place: Place) -> u16 {
        let primary = self.primary_of(place);
        let mut control = primary.control();
        let ok = control.command(&["CONFIG", "SET", "requirepass", "unknown"]).unwrap();
        assert_eq!(ok.text(), "OK");
        control.command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
        wait_until("the replicas are gone", PATIENCE, || {
            let info = control.command(&["INFO", "replication"]).unwrap();
            info.text().contains("connected_slaves:0")
        });
        primary.port()
    }

    pub(crate) fn kill_primary_of(&mut self, place: Place) -> Instant {
        let port = self.primary_of(place).port();
        self.kill(port)
    }

    pub(crate) fn kill(&mut self, port: u16) -> Instant {
        match self {
            Self::Cluster(cluster) => cluster.kill(port),
            Self::Sentinel(sentinel) => sentinel.kill(port),
        }
    }

    pub(crate) fn restart_killed(&mut self) {
        match self {
            Self::Cluster(cluster) => cluster.restart_killed(),
            Self::Sentinel(sentinel) => sentinel.restart_killed(),
        }
    }

    /// Returns once another server has taken over from one that hangs.
    pub(crate) fn has_taken_over_from(&self, hanging: &RedisServer) {
        let primaries = match self {
            Self::Cluster(_) => 3,
            Self::Sentinel(_) => 1,
        };
        wait_until("a replica takes over", PATIENCE, || {
            let others = self.servers().iter().filter(|it| it.port() != hanging.port());
            others.filter(|server| follows(server) == Some(false)).count() == primaries
        });
    }

    /// Returns once those that were killed follow those that took over.
    pub(crate) fn is_whole_again(&self) {
        let primaries = match self {
            Self::Cluster(_) => 3,
            Self::Sentinel(_) => 1,
        };
        wait_until("the old primary follows", PATIENCE, || {
            let roles: Vec<bool> = self.servers().iter().filter_map(follows).collect();
            roles.len() == self.servers().len()
                && roles.iter().filter(|follows| !**follows).count() == primaries
        });
    }
}

/// Whether a server follows another one, in step; `None` when it does not know yet.
fn follows(server: &RedisServer) -> Option<bool> {
    let reply = Control::connect(server.port()).ok()?.command(&["INFO", "replication"]).ok()?;
    let Reply::Text(info) = reply else { return None };
    match (info.contains("role:master"), info.contains("master_link_status:up")) {
        (true, _) => Some(false),
        (false, true) => Some(true),
        (false, false) => None,
    }
}
