//! Who asks, and what that allows.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use watchdog_audit::Operation;
use watchdog_audit::web::Audit;
use watchdog_core::audit::{Category, Client, Resource};
use watchdog_session::web::{CurrentSession, RequestClient};
use watchdog_session::{Credential, Role, Session};

use crate::app::App;
use crate::failure::Failure;

/// A signed-in user, the client that asks, and the audit log as this request sees it.
pub(crate) struct Principal {
    pub(crate) session: Session,
    pub(crate) client: Client,
    pub(crate) audit: Audit,
}

impl FromRequestParts<App> for Principal {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let CurrentSession(session) = CurrentSession::from_request_parts(parts, app).await?;
        let Ok(RequestClient(client)) = RequestClient::from_request_parts(parts, app).await;
        Ok(Self { session, client, audit: Audit::from_request_parts(parts, app).await? })
    }
}

impl Principal {
    /// The role, or `none`.
    pub(crate) fn role(&self) -> &str {
        self.session.roles().first().map_or("none", String::as_str)
    }

    /// Whether the user has one of these roles.
    pub(crate) fn has_any_role(&self, roles: &[Role]) -> bool {
        watchdog_session::Principal::from(&self.session).has_any_role(roles)
    }

    /// Begins something this user does. What the log does not take is not done.
    pub(crate) async fn begin(
        &self,
        category: Category,
        action: &str,
        resource: Resource,
    ) -> Result<Operation, Failure> {
        let mut operation = self.audit.begin(category, action, resource).await?;
        operation.detail("session", self.session.id().to_string());
        Ok(operation)
    }

    /// What an answer says when this session has ended: to delete the cookie, if that holds it. A
    /// request by access token may have the cookie of another session beside it.
    pub(crate) fn signed_out(&self, app: &App) -> Result<HeaderMap, Failure> {
        match self.session.credential() {
            Credential::SessionToken => Ok(app.web.signed_out()?),
            _ => Ok(HeaderMap::new()),
        }
    }
}
