//! From an event in the outbox to an audit entry.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};
use watchdog_core::{CipherKeys, RootKeys, Timestamp, fill_random};

use crate::client::cut;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Identity, Millis};
use crate::session::RevokeReason;
use crate::store::{Event, Outbox};

/// Who did what no user did.
const SERVICE: &str = "watchdog-session";

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

    /// What the events of one call carry: the client, and whose act it is when the caller says so.
    pub(crate) fn outbox(
        &self,
        client: &Client,
        by: Option<&Actor>,
        now: Millis,
    ) -> Result<Outbox> {
        let mut random = [0; 10];
        fill_random(&mut random)?;
        let seed = *uuid::Builder::from_unix_timestamp_millis(now, &random).into_uuid().as_bytes();
        let user_agent = client.user_agent.as_deref().map(|agent| cut(agent).to_owned());
        let caller = Caller { client: Client::new(client.ip, user_agent), by: by.cloned() };
        let client = serde_json::to_vec(&caller)
            .map_err(|error| Error::new(ErrorKind::Internal, "client").with_source(error))?;
        Ok(Outbox { seed, client: self.clients.seal(&seed, &client)? })
    }

    /// The audit entry of an event. What cannot be opened is left out, never the entry.
    pub(crate) fn entry(&self, bucket: u16, event: &Event) -> Entry {
        let identity = Identity::open(&self.records, event.place(bucket), &event.sealed).ok();
        let Caller { client, by } = self
            .clients
            .open(&event.seed, &event.client)
            .ok()
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .unwrap_or_default();
        let owner = identity.map(|identity| identity.user);
        let (actor, owner) = match (by, owner) {
            (Some(actor), owner) => {
                let other = owner.filter(|owner| actor != Actor::user(owner.as_str()));
                (actor, other)
            }
            (None, owner) if !is_own_act(event) => (Actor::service(SERVICE), owner),
            (None, Some(user)) => (Actor::user(user), None),
            (None, None) => (Actor::anonymous(), None),
        };
        let (action, outcome) = named(event);
        let mut entry = Entry::new(
            entry_id(event.seed, event.index, &event.action),
            timestamp(event.occurred_at),
            Category::Security,
            actor,
            format!("session.{action}"),
            Resource::new("session", event.session.to_string()),
        )
        .with_outcome(outcome)
        .with_client(client);
        if let Some(owner) = owner {
            entry = entry.with_detail("owner", owner);
        }
        for (name, value) in &event.details {
            entry = match value.parse::<u64>() {
                Ok(number) => entry.with_detail(name, number),
                Err(_) => entry.with_detail(name, value.as_str()),
            };
        }
        entry
    }
}

/// What an event carries of its call, sealed. The release before wrote the client alone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Caller {
    #[serde(flatten)]
    client: Client,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Actor>,
}

/// Whether the user of the session did it. What time, the concurrent limit, the detection of reuse
/// or somebody else did to the session is not laid at the user's door.
fn is_own_act(event: &Event) -> bool {
    let reason = event.details.iter().find(|(name, _)| name == "reason");
    match &*event.action {
        "expired" | "evicted" | "reuse" | "binding_mismatch" | "everybody_revoked" => false,
        "revoked" => reason.is_some_and(|(_, reason)| {
            [RevokeReason::Logout, RevokeReason::User].iter().any(|own| own.as_str() == reason)
        }),
        _ => true,
    }
}

fn named(event: &Event) -> (&str, Outcome) {
    match &*event.action {
        "reuse" => ("refresh_token_reused", Outcome::Denied),
        "kept" => ("refreshed", Outcome::Success),
        "grace" => ("grace_used", Outcome::Success),
        // Under the policy `log` the request was served.
        "binding_mismatch" if !event.details.contains(&("action".into(), "log".into())) => {
            ("binding_mismatch", Outcome::Denied)
        }
        other => (other, Outcome::Success),
    }
}

/// The id of an event's entry: a function of the call, the position and what happened, so that every
/// delivery carries the same one. A repeat of a call that finds things changed reports something
/// else (a rotation first, a reuse the second time), and that is an entry of its own.
fn entry_id(seed: [u8; 16], index: u32, action: &str) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&seed);
    context.update(&index.to_be_bytes());
    context.update(action.as_bytes());
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
        let seed = keys.outbox(&Client::unknown(), None, 1_767_225_600_000).unwrap().seed;
        let ids: Vec<_> = (0..4).map(|index| entry_id(seed, index, "rotated")).collect();
        let again: Vec<_> = (0..4).map(|index| entry_id(seed, index, "rotated")).collect();
        assert_eq!(ids, again);
        // A rotation whose answer was lost, and the theft that its repeat looks like.
        assert!(!ids.contains(&entry_id(seed, 0, "reuse")));
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
        assert_eq!(entry.actor, Actor::service("watchdog-session"));
        assert_eq!(entry.action, "session.refresh_token_reused");
        assert_eq!(entry.outcome, Outcome::Denied);
        assert_eq!(entry.details["age"], 7);
        assert_eq!(entry.details["reason"], "x");
    }

    #[test]
    fn only_what_the_user_did_has_the_user_as_its_actor() {
        let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
        let identity = Identity {
            user: "alice".into(),
            roles: Vec::new(),
            ip: None,
            user_agent: None,
            created_at: 1,
            absolute_deadline: 2,
            idle_timeout: 1,
            auth_time: None,
            label: None,
            level: None,
            origin: None,
        };
        let mut event = Event {
            action: String::new(),
            occurred_at: 1,
            session: crate::SessionId::from_bytes([1; 16]),
            user: [2; 16],
            seed: [3; 16],
            index: 0,
            sealed: Vec::new(),
            client: Vec::new(),
            details: Vec::new(),
        };
        event.sealed = identity.seal(&keys.records, event.place(9)).unwrap();
        let mut actor = |action: &str, reason: Option<RevokeReason>| {
            event.action = action.into();
            event.details = reason
                .map(|reason| ("reason".into(), reason.as_str().into()))
                .into_iter()
                .collect();
            let entry = keys.entry(9, &event);
            (entry.actor, entry.details.get("owner").cloned())
        };
        let own = (Actor::user("alice"), None);
        for action in ["issued", "rotated", "kept", "grace", "repaired"] {
            assert_eq!(actor(action, None), own, "{action}");
        }
        assert_eq!(actor("revoked", Some(RevokeReason::Logout)), own);
        assert_eq!(actor("revoked", Some(RevokeReason::User)), own);
        let not_own = (Actor::service("watchdog-session"), Some("alice".into()));
        for action in ["expired", "evicted", "reuse", "revoked"] {
            assert_eq!(actor(action, None), not_own, "{action}");
        }
        assert_eq!(actor("revoked", Some(RevokeReason::Administrator)), not_own);
        assert_eq!(actor("revoked", Some(RevokeReason::CredentialsChanged)), not_own);
    }
}
