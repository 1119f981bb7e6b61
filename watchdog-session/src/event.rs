//! From an event in the outbox to an audit entry.

#[cfg(test)]
mod tests;

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

    /// What the events of one call carry: from where it came, and by whom when that is not the user
    /// of the session.
    pub(crate) fn outbox(
        &self,
        client: &Client,
        by: Option<&Actor>,
        now: Millis,
    ) -> Result<Outbox> {
        let seed = seed(now)?;
        let user_agent = client.user_agent.as_deref().map(|agent| cut(agent).to_owned());
        let caller = Caller { client: Client::new(client.ip, user_agent), by: by.cloned() };
        let caller = serde_json::to_vec(&caller)
            .map_err(|error| Error::new(ErrorKind::Internal, "client").with_source(error))?;
        Ok(Outbox { seed, client: self.clients.seal(&seed, &caller)? })
    }

    /// What a call carried, for another call about the same.
    pub(crate) fn renewed(&self, outbox: &Outbox, now: Millis) -> Result<Outbox> {
        let caller = self.clients.open(&outbox.seed, &outbox.client)?;
        let seed = seed(now)?;
        Ok(Outbox { seed, client: self.clients.seal(&seed, &caller)? })
    }

    /// The audit entry of an event. What cannot be opened is left out, never the entry.
    pub(crate) fn entry(&self, bucket: u16, event: &Event) -> Entry {
        let identity = Identity::open(&self.records, event.place(bucket), &event.sealed).ok();
        let caller: Caller = self
            .clients
            .open(&event.seed, &event.client)
            .ok()
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .unwrap_or_default();
        let (actor, owner) = actor_of(event, caller.by, identity.map(|identity| identity.user));
        let mut entry = Entry::new(
            entry_id(event.seed, event.index, &event.action),
            timestamp(event.occurred_at),
            Category::Security,
            actor,
            format!("session.{}", name_of(&event.action)),
            resource_of(bucket, event),
        )
        .with_outcome(outcome_of(event))
        .with_client(caller.client);
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

fn seed(now: Millis) -> Result<[u8; 16]> {
    let mut random = [0; 10];
    fill_random(&mut random)?;
    Ok(*uuid::Builder::from_unix_timestamp_millis(now, &random).into_uuid().as_bytes())
}

/// From where a call came, and by whom, as it is sealed into its events. Releases that know no `by`
/// pass over it, and write none.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Caller {
    #[serde(flatten)]
    client: Client,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Actor>,
}

/// Whose act an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agency {
    /// Of time, the concurrent limit, the detection of a theft or a policy: nobody is named who
    /// happened to make the call that found it.
    Service,
    /// Of who made the call; of the user of the session unless somebody else is named.
    Caller,
    /// Of somebody else than the user, if named.
    Other,
}

fn agency(event: &Event) -> Agency {
    match &*event.action {
        "expired" | "evicted" | "reuse" | "binding_mismatch" | "events_dropped" => Agency::Service,
        "everybody_revoked" => Agency::Other,
        "revoked" => match detail(event, "reason") {
            Some("binding_mismatch") => Agency::Service,
            Some(reason) if is_own_reason(reason) => Agency::Caller,
            _ => Agency::Other,
        },
        _ => Agency::Caller,
    }
}

fn is_own_reason(reason: &str) -> bool {
    [RevokeReason::Logout, RevokeReason::User].iter().any(|own| own.as_str() == reason)
}

/// Who did it, and whose session it was when that is not the same.
fn actor_of(event: &Event, by: Option<Actor>, owner: Option<String>) -> (Actor, Option<String>) {
    let own = || owner.clone().map_or_else(Actor::anonymous, Actor::user);
    let actor = match (agency(event), by) {
        (Agency::Caller | Agency::Other, Some(by)) => by,
        (Agency::Caller, None) => own(),
        (Agency::Other, None) | (Agency::Service, _) => Actor::service(SERVICE),
    };
    let is_own = owner.is_some() && actor == own();
    (actor, owner.filter(|_| !is_own))
}

fn detail<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.details.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
}

fn resource_of(bucket: u16, event: &Event) -> Resource {
    match &*event.action {
        "everybody_revoked" => Resource::new("session", "*"),
        "events_dropped" => Resource::new("session_events", bucket.to_string()),
        _ => Resource::new("session", event.session.to_string()),
    }
}

fn name_of(action: &str) -> &str {
    match action {
        "reuse" => "refresh_token_reused",
        "kept" => "refreshed",
        "grace" => "grace_used",
        other => other,
    }
}

fn outcome_of(event: &Event) -> Outcome {
    match &*event.action {
        "reuse" => Outcome::Denied,
        // Under the policy `log` the session goes on.
        "binding_mismatch" if detail(event, "action") == Some("log") => Outcome::Success,
        "binding_mismatch" => Outcome::Denied,
        "events_dropped" => Outcome::Failure,
        _ => Outcome::Success,
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
