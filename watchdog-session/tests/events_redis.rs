//! The outbox in Redis: what it holds, how full it gets, and what a delivery costs.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use watchdog_core::audit::{Entry, Outcome};
use watchdog_core::health::Status;
use watchdog_core::testing::RecordingSink;
use watchdog_core::{AuditSink, HealthCheck as _, KeyRing};
use watchdog_session::store::Waiting;
use watchdog_session::testing::{Sample, random_location, time_of};
use watchdog_session::{
    Client, ErrorKind, RedisStore, RevokeReason, SessionStore, Sessions, Subject,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, Reply, is_available};

const LONG: Duration = Duration::from_secs(3600);

/// A sink that can be down.
#[derive(Clone, Debug, Default)]
struct Gate {
    is_down: Arc<AtomicBool>,
    taken: RecordingSink,
}

#[async_trait]
impl AuditSink for Gate {
    async fn record(&self, entry: Entry) -> watchdog_core::Result<()> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(watchdog_core::Error::new(watchdog_core::ErrorKind::Unavailable, "down"));
        }
        self.taken.record(entry).await
    }
}

async fn store(url: &str) -> RedisStore {
    RedisStore::new(Redis::connect(&RedisConfig::from_url(url).unwrap()).await.unwrap())
}

async fn sessions(server: &RedisServer, sink: &Gate) -> Sessions {
    Sessions::builder(&KeyRing::ephemeral().unwrap())
        .store(Arc::new(store(&server.url()).await))
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap()
}

fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    match server.command(&["KEYS", pattern]) {
        Reply::List(keys) => keys.iter().map(|key| key.text().to_owned()).collect(),
        other => unreachable!("{other:?}"),
    }
}

fn number(server: &RedisServer, command: &[&str]) -> u64 {
    server.command(command).text().parse().unwrap()
}

/// More copies of the first event of a stream.
fn fill(server: &RedisServer, stream: &str, copies: u64) {
    let script = "local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][2]
        for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', unpack(first)) end
        return redis.call('XLEN', KEYS[1])";
    server.command(&["EVAL", script, "1", stream, &copies.to_string()]);
}

#[tokio::test]
async fn t52_with_the_outbox_full_sessions_work_and_memory_is_bounded() {
    if !is_available() {
        return;
    }
    let (server, sink) = (RedisServer::start(), Gate::default());
    let (sessions, client) = (sessions(&server, &sink).await, Client::unknown());
    sink.is_down.store(true, Ordering::SeqCst);
    let issued = sessions.issue(Subject::user("alice"), &client).await.unwrap();
    let streams = keys(&server, "wd:ev:*");
    let [stream] = &*streams else { unreachable!("{streams:?}") };
    let dropped = stream.replace(":ev:", ":ed:");
    fill(&server, stream, 4095);
    let length = || number(&server, &["XLEN", stream]);
    assert_eq!(length(), 4096);

    let mut token = issued.refresh_token;
    for _ in 0..5 {
        token = sessions.rotate(token.expose(), &client).await.unwrap().refresh_token;
    }
    sessions.authenticate(issued.session_token.expose(), &client).await.unwrap();
    let other = sessions.issue(Subject::user("alice"), &client).await.unwrap();
    assert_eq!((length(), number(&server, &["GET", &dropped])), (4096, 6));
    // There is room left for what somebody will ask for.
    assert!(sessions.revoke(&other.session, RevokeReason::Logout).await.unwrap());
    assert_eq!((length(), number(&server, &["GET", &dropped])), (4097, 6));
    fill(&server, stream, 4095);
    assert!(sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
    assert_eq!((length(), number(&server, &["GET", &dropped])), (8192, 7));

    assert!(sessions.deliver_events().await.is_err());
    let report = sessions.health().check().await;
    assert_eq!(report.status, Status::Warn);
    assert!(report.output.unwrap().contains("dropped"));

    sink.is_down.store(false, Ordering::SeqCst);
    sessions.deliver_events().await.unwrap();
    let entries = sink.taken.entries();
    assert_eq!(entries.len(), 8193);
    let told: Vec<_> =
        entries.iter().filter(|entry| entry.action == "session.events_dropped").collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].outcome, &told[0].details["count"]), (Outcome::Failure, &7.into()));
    assert_eq!(keys(&server, "wd:e[vd]:*"), [""; 0]);
    assert_eq!(sessions.health().check().await.status, Status::Pass);
}

