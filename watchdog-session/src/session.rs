//! What callers give and get: subjects, sessions, tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::audit::Client;

use crate::error::{Error, ErrorKind, Result};
use crate::place::{Location, Place, SessionId};
use crate::rotation::Verdict;
use crate::token::{AccessToken, RefreshToken, SessionToken};

/// Longest user id, in bytes.
pub const MAX_USER_BYTES: usize = 256;
/// Most roles of a session.
pub const MAX_ROLES: usize = 32;
/// Longest role, in bytes.
pub const MAX_ROLE_BYTES: usize = 64;

/// Whom a session is issued to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub(crate) user: String,
    pub(crate) roles: Vec<String>,
}

impl Subject {
    /// A user by the application's own id.
    pub fn user(id: impl Into<String>) -> Self {
        Self { user: id.into(), roles: Vec::new() }
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
        Ok(())
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    facts: Arc<Facts>,
    credential: Credential,
    /// Whoever holds it now, when that is not quite whom it was issued to.
    caller: Option<Arc<Client>>,
}

/// What is known of a session, whoever presents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    pub(crate) roles: Vec<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) location: Option<Location>,
    /// The client of its login; unknown from an access token.
    pub(crate) issued_to: Client,
}

impl Session {
    /// A session with the facts about it, as `caller` presents it.
    pub(crate) fn new(facts: Arc<Facts>, credential: Credential, caller: &Client) -> Self {
        let caller = (facts.issued_to != *caller).then(|| Arc::new(caller.clone()));
        Self { facts, credential, caller }
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

/// Why a session is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeReason {
    /// Its user logged out.
    Logout,
    /// Its user ended it from another session.
    User,
    /// Somebody responsible ended it.
    Administrator,
    /// Its user's credentials changed.
    CredentialsChanged,
}

impl RevokeReason {
    /// The name used in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::User => "user",
            Self::Administrator => "administrator",
            Self::CredentialsChanged => "credentials_changed",
        }
    }
}

impl fmt::Display for RevokeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
    }
}
