//! What callers give and get: subjects, sessions, tokens.

mod regeneration;
mod revocation;
mod summary;

use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::audit::Client;

use crate::error::{Error, ErrorKind, Result};
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `acr` of OpenID Connect, such as `aal2`.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    pub(crate) roles: Roles,
    pub(crate) created_at: Timestamp,
    pub(crate) auth_time: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) idle_timeout: Millis,
    pub(crate) label: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) credential: Credential,
    pub(crate) location: Option<Location>,
    /// The session under whose id the attributes are sealed: the first of those that this one
    /// succeeds. `None` when only the record tells.
    pub(crate) origin: Option<SessionId>,
    pub(crate) issued_to: Client,
    pub(crate) client: Client,
    pub(crate) is_step_up_required: bool,
}

impl Session {
    /// The public handle of the session. It opens nothing.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The roles given at login.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Whether a role was given at login.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    /// When the user logged in.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When the user last authenticated: at the login, or for
    /// [`Regeneration::reauthenticated`].
    pub fn auth_time(&self) -> Timestamp {
        self.auth_time
    }

    /// When it was last known to be used, up to a touch interval behind; of one recognised by an
    /// access token, when the token was made.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    /// The device, as the application named it at login. An access token does not say it.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// How strongly the user authenticated, in the application's words.
    pub fn level(&self) -> Option<&str> {
        self.level.as_deref()
    }

    /// The client it was issued to. An access token does not say it.
    pub fn issued_to(&self) -> &Client {
        &self.issued_to
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
        self.expires_at
    }

    /// What it was recognised by.
    pub fn credential(&self) -> Credential {
        self.credential
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.location.map(|location| Place { location, session: self.id })
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
