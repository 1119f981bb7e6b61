use super::Effect;
use crate::place::{Place, SessionId};
use crate::record::{Millis, sealed_part};
use crate::store::{Event, Outbox};

/// Collects the events of one call.
pub(super) struct Log<'a> {
    place: Place,
    outbox: Option<&'a Outbox>,
    now: Millis,
    events: Vec<Event>,
}

impl<'a> Log<'a> {
    pub(super) fn new(place: Place, outbox: Option<&'a Outbox>, now: Millis) -> Self {
        Self { place, outbox, now, events: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        action: &str,
        session: SessionId,
        record: &[u8],
        details: &[(&str, String)],
    ) {
        let Some(outbox) = self.outbox else { return };
        self.events.push(Event {
            action: action.to_owned(),
            occurred_at: self.now,
            session,
            user: self.place.location.user,
            seed: outbox.seed,
            index: u32::try_from(self.events.len()).unwrap_or(u32::MAX),
            sealed: sealed_part(record).to_vec(),
            client: outbox.client.clone(),
            details: details
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        });
    }

    pub(super) fn with<T>(self, answer: T) -> Effect<T> {
        (answer, self.events)
    }
}
