//! A Redis Cluster of three primaries, each with one replica.

use std::time::{Duration, Instant};

use super::{Control, RedisServer, Reply};
use crate::testing::wait_until;

/// How long the nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// The last slot of each primary.
const SLOTS: [[&str; 2]; 3] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];

/// A Cluster of six servers; a node that does not answer for a second is replaced.
#[derive(Debug)]
pub struct RedisCluster {
    /// The first three begin as primaries, the others as the replica of each.
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts six servers and joins them; takes about two seconds.
    ///
    /// # Panics
    ///
    /// When they do not start or do not find each other.
    pub fn start() -> Self {
        let settings = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-announce-ip",
            "127.0.0.1",
        ];
        let nodes: Vec<RedisServer> = (0..6).map(|_| RedisServer::start_with(&settings)).collect();
        let cluster = Self { nodes };
        cluster.join();
        cluster
    }

    fn join(&self) {
        let (first, others) = (&self.nodes[0], &self.nodes[1..]);
        for (node, [from, to]) in self.nodes.iter().zip(SLOTS) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
        }
        for (node, epoch) in self.nodes.iter().zip(["1", "2", "3", "4", "5", "6"]) {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", epoch]);
        }
        for node in others {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &first.port().to_string()]);
        }
        for (primary, replica) in self.nodes[..3].iter().zip(&self.nodes[3..]) {
            let id = primary.command(&["CLUSTER", "MYID"]).text().to_owned();
            wait_until("the replica knows its primary", PATIENCE, || {
                let answer = replica.control().command(&["CLUSTER", "REPLICATE", &id]);
                matches!(answer, Ok(Reply::Text(ok)) if ok == "OK")
            });
        }
        wait_until("the cluster is whole", PATIENCE, || self.is_whole());
    }

    /// Whether every node sees every slot served, and every replica follows.
    fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| {
            let info = node.command(&["CLUSTER", "INFO"]);
            let known = info.text().contains("cluster_known_nodes:6");
            let slots = node.command(&["CLUSTER", "SLOTS"]);
            let Reply::List(ranges) = &slots else { return false };
            // Each range: first, last, primary, replica.
            let replicated = ranges.len() == 3
                && ranges
                    .iter()
                    .all(|range| matches!(range, Reply::List(parts) if parts.len() == 4));
            let role = node.command(&["INFO", "replication"]);
            let follows = role.text().contains("role:master")
                || role.text().contains("master_link_status:up");
            info.text().contains("cluster_state:ok") && known && replicated && follows
        })
    }

    /// The URL with the first node and two more.
    pub fn url(&self) -> String {
        let ports: Vec<u16> = self.nodes.iter().map(RedisServer::port).collect();
        format!(
            "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}&node=127.0.0.1:{}",
            ports[0], ports[1], ports[3]
        )
    }

    /// The nodes, those that were killed included.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The primary that serves a slot, as the others see it; `None` while there is none.
    pub fn primary_of(&self, slot: u16) -> Option<&RedisServer> {
        let mut control = self.living().find_map(|node| Control::connect(node.port()).ok())?;
        let Reply::List(ranges) = control.command(&["CLUSTER", "SLOTS"]).ok()? else { return None };
        let port = ranges.iter().find_map(|range| owner(range, slot))?;
        self.nodes.iter().find(|node| node.port() == port)
    }

    /// Kills the primary that serves a slot. Its replica takes over in about 2.5 s; this returns
    /// at once.
    ///
    /// # Panics
    ///
    /// When the slot has no primary.
    #[expect(clippy::expect_used, reason = "a test states what it expects")]
    pub fn kill_primary_of(&mut self, slot: u16) -> Instant {
        let port = self.primary_of(slot).expect("the slot has a primary").port();
        self.kill(port)
    }

    /// Kills the node on a port.
    pub fn kill(&mut self, port: u16) -> Instant {
        for node in self.nodes.iter_mut().filter(|node| node.port() == port) {
            node.kill();
        }
        Instant::now()
    }

    /// Starts the nodes again that were killed, empty: they come back as replicas of those that took
    /// over. This returns once they run, before they have found the others.
    ///
    /// # Panics
    ///
    /// When they do not start.
    pub fn restart_killed(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| !node.process().is_running()) {
            node.restart();
        }
    }

    fn living(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().filter(|node| node.process().is_running())
    }
}

/// The port of the primary, when the slot is in the range.
fn owner(range: &Reply, slot: u16) -> Option<u16> {
    let Reply::List(parts) = range else { return None };
    let [first, last, Reply::List(primary), ..] = parts.as_slice() else { return None };
    let bounds = first.text().parse().ok()?..=last.text().parse().ok()?;
    bounds.contains(&slot).then(|| primary[1].text().parse().ok())?
}
