//! Who acts, and what roles they have.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::access::AccessClaims;
use crate::place::SessionId;
use crate::session::{Credential, Session};

/// A role: what a principal may be allowed something for.
///
/// Roles are compared byte by byte; there is no order among them, and none contains another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role(Cow<'static, str>);

impl Role {
    /// Whoever runs the service.
    pub const ADMIN: Self = Self::named("admin");
    /// Whoever looks into what happened.
    pub const ANALYST: Self = Self::named("analyst");
    /// Whoever reads.
    pub const VIEWER: Self = Self::named("viewer");

    /// A role of the application's own, as a constant.
    pub const fn named(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A role of the application's own.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name, as sessions and access tokens carry it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Role {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Role {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Role {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl FromStr for Role {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::new(name))
    }
}

impl PartialEq<str> for Role {
    fn eq(&self, name: &str) -> bool {
        self.0 == name
    }
}

impl PartialEq<&str> for Role {
    fn eq(&self, name: &&str) -> bool {
        self.0 == *name
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0.into_owned()
    }
}

/// Who acts: a user with roles, and how that was proved.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    user: String,
    roles: Vec<Role>,
    credential: Credential,
    session: SessionId,
}

/// Without the user.
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("roles", &self.roles)
            .field("credential", &self.credential)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Principal {
    pub(crate) fn new(
        user: String,
        roles: impl IntoIterator<Item = String>,
        credential: Credential,
        session: SessionId,
    ) -> Self {
        Self { user, roles: roles.into_iter().map(Role::new).collect(), credential, session }
    }

    /// The user's id.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The roles of the session.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Whether it has a role.
    pub fn has_role(&self, role: &Role) -> bool {
        self.roles.contains(role)
    }

    /// Whether it has one of some roles. Nobody has one of none.
    pub fn has_any_role(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has_role(role))
    }

    /// What it was recognised by.
    pub fn credential(&self) -> Credential {
        self.credential
    }

    /// The session it acts in.
    pub fn session(&self) -> SessionId {
        self.session
    }
}

impl From<&Session> for Principal {
    fn from(session: &Session) -> Self {
        Self::new(
            session.user().to_owned(),
            session.roles().iter().cloned(),
            session.credential(),
            session.id(),
        )
    }
}

/// For services that check access tokens without the store.
impl From<&AccessClaims> for Principal {
    fn from(claims: &AccessClaims) -> Self {
        Self::new(
            claims.user().to_owned(),
            claims.roles().iter().cloned(),
            Credential::AccessToken,
            claims.session(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_compared_byte_by_byte_and_nobody_has_one_of_none() {
        let session = SessionId::from_bytes([1; 16]);
        let roles = ["admin".to_owned(), "own".to_owned()];
        let principal = Principal::new("alice".into(), roles, Credential::SessionToken, session);
        assert!(principal.has_role(&Role::ADMIN));
        assert!(principal.has_role(&Role::new("own")));
        assert!(!principal.has_role(&Role::new("Admin")));
        assert!(principal.has_any_role(&[Role::VIEWER, Role::ADMIN]));
        assert!(!principal.has_any_role(&[Role::VIEWER, Role::ANALYST]));
        assert!(!principal.has_any_role(&[]));
        assert_eq!(serde_json::to_string(&Role::VIEWER).unwrap(), "\"viewer\"");
        assert_eq!(serde_json::from_str::<Role>("\"viewer\"").unwrap(), Role::VIEWER);
    }

    #[test]
    fn roles_are_made_of_and_compared_with_text() {
        let role: Role = "own".parse().unwrap();
        assert_eq!(role, Role::from("own".to_owned()));
        assert_eq!(role, "own");
        assert_eq!(role, *"own");
        assert_ne!(role, "Own");
    }

    #[tokio::test]
    async fn an_access_token_stands_for_the_principal_of_its_session() {
        let keys = watchdog_core::KeyRing::ephemeral().unwrap();
        let sessions = crate::Sessions::builder(&keys).build().unwrap();
        let subject = crate::Subject::user("alice").with_roles(["admin"]);
        let issued = sessions.issue(subject, &crate::Client::unknown()).await.unwrap();
        let claims = sessions
            .verifier()
            .check_by(issued.access_token.expose(), &watchdog_core::SystemClock)
            .unwrap();
        let principal = Principal::from(&claims);
        let session = sessions.authenticate_access(issued.access_token.expose()).unwrap();
        assert_eq!(principal, Principal::from(&session));
        assert!(principal.has_role(&Role::ADMIN));
    }
}
