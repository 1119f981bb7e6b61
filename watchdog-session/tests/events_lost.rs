//! Events of calls whose answers were lost: the script ran, and the caller cannot know.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use watchdog_core::KeyRing;
use watchdog_core::health::CheckReport;
use watchdog_core::testing::RecordingSink;
use watchdog_session::record::Millis;
use watchdog_session::store::{
    Create, Created, EverybodyRevoked, Listing, Reading, Regenerate, Regenerated, Report, Reported,
    Revoke, RevokeAll, RevokeEverybody, Revoked, RevokedAll, Rotate, RotateReply, StoredAttributes,
    StoredEvent, Touch, Touched, Update, Updated, Waiting,
};
use watchdog_session::{
    Client, Error, ErrorKind, Location, MemoryStore, Place, Result, RevokeReason, SessionConfig,
    SessionStore, Sessions, Subject,
};

const NOTHING: u8 = 0;
/// The call is made, and its answer lost.
const ANSWER: u8 = 1;
/// The answer is lost, and the client makes the call once more.
const REPEAT: u8 = 2;

/// A store behind a connection that loses answers.
#[derive(Debug)]
struct Lossy {
    store: MemoryStore,
    loses: AtomicU8,
}

macro_rules! lossy {
    ($self:ident.$call:ident($request:ident)) => {{
        let answer = $self.store.$call($request).await;
        match $self.loses.swap(NOTHING, Ordering::SeqCst) {
            ANSWER => Err(Error::new(ErrorKind::Unavailable, "the answer is lost")),
            REPEAT => $self.store.$call($request).await,
            _ => answer,
        }
    }};
}

#[async_trait]
impl SessionStore for Lossy {
    fn name(&self) -> &'static str {
        "lossy"
    }
    fn now(&self) -> Option<Millis> {
        self.store.now()
    }
    async fn create(&self, request: &Create) -> Result<Created> {
        lossy!(self.create(request))
    }
    async fn read(&self, place: &Place) -> Result<Reading> {
        self.store.read(place).await
    }
    async fn touch(&self, request: &Touch) -> Result<Touched> {
        lossy!(self.touch(request))
    }
    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        lossy!(self.rotate(request))
    }
    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        lossy!(self.revoke(request))
    }
    async fn regenerate(&self, request: &Regenerate) -> Result<Regenerated> {
        lossy!(self.regenerate(request))
    }
    async fn revoke_all(&self, request: &RevokeAll) -> Result<RevokedAll> {
        lossy!(self.revoke_all(request))
    }
    async fn revoke_everybody(&self, request: &RevokeEverybody) -> Result<EverybodyRevoked> {
        lossy!(self.revoke_everybody(request))
    }
    async fn list(&self, location: Location) -> Result<Listing> {
        self.store.list(location).await
    }
    async fn attributes(&self, place: &Place) -> Result<StoredAttributes> {
        self.store.attributes(place).await
    }
    async fn update(&self, request: &Update) -> Result<Updated> {
        lossy!(self.update(request))
    }
    async fn report(&self, request: &Report) -> Result<Reported> {
        lossy!(self.report(request))
    }
    async fn claim(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>> {
        self.store.claim(bucket, consumer, limit, idle).await
    }
    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.store.acknowledge(bucket, handles).await
    }
    async fn postpone(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.store.postpone(bucket, handles).await
    }
    async fn peek(&self, bucket: u16, after: Option<&str>, n: u32) -> Result<Vec<StoredEvent>> {
        self.store.peek(bucket, after, n).await
    }
    async fn backlog(&self, bucket: u16) -> Result<Waiting> {
        self.store.backlog(bucket).await
    }
    async fn check(&self) -> CheckReport {
        self.store.check().await
    }
}

struct Bench {
    store: Arc<Lossy>,
    sink: RecordingSink,
    sessions: Sessions,
}

/// Sessions whose first sweep is over: from now on only a call can wake the delivery.
async fn bench() -> Bench {
    let store = Arc::new(Lossy { store: MemoryStore::new(), loses: AtomicU8::new(NOTHING) });
    let sink = RecordingSink::default();
    let config = SessionConfig { grace: std::time::Duration::ZERO, ..SessionConfig::default() };
    let sessions = Sessions::builder(&KeyRing::ephemeral().unwrap())
        .config(config)
        .store(Arc::clone(&store) as Arc<dyn SessionStore>)
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap();
    let bench = Bench { store, sink, sessions };
    bench.sessions.issue(Subject::user("first"), &client()).await.unwrap();
    // The clock stands, and moves on once every task has done what it can.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    bench
}

impl Bench {
    fn lose(&self, what: u8) {
        self.store.loses.store(what, Ordering::SeqCst);
    }

    /// The last entry that the sink has once the delivery has done what it knows of.
    async fn last(&self) -> String {
        self.sessions.deliver_events().await.unwrap();
        self.sink.entries().pop().unwrap().action
    }
}

fn client() -> Client {
    Client::unknown()
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_is_lost_is_reported() {
    for loss in [ANSWER, REPEAT] {
        let bench = bench().await;
        let user = || Subject::user("alice");
        let issued = bench.sessions.issue(user(), &client()).await.unwrap();
        assert_eq!(bench.last().await, "session.issued");

        bench.lose(loss);
        let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await;
        assert_eq!(rotated.is_err(), loss == ANSWER);
        assert_eq!(bench.last().await, "session.rotated");

        bench.lose(loss);
        let theft = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await;
        assert!(theft.is_err());
        assert_eq!(bench.last().await, "session.refresh_token_reused");

        let issued = bench.sessions.issue(user(), &client()).await.unwrap();
        assert_eq!(bench.last().await, "session.issued");
        bench.lose(loss);
        let revoked = bench.sessions.revoke(&issued.session, RevokeReason::Logout).await;
        assert_eq!(revoked.ok(), (loss == REPEAT).then_some(false));
        assert_eq!(bench.last().await, "session.revoked");

        bench.lose(loss);
        assert_eq!(
            bench.sessions.issue(Subject::user("bob"), &client()).await.is_err(),
            loss == ANSWER
        );
        assert_eq!(bench.last().await, "session.issued");
    }
}

/// A process died between its change and the delivery, and nobody touches the bucket again.
#[tokio::test(start_paused = true)]
async fn a_sweep_delivers_what_a_dead_process_left() {
    let bench = bench().await;
    let before = bench.sink.entries().len();
    let keys = KeyRing::ephemeral().unwrap();
    {
        let dead = Sessions::builder(&keys)
            .store(Arc::clone(&bench.store) as Arc<dyn SessionStore>)
            .audit(Arc::new(RecordingSink::default()))
            .build()
            .unwrap();
        dead.issue(Subject::user("alice"), &client()).await.unwrap();
    }
    bench.sessions.deliver_events().await.unwrap();
    assert_eq!(bench.sink.entries().len(), before);
    bench.sessions.sweep_events().await.unwrap();
    assert_eq!(bench.sink.entries().len(), before + 1);
}