/// An empty stream has no time to live: 1024 of them would stay for ever.
#[tokio::test]
async fn a_delivered_bucket_leaves_no_key() {
    if !is_available() {
        return;
    }
    let (server, sink) = (RedisServer::start(), Gate::default());
    let sessions = sessions(&server, &sink).await;
    for user in 0..20 {
        let user = Subject::user(format!("user-{user}"));
        sessions.issue(user, &Client::unknown()).await.unwrap();
    }
    sessions.deliver_events().await.unwrap();
    assert_eq!(sink.taken.entries().len(), 20);
    assert_eq!(keys(&server, "wd:e[vd]:*"), [""; 0]);
    // Nor does a claim that finds nothing.
    let store = store(&server.url()).await;
    assert_eq!(store.claim(5, "a", 10, LONG).await.unwrap(), []);
    store.acknowledge(5, &["1-1"]).await.unwrap();
    store.postpone(5, &["1-1"]).await.unwrap();
    assert_eq!(keys(&server, "wd:e[vd]:*"), [""; 0]);
}

/// A sweep of nothing costs two plain reads a bucket, and no script.
#[tokio::test]
async fn a_sweep_costs_two_reads_a_bucket() {
    if !is_available() {
        return;
    }
    let (server, sink) = (RedisServer::start(), Gate::default());
    let sessions = sessions(&server, &sink).await;
    let before = server.calls();
    sessions.sweep_events().await.unwrap();
    let mut after = server.calls();
    for (name, calls) in &mut after {
        *calls -= before.get(name).copied().unwrap_or(0);
    }
    after.retain(|name, calls| *calls > 0 && name != "info");
    assert_eq!(Vec::from_iter(after), [("get".to_owned(), 1024), ("xlen".to_owned(), 1024)]);
}

/// A bucket with some events of one user.
async fn left(store: &RedisStore, events: u32) -> u16 {
    let location = random_location();
    for _ in 0..events {
        let sample = Sample::new(location, time_of(store).await);
        store.create(&sample.create(events)).await.unwrap();
    }
    location.bucket
}

/// The claim ran, its answer was lost, and the client made it again.
#[tokio::test]
async fn a_claim_whose_reply_is_lost_strands_nothing() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let store = store(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    let bucket = left(&store, 5).await;
    assert_eq!(store.claim(bucket, "a", 1, LONG).await.unwrap().len(), 1);
    proxy.set(Fault::LoseReply);
    let claimed = store.claim(bucket, "a", 3, LONG).await.unwrap();
    assert_eq!((claimed.len(), proxy.lost_replies()), (3, 1));
    let handles: Vec<_> = claimed.iter().map(|stored| &*stored.handle).collect();
    proxy.set(Fault::LoseReply);
    store.acknowledge(bucket, &handles).await.unwrap();
    assert_eq!(proxy.lost_replies(), 2);
    assert_eq!(store.backlog(bucket).await.unwrap(), Waiting { events: 2, dropped: 0 });
    assert_eq!(store.claim(bucket, "a", 9, LONG).await.unwrap().len(), 2);
}

