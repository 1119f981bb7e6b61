use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use watchdog_core::Secret;

use super::visit::Caller;
use super::{Rejection, Session};
use crate::error::{ErrorKind, Result};
use crate::session::{Credential, Issued, Regeneration, RevokeReason, Subject};

/// Whoever asks: with a session, or without. A request whose token is missing, forged, over or
/// another client's is one without; when the store does not answer, the handler does not run.
#[derive(Clone, Debug)]
pub struct OptionalSession {
    caller: Caller,
    /// The cookie of a request that is judged by its `Authorization` header.
    beside: Option<Secret<String>>,
}

impl<S: Send + Sync> FromRequestParts<S> for OptionalSession {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let caller = Caller::of(parts)?;
        caller.visit.optional(parts).await?;
        let beside = caller.visit.cookie_beside(parts);
        Ok(Self { caller, beside })
    }
}

impl OptionalSession {
    /// The session, if there is one that may be served.
    pub fn session(&self) -> Option<Session> {
        let session = self.caller.visit.current()?;
        (!session.is_step_up_required()).then(|| Session::new(self.caller.clone(), session))
    }

    /// A session that its user has to authenticate for again, since the client is not the one it
    /// is bound to: for the page that asks for the password. Nothing else may be served with it.
    pub fn awaiting_step_up(&self) -> Option<crate::session::Session> {
        self.caller.visit.current().filter(crate::session::Session::is_step_up_required)
    }

    /// Signs in a user whose credentials the application has checked, with a new session id and a
    /// new cookie; the layer sends it.
    ///
    /// Whatever session the cookie of the request holds is dead afterwards, even when the request
    /// has an `Authorization` header and is judged by that. One of the same user is exchanged and
    /// keeps its attributes; one of another user ends, and nothing of it is kept. (OWASP ASVS 5.0,
    /// 7.2.4.) A session that only an access token stands for goes on. A session id that was never
    /// issued is never adopted. One to three round trips.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the subject is out of bounds, [`ErrorKind::TooManySessions`] when
    /// the user may have no other session, [`ErrorKind::Unavailable`] when the store does not
    /// answer.
    pub async fn login(&self, subject: Subject) -> Result<Issued> {
        subject.check()?;
        let issued = match self.replaced().await? {
            Some(old) if old.user() == subject.user => self.login_again(&old, subject).await?,
            Some(old) => {
                let sessions = self.caller.visit.web().sessions();
                sessions.revoke(&old, RevokeReason::Logout).await?;
                self.caller.visit.ended(old.credential())?;
                self.issue(subject).await?
            }
            None => self.issue(subject).await?,
        };
        self.caller.visit.began(&issued)?;
        Ok(issued)
    }

    /// The session that the new cookie takes the place of.
    async fn replaced(&self) -> Result<Option<crate::session::Session>> {
        let Caller { visit, client } = &self.caller;
        if let Some(cookie) = &self.beside
            && let Some(session) = visit.session_beside(cookie, client).await?
        {
            return Ok(Some(session));
        }
        Ok(visit.current().filter(|old| old.credential() == Credential::SessionToken))
    }

    async fn login_again(&self, old: &crate::session::Session, subject: Subject) -> Result<Issued> {
        let sessions = self.caller.visit.web().sessions();
        let regeneration = Regeneration::login(subject.clone());
        match sessions.regenerate(old, regeneration, &self.caller.client).await {
            // It ended in between; the login is as good.
            Err(error) if matches!(error.kind(), ErrorKind::Gone | ErrorKind::Expired) => {
                self.issue(subject).await
            }
            done => done,
        }
    }

    async fn issue(&self, subject: Subject) -> Result<Issued> {
        self.caller.visit.web().sessions().issue(subject, &self.caller.client).await
    }
}
