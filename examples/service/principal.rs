//! Who asks, and what that allows.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use watchdog_core::audit::{Actor, Category, Client, Entry, Resource};
use watchdog_core::{Clock as _, SystemClock};
use watchdog_session::web::{CurrentSession, Rejection, RequestClient};
use watchdog_session::{Credential, Role, Session};

use crate::app::App;
use crate::failure::Failure;

/// A signed-in user and the client that asks.
pub(crate) struct Principal {
    pub(crate) session: Session,
    pub(crate) client: Client,
}

impl FromRequestParts<App> for Principal {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Rejection> {
        let CurrentSession(session) = CurrentSession::from_request_parts(parts, app).await?;
        let Ok(RequestClient(client)) = RequestClient::from_request_parts(parts, app).await;
        Ok(Self { session, client })
    }
}

impl Principal {
    /// The role, or `none`.
    pub(crate) fn role(&self) -> &str {
        self.session.roles().first().map_or("none", String::as_str)
    }

    /// An entry for something this user does.
    pub(crate) fn entry(&self, category: Category, action: &str, resource: Resource) -> Entry {
        let actor = Actor::user(self.session.user());
        entry(category, actor, action, resource)
            .with_client(self.client.clone())
            .with_detail("session", self.session.id().to_string())
    }

    /// What an answer says when this session has ended: to delete the cookie, if that holds it. A
    /// request by access token may have the cookie of another session beside it.
    pub(crate) fn signed_out(&self, app: &App) -> Result<HeaderMap, Failure> {
        match self.session.credential() {
            Credential::SessionToken => Ok(app.web.signed_out()?),
            _ => Ok(HeaderMap::new()),
        }
    }

    /// Passes for one of the roles; a refusal is recorded before it is answered.
    pub(crate) async fn require(
        &self,
        app: &App,
        roles: &[Role],
        action: &str,
        resource: &Resource,
    ) -> Result<(), Failure> {
        let principal = watchdog_session::Principal::from(&self.session);
        if principal.has_any_role(roles) {
            return Ok(());
        }
        app.web.sessions().deny(&principal, action, resource.clone(), &self.client).await?;
        Err(Failure::forbidden())
    }
}

/// An entry that happens now.
pub(crate) fn entry(category: Category, actor: Actor, action: &str, resource: Resource) -> Entry {
    Entry::new(uuid::Uuid::now_v7(), SystemClock.now(), category, actor, action, resource)
}
