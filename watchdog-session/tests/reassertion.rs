//! A replica that never heard of the last revocations takes over: the process that made them refuses
//! the sessions itself, and asserts the revocations again.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

#[path = "support/replicated.rs"]
mod replicated;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use watchdog_core::KeyRing;
use watchdog_core::testing::RecordingSink;
use watchdog_session::store::RevokeEverybody;
use watchdog_session::testing::{Sample, events_of, outbox, time_of};
use watchdog_session::{
    Client, ErrorKind, Issued, Location, MismatchAction, RedisStore, Regeneration, Revocation,
    RevokeReason, SessionConfig, SessionId, SessionStore, Sessions, Subject,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

use replicated::Replicated;

const REASON: RevokeReason = RevokeReason::Logout;

/// Two processes on one store.
struct Bench {
    store: Arc<Replicated>,
    /// It revokes.
    one: Sessions,
    other: Sessions,
    sink: RecordingSink,
}

fn bench() -> Bench {
    let store = Arc::new(Replicated::default());
    let keys = KeyRing::ephemeral().unwrap();
    let sink = RecordingSink::default();
    let config =
        SessionConfig { mismatch_action: MismatchAction::Revoke, ..SessionConfig::default() };
    let process = || {
        let builder = Sessions::builder(&keys).config(config.clone());
        builder.store(Arc::clone(&store) as _).audit(Arc::new(sink.clone())).build().unwrap()
    };
    Bench { one: process(), other: process(), sink, store }
}

fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some("Mozilla/5.0 (X11; Linux) Firefox/142.0".into()))
}

fn stranger() -> Client {
    Client::new("203.0.113.9".parse().ok(), Some("curl/8".into()))
}

impl Bench {
    async fn issue(&self, user: &str) -> Issued {
        self.one.issue(Subject::user(user), &client()).await.unwrap()
    }

    /// How `sessions` take session token and refresh token. The access token lives on: there is no
    /// feed of revocations here.
    async fn fate(sessions: &Sessions, issued: &Issued) -> [Option<ErrorKind>; 2] {
        let kind = |error: watchdog_session::Error| error.kind();
        [
            sessions.authenticate(issued.session_token.expose(), &client()).await.err().map(kind),
            sessions.rotate(issued.refresh_token.expose(), &client()).await.err().map(kind),
        ]
    }

    async fn is_alive_at_the_store(&self, issued: &Issued) -> bool {
        let token = issued.session_token.expose();
        self.other.authenticate(token, &client()).await.is_ok()
    }

