//! From an event in the outbox to an audit entry.

use aws_lc_rs::digest;
use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};
use watchdog_core::{CipherKeys, RootKeys, Timestamp, fill_random};

use crate::client::cut;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Identity, Millis};
use crate::store::{Event, Outbox};

/// Seals what events carry, and opens it again.
#[derive(Debug)]
pub(crate) struct EventKeys {
    records: CipherKeys,
    clients: CipherKeys,
}

impl EventKeys {
    pub(crate) fn new(encryption: &RootKeys) -> Result<Self> {
        let records = encryption.cipher("session/record/v1")?;
        Ok(Self { records, clients: encryption.cipher("session/event/v1")? })
    }

    pub(crate) fn records(&self) -> &CipherKeys {
        &self.records
    }

    /// What the events of one call carry.
    pub(crate) fn outbox(&self, client: &Client, now: Millis) -> Result<Outbox> {
        let mut random = [0; 10];
        fill_random(&mut random)?;
        let seed = *uuid::Builder::from_unix_timestamp_millis(now, &random).into_uuid().as_bytes();
        let user_agent = client.user_agent.as_deref().map(|agent| cut(agent).to_owned());
        let client = serde_json::to_vec(&Client::new(client.ip, user_agent))
            .map_err(|error| Error::new(ErrorKind::Internal, "client").with_source(error))?;
        Ok(Outbox { seed, client: self.clients.seal(&seed, &client)? })
    }

    /// The audit entry of an event. What cannot be opened is left out, never the entry.
    pub(crate) fn entry(&self, bucket: u16, event: &Event) -> Entry {
        let identity = Identity::open(&self.records, event.place(bucket), &event.sealed).ok();
        let client = self
            .clients
            .open(&event.seed, &event.client)
            .ok()
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .unwrap_or_default();
        let actor = match identity {
            Some(identity) => Actor::user(identity.user),
            None => Actor::anonymous(),
        };
        let (action, outcome) = named(&event.action);
        let mut entry = Entry::new(
            entry_id(event.seed, event.index),
            timestamp(event.occurred_at),
            Category::Security,
            actor,
            format!("session.{action}"),
            Resource::new("session", event.session.to_string()),
        )
        .with_outcome(outcome)
        .with_client(client);
        for (name, value) in &event.details {
            entry = match value.parse::<u64>() {
                Ok(number) => entry.with_detail(name, number),
                Err(_) => entry.with_detail(name, value.as_str()),
            };
        }
        entry
    }
}

fn named(action: &str) -> (&str, Outcome) {
    match action {
        "reuse" => ("refresh_token_reused", Outcome::Denied),
        "kept" => ("refreshed", Outcome::Success),
        "grace" => ("grace_used", Outcome::Success),
        other => (other, Outcome::Success),
    }
}

/// The id of an event's entry: a function of the call and the position, so that every delivery,
/// and every repeat of the call, carries the same one.
fn entry_id(seed: [u8; 16], index: u32) -> Uuid {
    if index == 0 {
        return Uuid::from_bytes(seed);
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&seed);
    context.update(&index.to_be_bytes());
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&seed[..6]);
    bytes[6..].copy_from_slice(&context.finish().as_ref()[..10]);
    uuid::Builder::from_bytes(bytes)
        .with_variant(uuid::Variant::RFC4122)
        .with_version(uuid::Version::SortRand)
        .into_uuid()
}

/// A time of the store as a timestamp; beyond the calendar, its end.
pub(crate) fn timestamp(millis: Millis) -> Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_distinct_and_version_seven() {
        let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
        let seed = keys.outbox(&Client::unknown(), 1_767_225_600_000).unwrap().seed;
        let ids: Vec<_> = (0..4).map(|index| entry_id(seed, index)).collect();
        let again: Vec<_> = (0..4).map(|index| entry_id(seed, index)).collect();
        assert_eq!(ids, again);
        for (position, id) in ids.iter().enumerate() {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_767_225_600);
            assert!(!ids[..position].contains(id));
        }
    }

    #[test]
    fn an_event_that_cannot_be_opened_is_an_entry_all_the_same() {
        let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
        let event = Event {
            action: "reuse".into(),
            occurred_at: u64::MAX,
            session: crate::SessionId::from_bytes([1; 16]),
            user: [2; 16],
            seed: [3; 16],
            index: 1,
            sealed: b"garbage".to_vec(),
            client: Vec::new(),
            details: vec![("age".into(), "7".into()), ("reason".into(), "x".into())],
        };
        let entry = keys.entry(9, &event);
        assert_eq!(entry.actor, Actor::anonymous());
        assert_eq!(entry.action, "session.refresh_token_reused");
        assert_eq!(entry.outcome, Outcome::Denied);
        assert_eq!(entry.details["age"], 7);
        assert_eq!(entry.details["reason"], "x");
    }
}
