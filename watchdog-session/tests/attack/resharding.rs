//! A bucket moves to another shard of a Cluster, key by key, while its sessions are in use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use watchdog_core::audit::{AuditSink, Entry};
use watchdog_core::testing::RecordingSink;
use watchdog_session::{
    BUCKETS, ErrorKind, Issued, Regeneration, Result, RevokeReason, SessionConfig, SessionId,
    Sessions, Subject, Verdict,
};
use watchdog_storage::redis::KeySpace;
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{RedisCluster, RedisServer, Reply, is_available};

use crate::rig::{Dice, Rig, client, connect, sessions_in};

/// Longest time after the move until everybody is served again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long each step of the move is looked at.
const STEP: Duration = Duration::from_millis(60);

/// How long a user waits between two calls.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes nothing before it is opened: until then no stream becomes empty and with it disappears.
#[derive(Clone, Debug, Default)]
struct Gate {
    is_open: Arc<AtomicBool>,
    taken: RecordingSink,
}

#[async_trait]
impl AuditSink for Gate {
    async fn record(&self, entry: Entry) -> watchdog_core::Result<()> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(watchdog_core::Error::new(watchdog_core::ErrorKind::Unavailable, "shut"));
        }
        self.taken.record(entry).await
    }
}

#[derive(Debug, Default)]
struct Counts {
    granted: AtomicU64,
    ended: AtomicU64,
    unavailable: AtomicU64,
    longest_call_ms: AtomicU64,
}

/// Users of a process, until they are told to stop.
#[derive(Clone)]
struct Load {
    sessions: Sessions,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The answer, if there is one; nothing else than an unavailable store may be in its way.
    async fn ask<T>(&self, call: impl Future<Output = Result<T>>) -> Option<T> {
        let start = Instant::now();
        let answer = call.await;
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap();
        self.counts.longest_call_ms.fetch_max(millis, Ordering::Relaxed);
        match answer {
            Ok(answer) => Some(answer),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.counts.unavailable.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(error) => panic!("{error:?}: {:?}", std::error::Error::source(&error)),
        }
    }

    /// Refreshes without pause.
    async fn browse(self, issued: Issued) -> String {
        let mut token = issued.refresh_token.expose().to_owned();
        while !self.is_over() {
            tokio::time::sleep(PAUSE).await;
            if let Some(rotated) = self.ask(self.sessions.rotate(&token, &client())).await {
                rotated.refresh_token.expose().clone_into(&mut token);
                self.counts.granted.fetch_add(1, Ordering::Relaxed);
            }
        }
        token
    }

    /// Logs in and ends what it has, one way or the other. Answers what was ended for sure.
    async fn come_and_go(self, user: String, mut dice: Dice) -> Vec<SessionId> {
        let mut ended = Vec::new();
        while !self.is_over() {
            tokio::time::sleep(PAUSE).await;
            let issued = self.ask(self.sessions.issue(Subject::user(&*user), &client())).await;
            let Some(issued) = issued else { continue };
            let session = &issued.session;
            if dice.roll(2) == 0 {
                self.ask(self.sessions.insert(session, "cart", &7)).await;
            }
            let is_ended = match dice.roll(5) {
                0 => {
                    let change = Regeneration::privilege_change();
                    self.ask(self.sessions.regenerate(session, change, &client())).await.is_some()
                }
                1 => {
                    let from = client();
                    let all = self.sessions.revoke_all(&user, RevokeReason::User, &from);
                    self.ask(all).await.is_some()
                }
                // A later login evicts it.
                2 => false,
                _ => self.ask(self.sessions.revoke(session, RevokeReason::Logout)).await.is_some(),
            };
            if is_ended {
                self.counts.ended.fetch_add(1, Ordering::Relaxed);
                ended.push(session.id());
            }
        }
        ended
    }
}

/// Users whose sessions are all in one bucket, and that bucket.
fn neighbours(rig: &Rig, count: usize) -> (u16, Vec<String>) {
    let locator = rig.keys.secret.mac("session/location/v1").unwrap();
    let bucket = |user: &str| {
        let tag = locator.tag(user.as_bytes());
        u16::from_be_bytes([tag[16], tag[17]]) % BUCKETS
    };
    let home = bucket("user-0");
    let users = (0..).map(|user| format!("user-{user}")).filter(|user| bucket(user) == home);
    (home, users.take(count).collect())
}

fn ok(server: &RedisServer, command: &[&str]) {
    assert_eq!(server.command(command).text(), "OK", "{command:?}");
}

/// Moves a slot to another primary: first the keys of some kinds, with a pause, then the others. Every
/// key is looked at on its way for a while.
async fn move_slot(cluster: &RedisCluster, slot: u16, first: &[&str]) {
    let source = cluster.primary_of(slot).unwrap();
    let elsewhere = [100, 8_000, 16_000].map(|slot| cluster.primary_of(slot).unwrap());
    let target = elsewhere.iter().find(|node| node.port() != source.port()).unwrap();
    let id = |node: &RedisServer| node.command(&["CLUSTER", "MYID"]).text().to_owned();
    let (from, to, number) = (id(source), id(target), slot.to_string());
    ok(target, &["CLUSTER", "SETSLOT", &number, "IMPORTING", &from]);
    ok(source, &["CLUSTER", "SETSLOT", &number, "MIGRATING", &to]);
    let is_first = |key: &str| first.iter().any(|kind| key.contains(&format!(":{kind}:{{")));
    tokio::time::sleep(STEP).await;
    let port = target.port().to_string();
    loop {
        let Reply::List(left) = source.command(&["CLUSTER", "GETKEYSINSLOT", &number, "1000"])
        else {
            panic!("no list of keys");
        };
        let left: BTreeSet<_> = left.iter().map(|key| key.text().to_owned()).collect();
        let key = left.iter().find(|key| is_first(key)).or(left.first());
        let Some(key) = key else { break };
        if !is_first(key) {
            tokio::time::sleep(STEP).await;
        }
        let moved = source.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        assert!(["OK", "NOKEY"].contains(&moved.text()), "{key}: {moved:?}");
        tokio::time::sleep(STEP / 4).await;
    }
    for node in [*target, source].into_iter().chain(elsewhere) {
        ok(node, &["CLUSTER", "SETSLOT", &number, "NODE", &to]);
    }
}

