//! Calls about all sessions of a user, or of everybody.

use super::Outbox;
use crate::place::{Location, SessionId};
use crate::record::Millis;

/// The end of all sessions of a user, or of all but one.
#[derive(Clone, Debug)]
pub struct RevokeAll {
    /// Where the user's sessions are.
    pub location: Location,
    /// The session that stays.
    pub except: Option<SessionId>,
    /// Why, for the events.
    pub reason: &'static str,
    /// Random mark of this call: a repeat carries the same, and does not end a session that
    /// began after the first.
    pub nonce: [u8; 8],
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedAll {
    /// The store's time.
    pub now: Millis,
    /// How many living sessions it ended; for a repeat, none.
    pub sessions: u32,
}

/// The end of all sessions there are.
#[derive(Clone, Debug)]
pub struct RevokeEverybody {
    /// Why, for the event.
    pub reason: &'static str,
    /// The longest absolute lifetime that any session was ever issued for, in milliseconds: so long
    /// the stamp is kept.
    pub lifetime: Millis,
    /// Random mark of this call: a repeat carries the same.
    pub nonce: [u8; 8],
    /// What its event carries.
    pub outbox: Option<Outbox>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EverybodyRevoked {
    /// The store's time.
    pub now: Millis,
}

/// All records of a user, the expired among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The records, by session id.
    pub records: Vec<(SessionId, Vec<u8>)>,
    /// Sessions created up to this time are revoked; 0 when none are.
    pub not_before: Millis,
    /// The store's time.
    pub now: Millis,
}