    /// The primary dies with all that its replica does not have; the session comes back, and this
    /// process does not take it: neither before its connection is made anew nor after.
    async fn loses_and_regains(&self, issued: &Issued) {
        let gone = [Some(ErrorKind::Gone); 2];
        assert_eq!(Self::fate(&self.one, issued).await, gone);
        self.store.fail_over();
        assert!(self.is_alive_at_the_store(issued).await, "nothing was lost");
        assert_eq!(Self::fate(&self.one, issued).await, gone);
        self.store.reconnect();
        // Time is paused: this is over as soon as everybody waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!self.is_alive_at_the_store(issued).await, "it was not asserted again");
        assert_eq!(Self::fate(&self.one, issued).await, gone);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_session_is_revoked_again() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    let by_id = bench.issue("bob").await;
    bench.store.cut();
    assert!(bench.one.revoke(&issued.session, REASON).await.unwrap());
    let id = by_id.session.id();
    assert!(bench.one.revoke_by_id("bob", id, REASON, &client()).await.unwrap());
    bench.loses_and_regains(&issued).await;
    assert!(!bench.is_alive_at_the_store(&by_id).await);
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_user_are_revoked_again_and_later_ones_live() {
    let bench = bench();
    let (first, second) = (bench.issue("alice").await, bench.issue("alice").await);
    bench.store.cut();
    assert_eq!(bench.one.revoke_all("alice", REASON, &client()).await.unwrap(), 2);
    bench.store.fail_over();
    let later = bench.issue("alice").await;
    assert!(bench.is_alive_at_the_store(&second).await);
    bench.store.reconnect();
    tokio::time::sleep(Duration::from_secs(10)).await;
    for ended in [&first, &second] {
        assert!(!bench.is_alive_at_the_store(ended).await);
        assert_eq!(Bench::fate(&bench.one, ended).await, [Some(ErrorKind::Gone); 2]);
    }
    assert_eq!(Bench::fate(&bench.one, &later).await, [None; 2]);
    assert!(bench.is_alive_at_the_store(&later).await);
}

/// The one that stays was exchanged meanwhile: what took its place began when it did, and stays too.
#[tokio::test(start_paused = true)]
async fn the_other_sessions_of_a_user_are_revoked_again() {
    let bench = bench();
    let (kept, ended) = (bench.issue("alice").await, bench.issue("alice").await);
    bench.store.cut();
    let token = kept.session_token.expose();
    let session = bench.one.authenticate(token, &client()).await.unwrap();
    assert_eq!(bench.one.revoke_others(&session, REASON, &client()).await.unwrap(), 1);
    bench.store.fail_over();
    let session = bench.other.authenticate(token, &client()).await.unwrap();
    let exchange = Regeneration::privilege_change();
    let next = bench.other.regenerate(&session, exchange, &client()).await.unwrap();
    bench.loses_nothing_more(&ended).await;
    assert_eq!(Bench::fate(&bench.one, &next).await, [None; 2]);
}

impl Bench {
    async fn loses_nothing_more(&self, ended: &Issued) {
        assert!(self.is_alive_at_the_store(ended).await, "nothing was lost");
        self.store.reconnect();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!self.is_alive_at_the_store(ended).await, "it was not asserted again");
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_is_revoked_again() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.store.cut();
    bench.one.revoke_everybody(REASON, &client()).await.unwrap();
    bench.loses_and_regains(&issued).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_revoked_for_a_theft_is_revoked_again() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    let rotated = bench.one.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    bench.store.cut();
    let theft = bench.one.rotate(issued.refresh_token.expose(), &stranger()).await.unwrap_err();
    assert_eq!(theft.kind(), ErrorKind::Reused, "{theft:?}");
    let error = bench.one.rotate(rotated.refresh_token.expose(), &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    bench.loses_and_regains(&issued).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_revoked_for_its_client_is_revoked_again() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.store.cut();
    let token = issued.session_token.expose();
    let mismatch = bench.one.authenticate(token, &stranger()).await.unwrap_err();
    assert_eq!(mismatch.kind(), ErrorKind::ClientMismatch);
    bench.loses_and_regains(&issued).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_exchanged_is_revoked_again() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    let token = issued.session_token.expose();
    let session = bench.one.authenticate(token, &client()).await.unwrap();
    bench.store.cut();
    let exchange = Regeneration::privilege_change;
    bench.one.regenerate(&session, exchange(), &client()).await.unwrap();
    bench.loses_and_regains(&issued).await;
    // Nor is it exchanged a second time, by whoever holds it still.
    let error = bench.one.regenerate(&session, exchange(), &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
}

/// A process that lost its connections, and a store that lost nothing.
#[tokio::test(start_paused = true)]
async fn on_a_store_that_lost_nothing_nothing_changes() {
    let bench = bench();
    let (issued, kept) = (bench.issue("alice").await, bench.issue("bob").await);
    bench.one.revoke(&issued.session, REASON).await.unwrap();
    bench.one.revoke_all("carol", REASON, &client()).await.unwrap();
    bench.one.revoke_everybody(Revocation::from(REASON), &client()).await.unwrap();
    let later = bench.issue("alice").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.one.deliver_events().await.unwrap();
    let (before, calls) = (bench.sink.entries().len(), bench.store.revocations());
    bench.store.reconnect();
    tokio::time::sleep(Duration::from_secs(20)).await;
    bench.one.deliver_events().await.unwrap();
    assert_eq!(bench.store.revocations(), calls + 6, "each is asserted twice");
    assert_eq!(bench.sink.entries().len(), before);
    assert_eq!(Bench::fate(&bench.one, &later).await, [None; 2]);
    assert!(!bench.is_alive_at_the_store(&kept).await);
}

/// The event says who did it, as the lost one did.
#[tokio::test(start_paused = true)]
async fn the_event_of_a_revocation_made_again_says_by_whom() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.one.deliver_events().await.unwrap();
    bench.store.cut();
    let admin = watchdog_core::audit::Actor::user("root");
    let by = Revocation::by(RevokeReason::Administrator, admin.clone());
    bench.one.revoke(&issued.session, by).await.unwrap();
    bench.loses_and_regains(&issued).await;
    bench.one.deliver_events().await.unwrap();
    let entries = bench.sink.entries();
    let revoked: Vec<_> =
        entries.iter().filter(|entry| entry.action == "session.revoked").collect();
    assert!(!revoked.is_empty());
    assert!(revoked.iter().all(|entry| entry.actor == admin), "{revoked:?}");
}

/// Nobody answers for an hour: what was young when that began is asserted at its end.
#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_does_not_let_a_revocation_be_forgotten() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.store.cut();
    bench.one.revoke(&issued.session, REASON).await.unwrap();
    bench.store.fail_over();
    bench.store.set_reachable(false);
    bench.store.reconnect();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    bench.store.set_reachable(true);
    assert_eq!(Bench::fate(&bench.one, &issued).await, [Some(ErrorKind::Gone); 2]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!bench.is_alive_at_the_store(&issued).await);
}

/// The first new connection leads to a primary that is replaced a moment later.
#[tokio::test(start_paused = true)]
async fn a_second_step_of_a_failover_is_not_missed() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.store.cut();
    bench.one.revoke(&issued.session, REASON).await.unwrap();
    bench.store.reconnect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.store.fail_over();
    assert!(bench.is_alive_at_the_store(&issued).await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!bench.is_alive_at_the_store(&issued).await);
}

/// After a minute a revocation is asserted a last time; then nobody thinks of it any more.
#[tokio::test(start_paused = true)]
async fn a_revocation_is_forgotten_after_a_minute() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    let start = Instant::now();
    bench.one.revoke(&issued.session, REASON).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(bench.store.revocations(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.store.revocations(), 2);
    bench.store.reconnect();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.store.revocations(), 2, "after {:?}", start.elapsed());
    // And the next one is remembered again.
    let next = bench.issue("alice").await;
    bench.store.cut();
    bench.one.revoke(&next.session, REASON).await.unwrap();
    bench.loses_and_regains(&next).await;
}