/// The release before reads without a group, deletes without acknowledging, and leaves the empty
/// stream behind.
#[tokio::test]
async fn a_process_of_the_release_before_may_deliver_beside() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let store = store(&server.url()).await;
    let bucket = left(&store, 3).await;
    let stream = format!("wd:ev:{{{bucket}}}");
    let claimed = store.claim(bucket, "a", 2, LONG).await.unwrap();
    server.command(&["XDEL", &stream, &claimed[0].handle]);
    let again = store.claim(bucket, "a", 9, LONG).await.unwrap();
    assert_eq!((again.len(), &again[0]), (2, &claimed[1]));
    assert_eq!(number(&server, &["XLEN", &stream]), 2);
    let Reply::List(pending) = server.command(&["XPENDING", &stream, "audit"]) else {
        unreachable!("a summary is a list")
    };
    assert_eq!(pending[0].text(), "2", "what was deleted is held by nobody");
    for stored in &again {
        server.command(&["XDEL", &stream, &stored.handle]);
    }
    assert_eq!(keys(&server, "wd:ev:*"), [&*stream]);
    assert_eq!(store.claim(bucket, "a", 9, LONG).await.unwrap(), []);
    assert_eq!(keys(&server, "wd:ev:*"), [""; 0]);
}

/// Each process that starts is a consumer; a stream that is never empty must not collect them.
#[tokio::test]
async fn consumers_that_hold_nothing_are_forgotten() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let store = store(&server.url()).await;
    let bucket = left(&store, 2).await;
    let stream = format!("wd:ev:{{{bucket}}}");
    let consumers = || match server.command(&["XINFO", "CONSUMERS", &stream, "audit"]) {
        Reply::List(consumers) => consumers.len(),
        other => unreachable!("{other:?}"),
    };
    for consumer in 0..10 {
        let name = format!("dead-{consumer}");
        assert_eq!(store.claim(bucket, &name, 9, Duration::ZERO).await.unwrap().len(), 2);
        assert_eq!(consumers(), 1);
        assert_eq!(store.claim(bucket, "idle", 9, LONG).await.unwrap(), []);
        assert_eq!(consumers(), 1);
    }
}

/// A process that ends while Redis does not answer ends all the same.
#[tokio::test]
async fn a_delivery_does_not_hang_when_redis_is_down() {
    if !is_available() {
        return;
    }
    let (server, sink) = (RedisServer::start(), Gate::default());
    let sessions = sessions(&server, &sink).await;
    sink.is_down.store(true, Ordering::SeqCst);
    for user in 0..2 {
        let user = Subject::user(format!("user-{user}"));
        sessions.issue(user, &Client::unknown()).await.unwrap();
    }
    server.pause();
    let started = Instant::now();
    let error = sessions.deliver_events().await.unwrap_err();
    let took = started.elapsed();
    server.resume();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(took < Duration::from_secs(11), "{took:?}");
    sink.is_down.store(false, Ordering::SeqCst);
    sessions.deliver_events().await.unwrap();
    assert_eq!(sink.taken.entries().len(), 2);
}

/// An event of the next release waits for a process of that release, and keeps nobody else waiting.
#[tokio::test]
async fn an_event_of_a_newer_release_is_left_for_it() {
    if !is_available() {
        return;
    }
    let (server, sink) = (RedisServer::start(), Gate::default());
    let sessions = sessions(&server, &sink).await;
    server.command(&["XADD", "wd:ev:{7}", "*", "v", "2", "something", "new"]);
    let store = store(&server.url()).await;
    let mut location = random_location();
    location.bucket = 7;
    let sample = Sample::new(location, time_of(&store).await);
    store.create(&sample.create(5)).await.unwrap();
    sessions.sweep_events().await.unwrap();
    assert_eq!(sink.taken.entries().len(), 1);
    assert_eq!(store.backlog(7).await.unwrap().events, 1);
    assert_eq!(sessions.health().check().await.status, Status::Pass);
    assert_eq!(store.claim(7, "newer", 9, LONG).await.unwrap(), []);
    let claimed = store.claim(7, "newer", 9, Duration::ZERO).await.unwrap();
    assert_eq!((claimed.len(), &claimed[0].event), (1, &None));
}
