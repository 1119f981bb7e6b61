use std::collections::BTreeMap;

use super::{Effect, Log, UserSessions};
use crate::place::Place;
use crate::record::Millis;
use crate::store::{
    Life, MAX_ATTRIBUTES, MAX_REMEMBERED_UPDATES, StoredAttribute, StoredAttributes, UPDATE_MEMORY,
    Update, UpdateOutcome, Updated,
};

/// What a store keeps for the application in one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeSet {
    /// How many updates there were.
    pub version: u64,
    /// Version and value, by name.
    pub values: BTreeMap<String, (u64, Vec<u8>)>,
    /// The latest updates, so that a repeat of one is known: its mark, its time, and the version it
    /// made.
    pub recent: Vec<([u8; 8], Millis, u64)>,
}

impl UserSessions {
    /// Reads the attributes of a session.
    pub fn attributes(&self, place: &Place) -> StoredAttributes {
        let Some(set) = self.attributes.get(&place.session) else {
            return StoredAttributes::default();
        };
        let values = set.values.iter().map(|(name, (version, value))| StoredAttribute {
            name: name.clone(),
            version: *version,
            value: value.clone(),
        });
        StoredAttributes { version: set.version, values: values.collect() }
    }

    /// Changes attributes of a living session.
    pub fn update(&mut self, request: &Update, now: Millis) -> Effect<Updated> {
        let session = request.place.session;
        let mut log = Log::new(request.place, request.outbox.as_ref(), now);
        let outcome = match self.settle(session, now, &mut log) {
            Life::Gone => UpdateOutcome::Gone,
            Life::Expired => UpdateOutcome::Expired,
            Life::Alive => {
                let held = self.attributes.get(&session).cloned().unwrap_or_default();
                let (outcome, next) = held.updated(request, now);
                if let Some(next) = next {
                    self.attributes.insert(session, next);
                }
                outcome
            }
        };
        log.with(Updated { now, outcome })
    }
}

impl AttributeSet {
    /// What an update leads to, and the set after it when it changes.
    fn updated(mut self, request: &Update, now: Millis) -> (UpdateOutcome, Option<Self>) {
        if let Some(&(_, _, version)) =
            self.recent.iter().find(|(nonce, ..)| *nonce == request.nonce)
        {
            return (UpdateOutcome::Done { version }, None);
        }
        let version = self.version;
        let stands =
            |expected: Option<u64>, version| expected.is_none_or(|wanted| wanted == version);
        let of = |name: &str| self.values.get(name).map_or(0, |(version, _)| *version);
        let as_expected = stands(request.expected, version)
            && request.changes.iter().all(|change| stands(change.expected, of(&change.name)));
        if !as_expected {
            return (UpdateOutcome::Conflict { version }, None);
        }
        let version = version + 1;
        if request.clear {
            self.values.clear();
        }
        for change in &request.changes {
            match &change.value {
                Some(value) => {
                    self.values.insert(change.name.clone(), (version, value.clone()));
                }
                None => {
                    self.values.remove(&change.name);
                }
            }
        }
        if self.values.len() > MAX_ATTRIBUTES {
            return (UpdateOutcome::Full, None);
        }
        self.version = version;
        self.recent.retain(|&(_, at, _)| now <= at.saturating_add(UPDATE_MEMORY));
        let beyond = (self.recent.len() + 1).saturating_sub(MAX_REMEMBERED_UPDATES);
        self.recent.drain(..beyond);
        self.recent.push((request.nonce, now, version));
        (UpdateOutcome::Done { version }, Some(self))
    }
}
