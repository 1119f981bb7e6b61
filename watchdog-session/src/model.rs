//! What every store does, as a pure function of what it holds and of the time.
//!
//! [`UserSessions`] is all that a store keeps of one user. Its methods are the scripts in Rust:
//! [`MemoryStore`](crate::MemoryStore) runs them under a lock, and a property test holds the Lua
//! scripts against them.
//!
//! # Invariants
//!
//! Whatever the calls, their order and their repetitions:
//!
//! 1. A session that was revoked or has expired is never found alive again.
//! 2. Only [`create`](UserSessions::create) creates; [`regenerate`](UserSessions::regenerate) does
//!    in exchange for a living session.
//! 3. A session has one live refresh generation.
//! 4. A refresh token of an older generation, outside its grace, ends the session in the same step.
//! 5. A token that was never issued changes nothing.
//! 6. Once a login has applied a limit, a user holds no more living sessions than that.
//! 7. An absolute deadline does not move; the session that takes the place of another has its
//!    own, which only a new authentication sets later.
//! 8. Each change is reported by one event.
//! 9. No update is lost, and none is made twice.

mod attribute;
mod bulk;
mod log;
mod outbox;
mod succession;

use std::collections::BTreeMap;

use self::log::Log;
pub use self::outbox::{EventQueue, MAX_EVENTS_PER_BUCKET, QueuedEvent, has_more_room};
use crate::config::LimitPolicy;
use crate::error::Result;
use crate::marker::Marker;
use crate::place::{Place, SessionId};
use crate::record::{Common, Header, Millis, SEEN_AT, sealed_part};
use crate::rotation::{Decision, Verdict, apply, decide};
use crate::store::{
    Create, Created, Event, Life, Listing, MARKER_LIFE, Reading, Revoke, Revoked, Rotate,
    RotateReply, Touch, Touched,
};

/// How long a user's sessions outlive the last absolute deadline, in milliseconds: a late call
/// still finds that they are gone.
pub const SLACK: Millis = 60_000;

/// How far in the future a creation time may lie, in milliseconds: the clocks of two shards, or of
/// a process and the store, are that much apart without harm. The stamp that revokes everybody is
/// set so far ahead.
pub const LEAD: Millis = 100;

/// Most evicted sessions that are remembered: a storm of logins of one user fills no store.
pub const MAX_EVICTED: usize = 256;

pub use attribute::AttributeSet;
pub use bulk::Everybody;

/// All that a store keeps of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSessions {
    /// The records.
    pub records: BTreeMap<SessionId, Vec<u8>>,
    /// Sessions created up to this time are revoked.
    pub not_before: Millis,
    /// Latest creation time of any single session revoked so far. A session made up to this time is
    /// not stored, so that a repeated login cannot bring back what was revoked in between.
    pub revoked: Millis,
    /// Sessions that a later login evicted, with their creation times, for as long as the call that
    /// made one may come in again: it must not come back and evict in its turn. Unlike
    /// [`revoked`](Self::revoked) this refuses no login that is under way at the same time.
    pub evicted: BTreeMap<SessionId, Millis>,
    /// Sessions of everybody created up to this time are revoked: [`Everybody::not_before`], which
    /// the store sets before each call.
    pub everybody: Millis,
    /// The mark of the last call that ended all sessions, or all but one.
    pub swept_by: Option<[u8; 8]>,
    /// What is kept for the application, by session.
    pub attributes: BTreeMap<SessionId, AttributeSet>,
    /// What was revoked, and when, for those who check access tokens without asking.
    pub markers: BTreeMap<Marker, Millis>,
    /// When all of it may be forgotten.
    pub expires_at: Millis,
}

/// What a call answers, and what it reports.
pub type Effect<T> = (T, Vec<Event>);