/// What only somebody claims to be a session takes no room: its id is known to nobody.
#[tokio::test(start_paused = true)]
async fn an_unknown_id_is_not_remembered() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    let id = issued.session.id();
    assert!(!bench.one.revoke_by_id("mallory", id, REASON, &client()).await.unwrap());
    bench.store.reconnect();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.store.revocations(), 1);
    assert_eq!(Bench::fate(&bench.one, &issued).await, [None; 2]);
}

/// A revocation that failed is not remembered: the caller has the error.
#[tokio::test(start_paused = true)]
async fn a_revocation_that_failed_is_not_remembered() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.store.set_reachable(false);
    let error = bench.one.revoke(&issued.session, REASON).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    bench.store.set_reachable(true);
    assert_eq!(Bench::fate(&bench.one, &issued).await, [None; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_sessions() {
    let bench = bench();
    let issued = bench.issue("alice").await;
    bench.one.revoke(&issued.session, REASON).await.unwrap();
    let Bench { store, one, other, .. } = bench;
    drop((one, other));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let calls = store.revocations();
    store.reconnect();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(store.revocations(), calls);
    assert_eq!(Arc::strong_count(&store), 1, "somebody keeps it");
}

/// What one bucket after the other is told: asserted again, the end of everybody's sessions spares who
/// came later, and changes nothing where nothing was lost.
#[tokio::test]
async fn the_end_of_everybody_asserted_again_spares_later_sessions() {
    let Some(server) = shared() else { return };
    let mut config = RedisConfig::from_url(&server.url()).unwrap();
    config.key_prefix = format!("again-{}", SessionId::random().unwrap());
    let store = RedisStore::new(Redis::connect(&config).await.unwrap());
    let now = time_of(&store).await;
    let location = Location { bucket: 0, user: [0; 16] };
    let [old, later] = [20, 10].map(|age| Sample::new(location, now).older_by(age));
    for sample in [&old, &later] {
        store.create(&sample.create(9)).await.unwrap();
    }
    let (reason, lifetime, nonce) = ("administrator", 1_000, [7; 8]);
    let again = |up_to| {
        let outbox = Some(outbox());
        RevokeEverybody { reason, lifetime, nonce, up_to: Some(up_to), outbox }
    };
    for up_to in [now - 20, now - 20, now - 30] {
        let revoked = store.revoke_everybody(&again(up_to)).await.unwrap();
        assert_eq!(revoked.up_to, now - 20);
        let reading = store.read(&old.place).await.unwrap();
        assert_eq!(reading.not_before, now - 20);
    }
    let told = events_of(&store, location).await;
    let told = told.iter().filter(|event| event.action == "everybody_revoked");
    assert_eq!(told.count(), 1);
    // A call of its own, with the same mark, is no repeat of these.
    let first = RevokeEverybody { up_to: None, ..again(0) };
    let revoked = store.revoke_everybody(&first).await.unwrap();
    assert!(revoked.up_to > now && revoked.up_to <= revoked.now + 100, "{revoked:?}");
    let repeated = store.revoke_everybody(&first).await.unwrap();
    assert_eq!(repeated.up_to, revoked.up_to);
}