/// What ends a session says so, and what says so has ended it.
fn holds_what_was_told(prefix: &str, server: &RedisServer, entries: &[Entry], ended: &[SessionId]) {
    let (mut begun, mut over, mut marked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let id = entry.resource.id.clone();
        match &*entry.action {
            "session.issued" => drop(begun.insert(id)),
            "session.rotated" | "session.grace_used" => {}
            // All of a user at once have one mark.
            "session.revoked" if entry.details["reason"] == "user" => drop(over.insert(id)),
            "session.regenerated" | "session.revoked" | "session.evicted" => {
                if let Some(successor) = entry.details.get("successor") {
                    begun.insert(successor.as_str().unwrap().to_owned());
                }
                marked.insert(id.clone());
                over.insert(id);
            }
            other => panic!("{other}"),
        }
    }
    assert!(ended.iter().all(|id| over.contains(&id.to_string())), "an end nobody was told of");
    let keys = |kind: &str| {
        let pattern = format!("{prefix}:{kind}:*");
        let Reply::List(keys) = server.command(&["KEYS", &pattern]) else { panic!("no list") };
        keys.iter().map(|key| key.text().to_owned()).collect::<Vec<_>>()
    };
    let mut living = BTreeSet::new();
    for key in keys("u") {
        living.extend(sessions_in(&mut server.control(), &key));
    }
    let told: BTreeSet<_> = begun.difference(&over).cloned().collect();
    assert_eq!(living, told, "sessions and their events");
    for key in keys("d") {
        assert!(living.contains(key.rsplit(':').next().unwrap()), "attributes of nobody: {key}");
    }
    let marks = server.command(&["ZRANGE", &keys("rv")[0], "0", "-1"]);
    let Reply::List(marks) = marks else { panic!("no list") };
    let marks: BTreeSet<_> =
        marks.iter().filter_map(|mark| mark.text().split(':').nth(1).map(str::to_owned)).collect();
    assert!(marked.is_subset(&marks) && marks.contains("*"), "ends without a mark");
}

/// Twice: once the keys that scripts derive go first, once those that scripts are given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the counts are the result")]
async fn t50_a_bucket_that_moves_to_another_shard_loses_nothing() {
    if !is_available() {
        return;
    }
    let cluster = RedisCluster::start();
    let config = SessionConfig { concurrent_limit: 2, ..SessionConfig::default() };
    let rig = Rig::start(&cluster.url(), config).await;
    let (bucket, users) = neighbours(&rig, 6);
    let slot = KeySpace::new("any").key("u", &bucket.to_string(), &[]).slot();
    // Everybody was revoked long ago: scripts find all the keys that they are given.
    let stamp = format!("{}:g:{{{bucket}}}", rig.prefix);
    ok(cluster.primary_of(slot).unwrap(), &["SET", &stamp, "1"]);
    let gate = Gate::default();
    let sessions = Sessions::builder(&rig.keys)
        .config(rig.config.clone())
        .store(Arc::new(connect(&cluster.url(), &rig.prefix, |_| ()).await))
        .audit(Arc::new(gate.clone()))
        .build()
        .unwrap();
    let load = Load { sessions, counts: Arc::default(), stop: Arc::default() };
    let (mut browsers, mut others) = (Vec::new(), Vec::new());
    for (seed, user) in (0..).zip(&users) {
        if seed < 2 {
            let issued = load.sessions.issue(Subject::user(&**user), &client()).await.unwrap();
            browsers.push((issued.clone(), tokio::spawn(load.clone().browse(issued))));
        } else {
            others.push(tokio::spawn(load.clone().come_and_go(user.clone(), Dice::new(seed))));
        }
    }
    let counts = &load.counts;
    for first in [["d", "rv"], ["u", "ev"]] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        move_slot(&cluster, slot, &first).await;
        eventually("everybody is served again", PATIENCE, async || {
            let before = counts.ended.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            counts.ended.load(Ordering::Relaxed) > before + 5
        })
        .await;
    }
    load.stop.store(true, Ordering::Relaxed);
    for (issued, browser) in browsers {
        let token = browser.await.unwrap();
        let next = load.sessions.rotate(&token, &client()).await.unwrap();
        assert!(matches!(next.verdict, Verdict::Rotated | Verdict::Grace));
        let session = issued.session_token.expose();
        assert!(load.sessions.authenticate(session, &client()).await.is_ok());
    }
    let mut ended = Vec::new();
    for other in others {
        ended.extend(other.await.unwrap());
    }
    println!("{counts:?}");
    assert!(counts.unavailable.load(Ordering::Relaxed) > 20, "nothing was in the way");
    assert!(counts.longest_call_ms.load(Ordering::Relaxed) < 3_000);
    gate.is_open.store(true, Ordering::Relaxed);
    load.sessions.deliver_events().await.unwrap();
    let server = cluster.primary_of(slot).unwrap();
    holds_what_was_told(&rig.prefix, server, &gate.taken.entries(), &ended);
}
