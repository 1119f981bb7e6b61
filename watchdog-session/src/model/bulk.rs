use super::{Effect, LEAD, Log, SLACK, UserSessions};
use crate::config::LimitPolicy;
use crate::marker::Marker;
use crate::place::{Location, Place, SessionId};
use crate::record::{Common, Millis};
use crate::store::{EverybodyRevoked, RevokeAll, RevokeEverybody, RevokedAll};

impl UserSessions {
    /// Removes all sessions, or all but one.
    pub fn revoke_all(&mut self, request: &RevokeAll, now: Millis) -> Effect<RevokedAll> {
        let session = request.except.unwrap_or(SessionId::from_bytes([0; 16]));
        let place = Place { location: request.location, session };
        let mut log = Log::new(place, request.outbox.as_ref(), now);
        if request.up_to.is_none() && self.swept_by == Some(request.nonce) {
            let (up_to, singly) = (self.not_before, Vec::new());
            return log.with(RevokedAll { now, sessions: 0, up_to, singly });
        }
        let stands = self.not_before;
        let up_to = match request.except {
            None => stands.max(request.up_to.unwrap_or(now)),
            Some(_) => stands,
        };
        let mut is_changed = request.up_to.is_none() || up_to > stands;
        self.records.retain(|_, record| Common::decode(record).is_some());
        let (mut sessions, mut singly) = (0, Vec::new());
        for (common, session) in self.by(LimitPolicy::EvictOldest) {
            let is_later = request.up_to.is_some_and(|up_to| common.created_at > up_to);
            if Some(session) == request.except || is_later {
                continue;
            }
            let Some(record) = self.forget(session) else { continue };
            is_changed = true;
            if common.created_at <= self.floor() {
                continue;
            }
            if common.is_expired(now) {
                log.add("expired", session, &record, &[]);
                continue;
            }
            self.revoked = self.revoked.max(common.created_at);
            // An access token may be issued later than now: the mark that names a time does not
            // reach it.
            let is_ahead = common.created_at.max(common.last_seen) > now;
            if request.except.is_some() || request.up_to.is_some() || is_ahead {
                self.mark(Marker::Session(session), now);
            }
            if request.except.is_some() || common.created_at > up_to {
                singly.push(session);
            }
            log.add("revoked", session, &record, &[("reason", request.reason.to_owned())]);
            sessions += 1;
        }
        if request.except.is_none() && (request.up_to.is_none() || up_to > stands) {
            self.not_before = up_to;
            self.mark(Marker::User { up_to: request.up_to.unwrap_or(now) }, now);
        }
        if request.up_to.is_none() {
            self.swept_by = Some(request.nonce);
        }
        if is_changed {
            self.expires_at = self.expires_at.max(now.saturating_add(SLACK));
        }
        log.with(RevokedAll { now, sessions, up_to, singly })
    }
}

/// What a store keeps about everybody: once, or once for each bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Everybody {
    /// Sessions created up to this time are revoked.
    pub not_before: Millis,
    /// The mark of the last call that set it.
    pub set_by: Option<[u8; 8]>,
}

impl Everybody {
    /// Ends all sessions of everybody. The event belongs into bucket 0.
    pub fn revoke(&mut self, request: &RevokeEverybody, now: Millis) -> Effect<EverybodyRevoked> {
        let location = Location { bucket: 0, user: [0; 16] };
        let session = SessionId::from_bytes([0; 16]);
        let mut log = Log::new(Place { location, session }, request.outbox.as_ref(), now);
        let is_due = match request.up_to {
            Some(up_to) => up_to > self.not_before,
            None => self.set_by.replace(request.nonce) != Some(request.nonce),
        };
        if is_due {
            let stamp = request.up_to.unwrap_or(now.saturating_add(LEAD));
            self.not_before = self.not_before.max(stamp);
            let details = [("reason", request.reason.to_owned())];
            log.add("everybody_revoked", session, &[], &details);
        }
        log.with(EverybodyRevoked { now, up_to: self.not_before })
    }
}