impl UserSessions {
    /// Stores a new session.
    pub fn create(&mut self, request: &Create, now: Millis) -> Effect<Created> {
        let session = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let secret = |record: &[u8]| Header::decode(record).ok().map(|header| header.secret_digest);
        if let Some(held) = self.records.get(&session) {
            let same = secret(held).is_some() && secret(held) == secret(&request.record);
            let stored = Created::Stored { now, expired: 0, evicted: 0 };
            return log.with(if same { stored } else { Created::Taken { now } });
        }
        if self.evicted.contains_key(&session) {
            return log.with(Created::Stored { now, expired: 0, evicted: 0 });
        }
        let Some(common) = Common::decode(&request.record) else {
            return log.with(Created::Taken { now });
        };
        let floor = self.floor().max(self.revoked);
        let is_repeatable = |created: Millis| now.abs_diff(created) <= request.tolerance;
        let created = common.created_at;
        let is_ahead = created > now.saturating_add(LEAD).max(floor.saturating_add(1));
        if created <= floor || is_ahead || !is_repeatable(created) {
            return log.with(Created::Skewed { now, floor });
        }
        let expired = self.prune(now, &mut log);
        self.evicted.retain(|_, &mut created| is_repeatable(created));
        let held = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        if request.policy == LimitPolicy::Reject && held >= request.limit {
            return log.with(Created::Refused { now, held });
        }
        let evicted = self.evict(request, is_repeatable, now, &mut log);
        self.bound_evicted();
        self.records.insert(session, request.record.clone());
        self.expires_at = self.expires_at.max(common.absolute_deadline.saturating_add(SLACK));
        log.add("issued", session, &request.record, &[]);
        log.with(Created::Stored { now, expired, evicted })
    }

    /// Reads one record.
    pub fn read(&self, place: &Place, now: Millis) -> Reading {
        let record = self.records.get(&place.session).cloned();
        Reading { record, not_before: self.floor(), now }
    }

    /// All records.
    pub fn list(&self, now: Millis) -> Listing {
        let records = self.records.iter().map(|(&id, record)| (id, record.clone())).collect();
        Listing { records, not_before: self.floor(), now }
    }

    /// Sessions created up to this time are revoked.
    fn floor(&self) -> Millis {
        self.not_before.max(self.everybody)
    }

    /// Notes that a session is used.
    pub fn touch(&mut self, request: &Touch, now: Millis) -> Effect<Touched> {
        let session = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let life = self.settle(session, now, &mut log);
        if let (Life::Alive, Some(record)) = (life, self.records.get_mut(&session))
            && let Some(common) = Common::decode(record)
            && now >= common.last_seen.saturating_add(request.interval)
        {
            record[SEEN_AT..SEEN_AT + 8].copy_from_slice(&now.to_be_bytes());
        }
        log.with(Touched { now, life })
    }

    /// Exchanges a refresh token.
    ///
    /// # Errors
    ///
    /// As [`Header::decode`]: the record is of a newer version, or no record.
    pub fn rotate(&mut self, request: &Rotate, now: Millis) -> Result<Effect<RotateReply>> {
        let session = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let without = |verdict| RotateReply { now, verdict, record: None };
        match self.settle(session, now, &mut log) {
            Life::Gone => return Ok(log.with(without(Verdict::Gone))),
            Life::Expired => return Ok(log.with(without(Verdict::Expired))),
            Life::Alive => {}
        }
        let Some(record) = self.records.get(&session).cloned() else {
            return Ok(log.with(without(Verdict::Gone)));
        };
        let header = Header::decode(&record)?;
        let presented = &request.presented;
        let decision = decide(&header, presented, &request.rules, now);
        let after =
            apply(decision, &header, presented, now).map(|next| next.encode(sealed_part(&record)));
        match &after {
            Some(after) => {
                self.records.insert(session, after.clone());
            }
            None => self.end(session, &record, now),
        }
        if reported(decision) {
            let details = [
                ("presented", presented.generation.to_string()),
                ("generation", header.generation.to_string()),
                ("age", now.saturating_sub(header.rotated_at).to_string()),
            ];
            log.add(decision.verdict.as_str(), session, &record, &details);
        }
        let record = after.filter(|_| decision.verdict.is_granted());
        Ok(log.with(RotateReply { now, verdict: decision.verdict, record }))
    }

    /// Removes one session.
    pub fn revoke(&mut self, request: &Revoke, now: Millis) -> Effect<Revoked> {
        let session = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let was = self.settle(session, now, &mut log);
        if let (Life::Alive, Some(record)) = (was, self.records.get(&session).cloned()) {
            self.end(session, &record, now);
            log.add("revoked", session, &record, &[("reason", request.reason.to_owned())]);
        }
        log.with(Revoked { now, was })
    }

