//! What callers give and get: subjects, sessions, tokens.

mod regeneration;
mod revocation;
mod summary;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::audit::Client;

use crate::error::{Error, ErrorKind, Result};
use crate::event::timestamp;
use crate::place::{Location, Place, SessionId};
use crate::record::Millis;
use crate::rotation::Verdict;
use crate::token::{AccessToken, RefreshToken, SessionToken};

pub use regeneration::Regeneration;
pub use revocation::{Revocation, RevokeReason};
pub use summary::SessionSummary;

/// Longest user id, in bytes.
pub const MAX_USER_BYTES: usize = 256;
/// Most roles of a session.
pub const MAX_ROLES: usize = 32;
/// Longest role, in bytes.
pub const MAX_ROLE_BYTES: usize = 64;
/// Longest device label, and longest level of an authentication, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

pub(crate) type Roles = Vec<String>;

/// Whom a session is issued to.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    pub(crate) user: String,
    pub(crate) roles: Roles,
    pub(crate) label: Option<String>,
    pub(crate) level: Option<String>,
}

impl Subject {
    /// A user by the application's own id.
    pub fn user(id: impl Into<String>) -> Self {
        Self { user: id.into(), roles: Vec::new(), label: None, level: None }
    }

    /// Names the device, for a list of the user's sessions: 1 to 64 bytes.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Says how strongly the user authenticated, in the application's words, 1 to 64 bytes: the
    /// `acr` of `OpenID` Connect, such as `aal2`.
    #[must_use]
    pub fn with_level(mut self, level: impl Into<String>) -> Self {
        self.level = Some(level.into());
        self
    }

    /// Sets the roles, which the session and its access tokens carry.
    #[must_use]
    pub fn with_roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let misuse = |what| Err(Error::new(ErrorKind::Misuse, what));
        if self.user.is_empty() || self.user.len() > MAX_USER_BYTES {
            return misuse("a user id has 1 to 256 bytes");
        }
        if self.roles.len() > MAX_ROLES {
            return misuse("a session has at most 32 roles");
        }
        if self.roles.iter().any(|role| role.is_empty() || role.len() > MAX_ROLE_BYTES) {
            return misuse("a role has 1 to 64 bytes");
        }
        let texts = [&self.label, &self.level];
        if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_LABEL_BYTES) {
            return misuse("a label or level has 1 to 64 bytes");
        }
        Ok(())
    }
}

/// Without the user and the label: what is logged is nobody's business.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("roles", &self.roles)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// What a session was recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// Its session token: the store was asked, the session exists.
    SessionToken,
    /// An access token: the session existed when the token was made, at most its lifetime ago.
    AccessToken,
}

/// A session that somebody proved to hold.
///
/// A clone shares what is known of it and costs next to nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    facts: Arc<Facts>,
    last_seen: Millis,
    credential: Credential,
    /// Whoever holds it now, when that is not quite whom it was issued to.
    caller: Option<Arc<Client>>,
    is_step_up_required: bool,
}

/// What is known of a session, whoever presents it and whenever.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    pub(crate) roles: Roles,
    pub(crate) created_at: Timestamp,
    pub(crate) auth_time: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) idle_timeout: Millis,
    pub(crate) label: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) location: Option<Location>,
    /// The session under whose id the attributes are sealed: the first of those that this one
    /// succeeds. `None` when only the record tells.
    pub(crate) origin: Option<SessionId>,
    /// The client of its login; unknown from an access token.
    pub(crate) issued_to: Client,
}

