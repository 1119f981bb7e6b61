//! A primary and its replica in the memory of the test, and a connection that tells when it was made
//! anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use watchdog_core::health::CheckReport;
use watchdog_core::testing::ManualClock;
use watchdog_core::{Clock, SystemClock};
use watchdog_session::record::Millis;
use watchdog_session::store::{
    Create, Created, EverybodyRevoked, Listing, Reading, Regenerate, Regenerated, Report, Reported,
    Revoke, RevokeAll, RevokeEverybody, Revoked, RevokedAll, Rotate, RotateReply, StoredAttributes,
    StoredEvent, Touch, Touched, Update, Updated, Waiting,
};
use watchdog_session::{Error, ErrorKind, Location, MemoryStore, Place, Result, SessionStore};

/// Two servers of which the second gets what the first is told, until the link is cut.
#[derive(Debug)]
pub(crate) struct Replicated {
    clock: ManualClock,
    primary: Arc<MemoryStore>,
    replica: Arc<MemoryStore>,
    is_cut: AtomicBool,
    is_replaced: AtomicBool,
    is_reachable: AtomicBool,
    revocations: AtomicU32,
    reconnections: watch::Sender<u64>,
}

impl Default for Replicated {
    fn default() -> Self {
        let clock = ManualClock::new(SystemClock.now());
        let store = || Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
        Self {
            primary: store(),
            replica: store(),
            clock,
            is_cut: AtomicBool::new(false),
            is_replaced: AtomicBool::new(false),
            is_reachable: AtomicBool::new(true),
            revocations: AtomicU32::new(0),
            reconnections: watch::Sender::new(0),
        }
    }
}

impl Replicated {
    /// From now on the replica gets nothing.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// The replica takes over, after a while.
    pub(crate) fn fail_over(&self) {
        self.clock.advance(Duration::from_secs(2));
        self.is_replaced.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set_reachable(&self, is_reachable: bool) {
        self.is_reachable.store(is_reachable, Ordering::SeqCst);
    }

    /// A connection is made anew.
    pub(crate) fn reconnect(&self) {
        self.reconnections.send_modify(|count| *count += 1);
    }

    /// How many calls there were that end sessions.
    pub(crate) fn revocations(&self) -> u32 {
        self.revocations.load(Ordering::SeqCst)
    }

    fn count(&self) {
        self.revocations.fetch_add(1, Ordering::SeqCst);
    }

    fn server(&self) -> Result<&MemoryStore> {
        if !self.is_reachable.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "nobody answers"));
        }
        let is_replaced = self.is_replaced.load(Ordering::SeqCst);
        Ok(if is_replaced { &self.replica } else { &self.primary })
    }

    /// Who is told the same, and does not answer.
    fn follower(&self) -> Option<&MemoryStore> {
        let is_alone =
            self.is_cut.load(Ordering::SeqCst) || self.is_replaced.load(Ordering::SeqCst);
        (!is_alone).then_some(&*self.replica)
    }
}

macro_rules! replicated {
    ($self:ident.$call:ident($request:ident)) => {{
        let answer = $self.server()?.$call($request).await;
        if let Some(follower) = $self.follower() {
            let _ = follower.$call($request).await;
        }
        answer
    }};
}

#[async_trait]
impl SessionStore for Replicated {
    fn name(&self) -> &'static str {
        "replicated"
    }
    fn now(&self) -> Option<Millis> {
        self.primary.now()
    }
    async fn create(&self, request: &Create) -> Result<Created> {
        replicated!(self.create(request))
    }
    async fn read(&self, place: &Place) -> Result<Reading> {
        self.server()?.read(place).await
    }
    async fn touch(&self, request: &Touch) -> Result<Touched> {
        replicated!(self.touch(request))
    }
    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        replicated!(self.rotate(request))
    }
    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.count();
        replicated!(self.revoke(request))
    }
    async fn regenerate(&self, request: &Regenerate) -> Result<Regenerated> {
        replicated!(self.regenerate(request))
    }
    async fn revoke_all(&self, request: &RevokeAll) -> Result<RevokedAll> {
        self.count();
        replicated!(self.revoke_all(request))
    }
    async fn revoke_everybody(&self, request: &RevokeEverybody) -> Result<EverybodyRevoked> {
        self.count();
        replicated!(self.revoke_everybody(request))
    }
    async fn list(&self, location: Location) -> Result<Listing> {
        self.server()?.list(location).await
    }
    async fn attributes(&self, place: &Place) -> Result<StoredAttributes> {
        self.server()?.attributes(place).await
    }
    async fn update(&self, request: &Update) -> Result<Updated> {
        replicated!(self.update(request))
    }
    async fn report(&self, request: &Report) -> Result<Reported> {
        replicated!(self.report(request))
    }
    async fn claim(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>> {
        self.server()?.claim(bucket, consumer, limit, idle).await
    }
    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.server()?.acknowledge(bucket, handles).await
    }
    async fn postpone(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.server()?.postpone(bucket, handles).await
    }
    async fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Result<Vec<StoredEvent>> {
        self.server()?.peek(bucket, after, limit).await
    }
    async fn backlog(&self, bucket: u16) -> Result<Waiting> {
        self.server()?.backlog(bucket).await
    }
    fn reconnections(&self) -> Option<watch::Receiver<u64>> {
        Some(self.reconnections.subscribe())
    }
    async fn check(&self) -> CheckReport {
        CheckReport::pass()
    }
}
