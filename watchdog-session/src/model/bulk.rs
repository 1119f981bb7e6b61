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
        if self.swept_by == Some(request.nonce) {
            return log.with(RevokedAll { now, sessions: 0 });
        }
        self.records.retain(|_, record| Common::decode(record).is_some());
        let mut sessions = 0;
        for (common, session) in self.by(LimitPolicy::EvictOldest) {
            if Some(session) == request.except {
                continue;
            }
            let Some(record) = self.forget(session) else { continue };
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
            if request.except.is_some() || is_ahead {
                self.mark(Marker::Session(session), now);
            }
            log.add("revoked", session, &record, &[("reason", request.reason.to_owned())]);
            sessions += 1;
        }
        if request.except.is_none() {
            self.not_before = self.not_before.max(now);
            self.mark(Marker::User { up_to: now }, now);
        }
        self.swept_by = Some(request.nonce);
        self.expires_at = self.expires_at.max(now.saturating_add(SLACK));
        log.with(RevokedAll { now, sessions })
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
        if self.set_by != Some(request.nonce) {
            self.set_by = Some(request.nonce);
            self.not_before = self.not_before.max(now.saturating_add(LEAD));
            let details = [("reason", request.reason.to_owned())];
            log.add("everybody_revoked", session, &[], &details);
        }
        log.with(EverybodyRevoked { now })
    }
}
