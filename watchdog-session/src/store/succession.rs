//! One session in exchange for another, and word of a living one.

use super::{Life, Outbox};
use crate::place::{Place, SessionId};
use crate::record::Millis;

/// A new session in place of a living one: a new id and new tokens.
#[derive(Clone, Debug)]
pub struct Regenerate {
    /// The session that ends.
    pub place: Place,
    /// The session that begins, of the same user.
    pub session: SessionId,
    /// Its record. Its creation time is that of the session that ends; its last use is moved on to
    /// that of the session that ends.
    pub record: Vec<u8>,
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regenerated {
    /// The store's time.
    pub now: Millis,
    /// What happened.
    pub outcome: RegenerateOutcome,
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegenerateOutcome {
    /// It is made, or it was, by this very call: the attributes have moved to the new session.
    Done,
    /// There is no session to give in exchange. Nothing changed.
    Gone,
    /// The old one is over by idleness or age, and removed now.
    Expired,
    /// The new record cannot follow the old one: its creation time is another, or its id is taken.
    /// Nothing changed.
    Unfit,
    /// The new record was used in the future: the caller's clock is ahead. Nothing changed.
    Skewed,
}

/// Something to report about a living session.
#[derive(Clone, Debug)]
pub struct Report {
    /// The session.
    pub place: Place,
    /// What happened.
    pub action: &'static str,
    /// Anything more, by name.
    pub details: Vec<(&'static str, String)>,
    /// What its event carries.
    pub outbox: Option<Outbox>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The store's time.
    pub now: Millis,
    /// How the session stands. Only of a living one the event is written.
    pub life: Life,
}