    /// How a session stands; one that has expired is removed and reported.
    fn settle(&mut self, session: SessionId, now: Millis, log: &mut Log<'_>) -> Life {
        let Some(record) = self.records.get(&session).cloned() else { return Life::Gone };
        let Some(common) = Common::decode(&record) else { return Life::Gone };
        if common.created_at <= self.floor() {
            return Life::Gone;
        }
        if !common.is_expired(now) {
            return Life::Alive;
        }
        self.forget(session);
        log.add("expired", session, &record, &[]);
        Life::Expired
    }

    /// Removes what is over, oldest first; reports what ended by time.
    fn prune(&mut self, now: Millis, log: &mut Log<'_>) -> u32 {
        self.records.retain(|_, record| Common::decode(record).is_some());
        let mut expired = 0;
        for (common, session) in self.by(LimitPolicy::EvictOldest) {
            let revoked = common.created_at <= self.floor();
            if !revoked && !common.is_expired(now) {
                continue;
            }
            if let Some(record) = self.forget(session)
                && !revoked
            {
                log.add("expired", session, &record, &[]);
                expired += 1;
            }
        }
        expired
    }

    /// Makes room for one more.
    fn evict(
        &mut self,
        request: &Create,
        is_repeatable: impl Fn(Millis) -> bool,
        now: Millis,
        log: &mut Log<'_>,
    ) -> u32 {
        let mut evicted = 0;
        let beyond = (self.records.len() + 1).saturating_sub(request.limit as usize);
        for (common, session) in self.by(request.policy).into_iter().take(beyond) {
            if is_repeatable(common.created_at) {
                self.evicted.insert(session, common.created_at);
            }
            if let Some(record) = self.forget(session) {
                self.mark(Marker::Session(session), now);
                log.add("evicted", session, &record, &[]);
                evicted += 1;
            }
        }
        evicted
    }

    /// Drops the oldest marks of evicted sessions. A login whose mark goes comes back with another
    /// time, or not at all.
    fn bound_evicted(&mut self) {
        let beyond = self.evicted.len().saturating_sub(MAX_EVICTED);
        let mut marks: Vec<_> =
            self.evicted.iter().map(|(&session, &created)| (created, session)).collect();
        marks.sort_unstable();
        for (created, session) in marks.into_iter().take(beyond) {
            self.evicted.remove(&session);
            self.revoked = self.revoked.max(created);
        }
    }

    /// All sessions, in the order in which a policy ends them.
    fn by(&self, policy: LimitPolicy) -> Vec<(Common, SessionId)> {
        let mut all: Vec<_> = self
            .records
            .iter()
            .filter_map(|(&session, record)| Some((Common::decode(record)?, session)))
            .collect();
        all.sort_by_key(|(common, session)| {
            let used = match policy {
                LimitPolicy::EvictLeastRecentlyUsed => common.last_seen,
                LimitPolicy::EvictOldest | LimitPolicy::Reject => 0,
            };
            (used, common.created_at, *session)
        });
        all
    }

    /// Ends a session for good.
    fn end(&mut self, session: SessionId, record: &[u8], now: Millis) {
        self.forget(session);
        if let Some(common) = Common::decode(record) {
            self.revoked = self.revoked.max(common.created_at);
        }
        self.mark(Marker::Session(session), now);
    }

    /// Removes a session with its attributes.
    fn forget(&mut self, session: SessionId) -> Option<Vec<u8>> {
        self.attributes.remove(&session);
        self.records.remove(&session)
    }

    fn mark(&mut self, marker: Marker, now: Millis) {
        self.markers.retain(|_, at| now <= at.saturating_add(MARKER_LIFE));
        self.markers.insert(marker, now);
    }
}

/// Refusals change nothing and are counted by the caller; everything else is an event.
fn reported(decision: Decision) -> bool {
    !decision.repeated
        && matches!(
            decision.verdict,
            Verdict::Rotated | Verdict::Kept | Verdict::Grace | Verdict::Repaired | Verdict::Reuse
        )
}
