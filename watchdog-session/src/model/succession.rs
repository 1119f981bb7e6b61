use super::{Effect, LEAD, Log, SLACK, UserSessions};
use crate::record::{Common, Header, Millis, SEEN_AT};
use crate::store::{Life, Regenerate, RegenerateOutcome, Regenerated, Report, Reported};

impl UserSessions {
    /// Exchanges a living session for another.
    pub fn regenerate(&mut self, request: &Regenerate, now: Millis) -> Effect<Regenerated> {
        let old = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let outcome = match self.settle(old, now, &mut log) {
            Life::Gone if self.is_repeat(request) => RegenerateOutcome::Done,
            Life::Gone => RegenerateOutcome::Gone,
            Life::Expired => RegenerateOutcome::Expired,
            Life::Alive => self.succeed(request, now, &mut log),
        };
        log.with(Regenerated { now, outcome })
    }

    /// Whether this very call was made before: its session is there, with its secret.
    fn is_repeat(&self, request: &Regenerate) -> bool {
        let secret = |record: &[u8]| Header::decode(record).ok().map(|header| header.secret_digest);
        let held = self.records.get(&request.session).and_then(|held| secret(held));
        held.is_some() && held == secret(&request.record)
    }

    fn succeed(
        &mut self,
        request: &Regenerate,
        now: Millis,
        log: &mut Log<'_>,
    ) -> RegenerateOutcome {
        let (old, new) = (request.place.session, request.session);
        let Some(record) = self.records.get(&old).cloned() else { return RegenerateOutcome::Gone };
        let (Some(before), Some(after)) =
            (Common::decode(&record), Common::decode(&request.record))
        else {
            return RegenerateOutcome::Unfit;
        };
        if after.created_at != before.created_at || self.records.contains_key(&new) {
            return RegenerateOutcome::Unfit;
        }
        if after.last_seen > now.saturating_add(LEAD) {
            return RegenerateOutcome::Skewed;
        }
        let mut fresh = request.record.clone();
        let seen = after.last_seen.max(before.last_seen);
        fresh[SEEN_AT..SEEN_AT + 8].copy_from_slice(&seen.to_be_bytes());
        let attributes = self.attributes.remove(&old);
        self.end(old, &record, now);
        self.records.insert(new, fresh);
        self.attributes.extend(attributes.map(|set| (new, set)));
        self.expires_at = self.expires_at.max(after.absolute_deadline.saturating_add(SLACK));
        log.add("regenerated", old, &record, &[("successor", new.to_string())]);
        RegenerateOutcome::Done
    }

    /// Reports something about a living session.
    pub fn report(&mut self, request: &Report, now: Millis) -> Effect<Reported> {
        let session = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let life = self.settle(session, now, &mut log);
        if let (Life::Alive, Some(record)) = (life, self.records.get(&session)) {
            log.add(request.action, session, record, &request.details);
        }
        log.with(Reported { now, life })
    }
}
