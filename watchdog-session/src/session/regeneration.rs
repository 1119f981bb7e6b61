use std::fmt;

use super::{Roles, Subject};
use crate::error::Result;

/// What becomes of a session that is exchanged for a new one: a new id, new tokens, and the old
/// ones dead at once (OWASP ASVS 5.0, 7.2.4).
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Regeneration {
    pub(crate) is_reauthentication: bool,
    pub(crate) roles: Option<Roles>,
    pub(crate) level: Option<String>,
    pub(crate) label: Option<String>,
    /// Whether label and level are as given even when none is given.
    pub(crate) is_login: bool,
}

/// Without the label.
impl fmt::Debug for Regeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regeneration")
            .field("is_reauthentication", &self.is_reauthentication)
            .field("roles", &self.roles)
            .field("level", &self.level)
            .field("is_login", &self.is_login)
            .finish_non_exhaustive()
    }
}

impl Regeneration {
    /// The user may do more or less than before. Idle and absolute deadline stay, and the time of
    /// the authentication, and the client that the session is bound to.
    pub fn privilege_change() -> Self {
        Self { is_reauthentication: false, roles: None, level: None, label: None, is_login: false }
    }

    /// The user has authenticated again. Both timers begin anew (NIST SP 800-63B-4, 5.2), and the
    /// session is bound to the client of this call.
    pub fn reauthenticated() -> Self {
        Self { is_reauthentication: true, ..Self::privilege_change() }
    }

    /// The same user has logged in again: nothing of what the login says is taken from before.
    #[cfg(feature = "axum")]
    pub(crate) fn login(subject: Subject) -> Self {
        Self {
            is_reauthentication: true,
            roles: Some(subject.roles),
            level: subject.level,
            label: subject.label,
            is_login: true,
        }
    }

    /// Sets the roles; without it they stay.
    pub fn with_roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.roles = Some(roles.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the level of the authentication, as [`Subject::with_level`]; without it, it stays.
    pub fn with_level(mut self, level: impl Into<String>) -> Self {
        self.level = Some(level.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let mut subject = Subject::user("-");
        subject.roles.clone_from(self.roles.as_ref().unwrap_or(&Vec::new()));
        subject.level.clone_from(&self.level);
        subject.label.clone_from(&self.label);
        subject.check()
    }
}
