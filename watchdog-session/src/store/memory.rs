//! Sessions in the memory of this process.

mod events;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use watchdog_core::health::CheckReport;
use watchdog_core::{Clock, SystemClock};

use self::events::MemoryOutbox;
use super::{
    Create, Created, EverybodyRevoked, Listing, Reading, Regenerate, Regenerated, Report, Reported,
    Revoke, RevokeAll, RevokeEverybody, Revoked, RevokedAll, Rotate, RotateReply, SessionStore,
    StoredAttributes, StoredEvent, Touch, Touched, Update, Updated, Waiting,
};
use crate::error::Result;
use crate::model::{Effect, Everybody, UserSessions};
use crate::place::{Location, Place};
use crate::record::Millis;

/// Users are looked through for forgotten ones whenever their number has doubled, from here on.
const FIRST_SWEEP: usize = 1024;

/// Sessions in the memory of this process: for development and tests.
///
/// They end with the process, and no other process knows them. It behaves as
/// [`RedisStore`](crate::RedisStore) does: both run the same suite.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    users: HashMap<Location, UserSessions>,
    everybody: Everybody,
    outbox: MemoryOutbox,
    sweep_at: usize,
}

impl MemoryStore {
    /// An empty store on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store on a clock of the caller's.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            users: HashMap::new(),
            everybody: Everybody::default(),
            outbox: MemoryOutbox::default(),
            sweep_at: FIRST_SWEEP,
        };
        Self { clock, state: Mutex::new(state) }
    }

    fn time(&self) -> Millis {
        self.clock.now().as_millisecond().try_into().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        location: Location,
        change: impl FnOnce(&mut UserSessions, Millis) -> Result<Effect<T>>,
    ) -> Result<T> {
        let mut state = self.state();
        let now = self.time();
        let user = state.user(location, now);
        let (answer, events) = change(user, now)?;
        if user.records.is_empty() && user.expires_at == 0 {
            state.users.remove(&location);
        }
        state.outbox.add(location.bucket, events);
        Ok(answer)
    }

    /// Looks at a user, an empty one when there is none.
    fn look<T>(&self, location: Location, look: impl FnOnce(&UserSessions, Millis) -> T) -> T {
        let state = self.state();
        let now = self.time();
        match state.users.get(&location).filter(|user| now < user.expires_at) {
            Some(user) => look(user, now),
            None => look(&state.nobody(), now),
        }
    }
}

impl State {
    fn user(&mut self, location: Location, now: Millis) -> &mut UserSessions {
        if self.users.len() >= self.sweep_at {
            self.users.retain(|_, user| now < user.expires_at);
            self.sweep_at = FIRST_SWEEP.max(self.users.len() * 2);
        }
        let nobody = self.nobody();
        let user = self.users.entry(location).or_default();
        if now >= user.expires_at {
            *user = nobody;
        }
        user
    }

    fn nobody(&self) -> UserSessions {
        UserSessions { everybody: self.everybody.not_before, ..UserSessions::default() }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn now(&self) -> Option<Millis> {
        Some(self.time())
    }

    async fn create(&self, request: &Create) -> Result<Created> {
        self.change(request.place.location, |user, now| Ok(user.create(request, now)))
    }

    async fn read(&self, place: &Place) -> Result<Reading> {
        Ok(self.look(place.location, |user, now| user.read(place, now)))
    }

    async fn touch(&self, request: &Touch) -> Result<Touched> {
        self.change(request.place.location, |user, now| Ok(user.touch(request, now)))
    }

    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        self.change(request.place.location, |user, now| user.rotate(request, now))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.change(request.place.location, |user, now| Ok(user.revoke(request, now)))
    }

    async fn regenerate(&self, request: &Regenerate) -> Result<Regenerated> {
        self.change(request.place.location, |user, now| Ok(user.regenerate(request, now)))
    }

    async fn revoke_all(&self, request: &RevokeAll) -> Result<RevokedAll> {
        self.change(request.location, |user, now| Ok(user.revoke_all(request, now)))
    }

    async fn revoke_everybody(&self, request: &RevokeEverybody) -> Result<EverybodyRevoked> {
        let mut state = self.state();
        let (answer, events) = state.everybody.revoke(request, self.time());
        let not_before = state.everybody.not_before;
        for user in state.users.values_mut() {
            user.everybody = not_before;
        }
        state.outbox.add(0, events);
        Ok(answer)
    }

    async fn list(&self, location: Location) -> Result<Listing> {
        Ok(self.look(location, UserSessions::list))
    }

    async fn attributes(&self, place: &Place) -> Result<StoredAttributes> {
        Ok(self.look(place.location, |user, _| user.attributes(place)))
    }

    async fn update(&self, request: &Update) -> Result<Updated> {
        self.change(request.place.location, |user, now| Ok(user.update(request, now)))
    }

    async fn report(&self, request: &Report) -> Result<Reported> {
        self.change(request.place.location, |user, now| Ok(user.report(request, now)))
    }

    async fn claim(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>> {
        let now = self.time();
        self.state().outbox.claim(bucket, consumer, limit, idle, now)
    }

    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.state().outbox.acknowledge(bucket, handles);
        Ok(())
    }

    async fn postpone(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        let now = self.time();
        self.state().outbox.postpone(bucket, handles, now);
        Ok(())
    }

    async fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Result<Vec<StoredEvent>> {
        Ok(self.state().outbox.peek(bucket, after, limit))
    }

    async fn backlog(&self, bucket: u16) -> Result<Waiting> {
        Ok(self.state().outbox.waiting(bucket))
    }

    async fn check(&self) -> CheckReport {
        let users = self.state().users.len();
        // A count beyond 2^52 does not fit into memory.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        CheckReport::pass().with_observation("users", users as f64)
    }
}
