//! The `SessionStore` port: what a place for sessions can do.
//!
//! Every change is one call that the store makes whole or not at all, with the events that report
//! it. [`model`](crate::model) says in pure Rust what each call does; a store for another engine
//! applies it inside a transaction and runs [`session_store_tests!`](crate::session_store_tests).

mod attribute;
mod bulk;
mod changes;
mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "redis")]
mod server_time;
mod succession;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use watchdog_core::health::CheckReport;

use crate::config::LimitPolicy;
use crate::error::Result;
use crate::place::{Location, Place, SessionId};
use crate::record::Millis;
use crate::rotation::{Presented, Rules, Verdict};

pub use attribute::{
    Change, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTE_NAME_BYTES, MAX_ATTRIBUTES, MAX_REMEMBERED_UPDATES,
    StoredAttribute, StoredAttributes, UPDATE_MEMORY, Update, UpdateOutcome, Updated,
};
pub use bulk::{EverybodyRevoked, Listing, RevokeAll, RevokeEverybody, RevokedAll};
pub use changes::{ChangeTracking, Changed, SessionChanges};
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub use succession::{Regenerate, RegenerateOutcome, Regenerated, Report, Reported};

/// How old a process's knowledge of the stamp that revokes everybody may be, in milliseconds.
pub const GLOBAL_STALENESS: Millis = 1000;
/// How long a revocation is marked for those who check access tokens without asking, in
/// milliseconds: no access token lives longer.
pub const MARKER_LIFE: Millis = 3_600_000;

/// A place for sessions.
///
/// All calls but [`create`](Self::create) find their record gone rather than make one;
/// [`regenerate`](Self::regenerate) makes one only in exchange for a living one. All calls may be
/// repeated verbatim, as a client does that lost an answer: the second does nothing. Cancelling a
/// call leaves it done or not done, never half.
///
/// # Errors
///
/// Every call fails with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store
/// does not answer.
#[async_trait]
#[allow(clippy::missing_errors_doc, clippy::allow_attributes, reason = "said once, on the trait")]
pub trait SessionStore: Any + fmt::Debug + Send + Sync {
    /// The name used in metrics and reports: `redis`.
    fn name(&self) -> &'static str;

    /// The time by the store's clock as far as it is known without asking.
    fn now(&self) -> Option<Millis>;

    /// Stores a new session, removes the user's expired ones, and beyond the limit evicts others or
    /// refuses it, as the policy says.
    async fn create(&self, request: &Create) -> Result<Created>;

    /// Reads one record.
    async fn read(&self, place: &Place) -> Result<Reading>;

    /// Notes that a session is used, unless that was noted less than an interval ago. Removes it
    /// when it has expired.
    async fn touch(&self, request: &Touch) -> Result<Touched>;

    /// Exchanges a refresh token.
    async fn rotate(&self, request: &Rotate) -> Result<RotateReply>;

    /// Removes one session.
    async fn revoke(&self, request: &Revoke) -> Result<Revoked>;

    /// Exchanges a living session for another one of the same user, with its attributes.
    async fn regenerate(&self, request: &Regenerate) -> Result<Regenerated>;

    /// Removes all sessions of a user, or all but one.
    async fn revoke_all(&self, request: &RevokeAll) -> Result<RevokedAll>;

    /// Ends all sessions of all users that began before. When it answers, no call of any process
    /// accepts one of them.
    async fn revoke_everybody(&self, request: &RevokeEverybody) -> Result<EverybodyRevoked>;

    /// Reads all records of a user.
    async fn list(&self, location: Location) -> Result<Listing>;

    /// Reads the attributes of a session. It says nothing about whether the session lives.
    async fn attributes(&self, place: &Place) -> Result<StoredAttributes>;

    /// Changes attributes of a living session.
    async fn update(&self, request: &Update) -> Result<Updated>;

    /// Reports something about a living session.
    async fn report(&self, request: &Report) -> Result<Reported>;

