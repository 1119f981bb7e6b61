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
    /// Ends only sessions created up to this time, in milliseconds: an earlier call is asserted
    /// again. On a store that lost nothing of it this changes nothing, however often it is
    /// repeated; [`nonce`](Self::nonce) is passed over.
    pub up_to: Option<Millis>,
    /// What its events carry.
    pub outbox: Option<Outbox>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedAll {
    /// The store's time.
    pub now: Millis,
    /// How many living sessions it ended; for a repeat, none.
    pub sessions: u32,
    /// Sessions of this user created up to this time are revoked; 0 when none are.
    pub up_to: Millis,
    /// Those of the sessions it ended that are not among these, oldest first.
    pub singly: Vec<SessionId>,
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
    /// Ends only sessions created up to this time, as [`RevokeAll::up_to`].
    pub up_to: Option<Millis>,
    /// What its event carries.
    pub outbox: Option<Outbox>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EverybodyRevoked {
    /// The store's time.
    pub now: Millis,
    /// Sessions created up to this time are revoked: the earliest of all stamps, where there are
    /// several.
    pub up_to: Millis,
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
