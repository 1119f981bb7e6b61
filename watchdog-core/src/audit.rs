//! The `AuditSink` port and the entry it takes.
//!
//! Sessions, flags and storage report what happened through [`AuditSink`]; `watchdog-audit`
//! implements it. An [`Entry`] follows the vocabulary of CADF (DMTF DSP0262): an *actor* performed
//! an *action* on a *resource* with an *outcome*.

mod requester;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::Result;

pub use requester::Requester;

/// Takes audit entries.
#[async_trait]
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Records one entry.
    ///
    /// `Ok` means that the entry is durable in the sense of the sink. The same entry may arrive
    /// more than once: its [`Entry::id`] tells the copies apart from new entries.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the entry could not be made
    /// durable now, [`ErrorKind::Refused`](crate::ErrorKind::Refused) when it never will be.
    async fn record(&self, entry: Entry) -> Result<()>;
}

/// A sink for applications without an audit log: it takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAudit;

#[async_trait]
impl AuditSink for NoAudit {
    async fn record(&self, _entry: Entry) -> Result<()> {
        Ok(())
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Identity of the entry; a second delivery carries the same one.
    pub id: Uuid,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Which retention and archive rules it falls under.
    pub category: Category,
    /// Who did it.
    pub actor: Actor,
    /// What was done, as a dotted verb: `session.issued`, `flag.changed`.
    pub action: String,
    /// What it was done to.
    pub resource: Resource,
    /// How it ended.
    pub outcome: Outcome,
    /// From where.
    #[serde(default, skip_serializing_if = "Client::is_empty")]
    pub client: Client,
    /// The request it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The W3C trace id it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Anything more, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, serde_json::Value>,
}

impl Entry {
    /// An entry with outcome [`Outcome::Unknown`] and the random id `id`.
    pub fn new(
        id: Uuid,
        occurred_at: Timestamp,
        category: Category,
        actor: Actor,
        action: impl Into<String>,
        resource: Resource,
    ) -> Self {
        Self {
            id,
            occurred_at,
            category,
            actor,
            action: action.into(),
            resource,
            outcome: Outcome::Unknown,
            client: Client::default(),
            request_id: None,
            trace_id: None,
            details: BTreeMap::new(),
        }
    }

    /// Sets how it ended.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets from where it came.
    #[must_use]
    pub fn with_client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// Sets the request it belongs to.
    #[must_use]
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// Sets the W3C trace id it belongs to.
    #[must_use]
    pub fn with_trace_id(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }
}

/// Which retention and archive rules an entry falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Category {
    /// What users did in the application.
    Application,
    /// Changes of stored data and schema.
    Database,
    /// Who read or reached what.
    Access,
    /// Logins, token theft, permission changes.
    Security,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 4] = [Self::Application, Self::Database, Self::Access, Self::Security];

    /// The name used in archives and variables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Database => "database",
            Self::Access => "access",
            Self::Security => "security",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of actor: `user`, `service`, `anonymous`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The actor's id within its kind.
    pub id: String,
}

impl Actor {
    /// A person.
    pub fn user(id: impl Into<String>) -> Self {
        Self { kind: "user".into(), id: id.into() }
    }

    /// A program, this one included.
    pub fn service(id: impl Into<String>) -> Self {
        Self { kind: "service".into(), id: id.into() }
    }

    /// Somebody who did not say who they are.
    pub fn anonymous() -> Self {
        Self { kind: "anonymous".into(), id: String::new() }
    }
}

/// What an action was done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// What kind of thing: `session`, `file`, `flag`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id within its kind.
    pub id: String,
}

impl Resource {
    /// A resource of a kind.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into() }
    }
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused by a rule.
    Denied,
    /// It was allowed and did not work.
    Failure,
    /// Nobody said how it ended.
    Unknown,
}

/// From where an action came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Client {
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The client's user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

impl Client {
    /// A client that is not known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A client with an address and a user agent.
    pub fn new(ip: Option<IpAddr>, user_agent: Option<String>) -> Self {
        Self { ip, user_agent }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.ip.is_none() && self.user_agent.is_none()
    }
}