    /// Hands events of a bucket out for delivery, at most `limit`: those that this consumer holds
    /// already, then those that another has held for as long as `idle`, then new ones. Nobody else
    /// gets them before they have been held for that long. When events were dropped and there is
    /// room again, one more event says how many.
    async fn claim(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>>;

    /// Forgets events that reached their sink. Unknown handles are no error.
    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()>;

    /// Gives back events that cannot be delivered now: whoever comes first gets them, once they
    /// have lain there for as long as its `idle`. Unknown handles are no error.
    async fn postpone(&self, bucket: u16, handles: &[&str]) -> Result<()>;

    /// The events of a bucket that are not acknowledged, whoever holds them, oldest first, after a
    /// handle. Changes nothing.
    async fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Result<Vec<StoredEvent>>;

    /// How much waits in a bucket. Cheap: it is asked of every bucket now and then.
    async fn backlog(&self, bucket: u16) -> Result<Waiting>;

    /// Tells what changes from now on, until the answer is dropped; `None` where the store cannot,
    /// and there is nothing to gain by keeping what it says.
    fn track(&self, to: Arc<dyn SessionChanges>) -> Option<Box<dyn ChangeTracking>> {
        let _ = to;
        None
    }

    /// Counts how often connections were made anew: what was acknowledged before may be lost then,
    /// and is asserted again. `None` where nothing that was acknowledged is ever lost.
    fn reconnections(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Probes the store once, for a health check.
    async fn check(&self) -> CheckReport;
}

/// What an event carries from the caller. Without one, a call reports nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Random id of the call; the ids of its events derive from it, so that a repeated call
    /// repeats them.
    pub seed: [u8; 16],
    /// The client of the call, sealed.
    pub client: Vec<u8>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// A new session.
#[derive(Clone, Debug)]
pub struct Create {
    /// Where it goes.
    pub place: Place,
    /// Its record.
    pub record: Vec<u8>,
    /// Most sessions of the user.
    pub limit: u32,
    /// What happens beyond it.
    pub policy: LimitPolicy,
    /// How far its creation time may be from the store's, in milliseconds.
    pub tolerance: Millis,
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What became of a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// It is stored; or it was, by this very call, and a later login has evicted it since.
    Stored {
        /// The store's time.
        now: Millis,
        /// How many expired ones were removed.
        expired: u32,
        /// How many were evicted.
        evicted: u32,
    },
    /// Its creation time is off, or not later than that of a session of this user that was
    /// revoked. Nothing changed; make it anew with a later time.
    Skewed {
        /// The store's time.
        now: Millis,
        /// The creation time must be later than this.
        floor: Millis,
    },
    /// The user holds as many sessions as allowed, and the policy is to refuse another. Expired
    /// ones are removed; nothing is stored.
    Refused {
        /// The store's time.
        now: Millis,
        /// How many living sessions there are.
        held: u32,
    },
    /// Another session has this id. Nothing changed.
    Taken {
        /// The store's time.
        now: Millis,
    },
}

/// One record as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The record, `None` when there is no such session.
    pub record: Option<Vec<u8>>,
    /// Sessions of this user created up to this time are revoked; 0 when none are.
    pub not_before: Millis,
    /// The store's time.
    pub now: Millis,
}

/// A sign of life.
#[derive(Clone, Debug)]
pub struct Touch {
    /// The session.
    pub place: Place,
    /// How old the noted last use must be, in milliseconds.
    pub interval: Millis,
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What became of a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The store's time.
    pub now: Millis,
    /// How the session stands.
    pub life: Life,
}

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It goes on.
    Alive,
    /// It was over by idleness or age, and is removed now.
    Expired,
    /// There is none.
    Gone,
}

/// A refresh token presented.
#[derive(Clone, Debug)]
pub struct Rotate {
    /// The session.
    pub place: Place,
    /// The token, as digests.
    pub presented: Presented,
    /// The rules in force.
    pub rules: Rules,
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What a refresh token led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateReply {
    /// The store's time.
    pub now: Millis,
    /// The verdict.
    pub verdict: Verdict,
    /// The record afterwards, when new tokens are granted.
    pub record: Option<Vec<u8>>,
}

/// A removal.
#[derive(Clone, Debug)]
pub struct Revoke {
    /// The session.
    pub place: Place,
    /// Why, for the event.
    pub reason: &'static str,
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The store's time.
    pub now: Millis,
    /// How the session stood before: [`Life::Alive`] when this call ended it.
    pub was: Life,
}

/// Something that happened to a session, as it waits in the outbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// What: `issued`, `reuse`, …
    pub action: String,
    /// When, by the store's clock.
    pub occurred_at: Millis,
    /// To which session.
    pub session: SessionId,
    /// The locator of its user.
    pub user: [u8; 16],
    /// The id of the call.
    pub seed: [u8; 16],
    /// Which event of the call, from 0.
    pub index: u32,
    /// The sealed part of the session's record.
    pub sealed: Vec<u8>,
    /// The client of the call, sealed.
    pub client: Vec<u8>,
    /// Anything more, by name: numbers and reasons.
    pub details: Vec<(String, String)>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("action", &self.action)
            .field("occurred_at", &self.occurred_at)
            .field("session", &self.session)
            .field("index", &self.index)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

impl Event {
    /// Where its session lives or lived, given the bucket it waits in.
    pub fn place(&self, bucket: u16) -> Place {
        Place { location: Location { bucket, user: self.user }, session: self.session }
    }
}

/// An event with the handle to acknowledge it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Names the event within its bucket.
    pub handle: String,
    /// The event, `None` when this release cannot read it.
    pub event: Option<Event>,
}

/// How much waits in the outbox of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events that are not acknowledged, whoever holds them.
    pub events: u64,
    /// Events that found no room, since an event last told of them.
    pub dropped: u64,
}
