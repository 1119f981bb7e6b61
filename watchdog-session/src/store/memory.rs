//! Sessions in the memory of this process.

mod events;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use watchdog_core::health::CheckReport;
use watchdog_core::{Clock, SystemClock};

use self::events::MemoryOutbox;
use super::{
    Create, Created, Reading, Revoke, Revoked, Rotate, RotateReply, SessionStore, StoredEvent,
    Touch, Touched,
};
use crate::error::Result;
use crate::model::{Effect, UserSessions};
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
        let state =
            State { users: HashMap::new(), outbox: MemoryOutbox::default(), sweep_at: FIRST_SWEEP };
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
        place: &Place,
        change: impl FnOnce(&mut UserSessions, Millis) -> Result<Effect<T>>,
    ) -> Result<T> {
        let mut state = self.state();
        let now = self.time();
        let user = state.user(place.location, now);
        let (answer, events) = change(user, now)?;
        if user.records.is_empty() && user.expires_at == 0 {
            state.users.remove(&place.location);
        }
        state.outbox.add(place.location.bucket, events);
        Ok(answer)
    }
}

impl State {
    fn user(&mut self, location: Location, now: Millis) -> &mut UserSessions {
        if self.users.len() >= self.sweep_at {
            self.users.retain(|_, user| now < user.expires_at);
            self.sweep_at = FIRST_SWEEP.max(self.users.len() * 2);
        }
        let user = self.users.entry(location).or_default();
        if now >= user.expires_at {
            *user = UserSessions::default();
        }
        user
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
        self.change(&request.place, |user, now| Ok(user.create(request, now)))
    }

    async fn read(&self, place: &Place) -> Result<Reading> {
        let state = self.state();
        let now = self.time();
        let user = state.users.get(&place.location).filter(|user| now < user.expires_at);
        Ok(match user {
            Some(user) => user.read(place, now),
            None => Reading { record: None, not_before: 0, now },
        })
    }

    async fn touch(&self, request: &Touch) -> Result<Touched> {
        self.change(&request.place, |user, now| Ok(user.touch(request, now)))
    }

    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        self.change(&request.place, |user, now| user.rotate(request, now))
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        self.change(&request.place, |user, now| Ok(user.revoke(request, now)))
    }

    async fn events(
        &self,
        bucket: u16,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>> {
        Ok(self.state().outbox.peek(bucket, after, limit))
    }

    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.state().outbox.acknowledge(bucket, handles);
        Ok(())
    }

    async fn check(&self) -> CheckReport {
        let users = self.state().users.len();
        // A count beyond 2^52 does not fit into memory.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        CheckReport::pass().with_observation("users", users as f64)
    }
}
