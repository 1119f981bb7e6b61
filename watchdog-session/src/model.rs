//! What every store does, as a pure function of what it holds and of the time.
//!
//! [`UserSessions`] is all that a store keeps of one user. Its methods are the scripts in Rust:
//! [`MemoryStore`](crate::MemoryStore) runs them under a lock, and a property test holds the Lua
//! scripts against them.

mod log;

use std::collections::BTreeMap;

use self::log::Log;
use crate::error::Result;
use crate::place::{Place, SessionId};
use crate::record::{Common, Header, Millis, SEEN_AT, sealed_part};
use crate::rotation::{Decision, Verdict, apply, decide};
use crate::store::{
    Create, Created, Event, Life, Reading, Revoke, Revoked, Rotate, RotateReply, Touch, Touched,
};

/// How long a user's sessions outlive the last absolute deadline, in milliseconds: a late call
/// still finds that they are gone.
pub const SLACK: Millis = 60_000;

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
        let floor = self.not_before.max(self.revoked);
        let is_repeatable = |created: Millis| now.abs_diff(created) <= request.tolerance;
        if common.created_at <= floor || !is_repeatable(common.created_at) {
            return log.with(Created::Skewed { now, floor });
        }
        let expired = self.prune(now, &mut log);
        self.evicted.retain(|_, &mut created| is_repeatable(created));
        let evicted = self.evict(request.limit, is_repeatable, &mut log);
        self.records.insert(session, request.record.clone());
        self.expires_at = self.expires_at.max(common.absolute_deadline.saturating_add(SLACK));
        log.add("issued", session, &request.record, &[]);
        log.with(Created::Stored { now, expired, evicted })
    }

    /// Reads one record.
    pub fn read(&self, place: &Place, now: Millis) -> Reading {
        let record = self.records.get(&place.session).cloned();
        Reading { record, not_before: self.not_before, now }
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
            None => self.end(session, &record),
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
            self.end(session, &record);
            log.add("revoked", session, &record, &[("reason", request.reason.to_owned())]);
        }
        log.with(Revoked { now, was })
    }

    /// How a session stands; one that has expired is removed and reported.
    fn settle(&mut self, session: SessionId, now: Millis, log: &mut Log<'_>) -> Life {
        let Some(record) = self.records.get(&session).cloned() else { return Life::Gone };
        let Some(common) = Common::decode(&record) else { return Life::Gone };
        if common.created_at <= self.not_before {
            return Life::Gone;
        }
        if !common.is_expired(now) {
            return Life::Alive;
        }
        self.records.remove(&session);
        log.add("expired", session, &record, &[]);
        Life::Expired
    }

    /// Removes what is over, oldest first; reports what ended by time.
    fn prune(&mut self, now: Millis, log: &mut Log<'_>) -> u32 {
        self.records.retain(|_, record| Common::decode(record).is_some());
        let mut expired = 0;
        for (common, session) in self.by_age() {
            let revoked = common.created_at <= self.not_before;
            if !revoked && !common.is_expired(now) {
                continue;
            }
            if let Some(record) = self.records.remove(&session)
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
        limit: u32,
        is_repeatable: impl Fn(Millis) -> bool,
        log: &mut Log<'_>,
    ) -> u32 {
        let mut evicted = 0;
        let beyond = (self.records.len() + 1).saturating_sub(limit as usize);
        for (common, session) in self.by_age().into_iter().take(beyond) {
            if is_repeatable(common.created_at) {
                self.evicted.insert(session, common.created_at);
            }
            if let Some(record) = self.records.remove(&session) {
                log.add("evicted", session, &record, &[]);
                evicted += 1;
            }
        }
        evicted
    }

    fn by_age(&self) -> Vec<(Common, SessionId)> {
        let mut all: Vec<_> = self
            .records
            .iter()
            .filter_map(|(&session, record)| Some((Common::decode(record)?, session)))
            .collect();
        all.sort_by_key(|(common, session)| (common.created_at, *session));
        all
    }

    /// Ends a session for good.
    fn end(&mut self, session: SessionId, record: &[u8]) {
        self.records.remove(&session);
        if let Some(common) = Common::decode(record) {
            self.revoked = self.revoked.max(common.created_at);
        }
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
