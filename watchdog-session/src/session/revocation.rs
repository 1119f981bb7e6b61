use std::fmt;

use watchdog_core::audit::Actor;

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
    /// It was used by another client than the one it is bound to.
    BindingMismatch,
}

impl RevokeReason {
    /// The name used in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::User => "user",
            Self::Administrator => "administrator",
            Self::CredentialsChanged => "credentials_changed",
            Self::BindingMismatch => "binding_mismatch",
        }
    }
}

impl fmt::Display for RevokeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a session is revoked, and by whom. A [`RevokeReason`] alone is one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Why.
    pub reason: RevokeReason,
    /// By whom; without one the event names the user for what users do, and the service else.
    pub by: Option<Actor>,
}

impl Revocation {
    /// A revocation by somebody.
    pub fn by(reason: RevokeReason, actor: Actor) -> Self {
        Self { reason, by: Some(actor) }
    }
}

impl From<RevokeReason> for Revocation {
    fn from(reason: RevokeReason) -> Self {
        Self { reason, by: None }
    }
}