/// Id, times and roles, and of no person anything.
impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("id", &self.id)
            .field("roles", &self.roles)
            .field("created_at", &self.created_at)
            .field("auth_time", &self.auth_time)
            .field("expires_at", &self.expires_at)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("facts", &self.facts)
            .field("last_seen", &self.last_seen())
            .field("credential", &self.credential)
            .field("is_step_up_required", &self.is_step_up_required)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session with the facts about it, as `caller` presents it.
    pub(crate) fn new(
        facts: Arc<Facts>,
        last_seen: Millis,
        credential: Credential,
        caller: &Client,
    ) -> Self {
        let caller = (facts.issued_to != *caller).then(|| Arc::new(caller.clone()));
        Self { facts, last_seen, credential, caller, is_step_up_required: false }
    }

    pub(crate) fn with_step_up_required(mut self, is_required: bool) -> Self {
        self.is_step_up_required = is_required;
        self
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The public handle of the session. It opens nothing.
    pub fn id(&self) -> SessionId {
        self.facts.id
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.facts.user
    }

    /// The roles given at login.
    pub fn roles(&self) -> &[String] {
        &self.facts.roles
    }

    /// Whether a role was given at login.
    pub fn has_role(&self, role: &str) -> bool {
        self.facts.roles.iter().any(|held| held == role)
    }

    /// When the user logged in.
    pub fn created_at(&self) -> Timestamp {
        self.facts.created_at
    }

    /// When the user last authenticated: at the login, or for
    /// [`Regeneration::reauthenticated`].
    pub fn auth_time(&self) -> Timestamp {
        self.facts.auth_time
    }

    /// When it was last known to be used, up to a touch interval behind; of one recognised by an
    /// access token, when the token was made.
    pub fn last_seen(&self) -> Timestamp {
        timestamp(self.last_seen)
    }

    /// The device, as the application named it at login. An access token does not say it.
    pub fn label(&self) -> Option<&str> {
        self.facts.label.as_deref()
    }

    /// How strongly the user authenticated, in the application's words.
    pub fn level(&self) -> Option<&str> {
        self.facts.level.as_deref()
    }

    /// The client it was issued to. An access token does not say it.
    pub fn issued_to(&self) -> &Client {
        &self.facts.issued_to
    }

    /// Whether the client is not the one the session is bound to, so that the user must
    /// authenticate again. Only
    /// [`authenticate_for_step_up`](crate::Sessions::authenticate_for_step_up) gives such a
    /// session; use it for that alone.
    pub fn is_step_up_required(&self) -> bool {
        self.is_step_up_required
    }

    /// When it ends at the latest: the absolute deadline, or the end of the access token it was
    /// recognised by.
    pub fn expires_at(&self) -> Timestamp {
        self.facts.expires_at
    }

    /// What it was recognised by.
    pub fn credential(&self) -> Credential {
        self.credential
    }

    /// The client that presented it.
    pub(crate) fn caller(&self) -> &Client {
        self.caller.as_deref().unwrap_or(&self.facts.issued_to)
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.facts.location.map(|location| Place { location, session: self.facts.id })
    }
}

/// A new session and its tokens.
#[derive(Clone, Debug)]
pub struct Issued {
    /// For the session cookie.
    pub session_token: SessionToken,
    /// For refreshing the access token.
    pub refresh_token: RefreshToken,
    /// For calls that are checked without asking the store.
    pub access_token: AccessToken,
    /// How long the access token lives.
    pub expires_in: Duration,
    /// The session itself.
    pub session: Session,
}

/// New tokens for a session.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The token to refresh with next time; the one presented when rotation is off.
    pub refresh_token: RefreshToken,
    /// The new access token.
    pub access_token: AccessToken,
    /// How long the access token lives.
    pub expires_in: Duration,
    /// How the presented token was taken.
    pub verdict: Verdict,
    /// The session itself.
    pub session: Session,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_have_bounds() {
        let ok = |subject: &Subject| subject.check().is_ok();
        assert!(ok(&Subject::user("a").with_roles(["admin"])));
        assert!(ok(&Subject::user("a".repeat(256)).with_roles(vec!["r".repeat(64); 32])));
        assert!(!ok(&Subject::user("")));
        assert!(!ok(&Subject::user("a".repeat(257))));
        assert!(!ok(&Subject::user("a").with_roles(vec!["r"; 33])));
        assert!(!ok(&Subject::user("a").with_roles([""])));
        assert!(!ok(&Subject::user("a").with_roles(["r".repeat(65)])));
        assert!(ok(&Subject::user("a").with_label("l".repeat(64)).with_level("aal2")));
        assert!(!ok(&Subject::user("a").with_label("l".repeat(65))));
        assert!(!ok(&Subject::user("a").with_level("")));
    }
}
