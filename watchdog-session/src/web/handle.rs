use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::visit::Caller;
use super::{Rejection, WebSessions};
use crate::error::{Error, Result};
use crate::place::SessionId;
use crate::principal::Principal;
use crate::session::{Credential, Issued, Regeneration, RevokeReason};
use crate::sessions::Attributes;

/// The session of a request, to read and to change; without a valid one, the handler does not run.
///
/// What it is recognised by is told at [`CurrentSession`](super::CurrentSession). Each change
/// commits when its call returns, and concurrent requests see it; a call that is dropped has
/// committed or has not. The layer sends the cookie that follows from it.
#[derive(Clone, Debug)]
pub struct Session {
    caller: Caller,
    /// As it was last seen here.
    session: crate::session::Session,
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let caller = Caller::of(parts)?;
        let session = caller.visit.required(parts).await?;
        Ok(Self::new(caller, session))
    }
}

impl Session {
    pub(super) fn new(caller: Caller, session: crate::session::Session) -> Self {
        Self { caller, session }
    }

    /// The session itself: after [`Session::regenerate`] the new one, after [`Session::flush`] the
    /// one that ended.
    pub fn session(&self) -> crate::session::Session {
        self.caller.visit.current().unwrap_or_else(|| self.session.clone())
    }

    /// The public id of the session, which opens nothing: for device lists and logs.
    pub fn id(&self) -> SessionId {
        self.session().id()
    }

    /// The user's id.
    pub fn user(&self) -> String {
        self.session().user().to_owned()
    }

    /// Who acts.
    pub fn principal(&self) -> Principal {
        Principal::from(&self.session())
    }

    /// The value of an attribute, `None` when there is none. The attributes are read with the
    /// first call in a request and after each change.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) when the value is of another type; else as
    /// [`Sessions::attributes`](crate::Sessions::attributes).
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.attributes().await?.get(name)
    }

    /// All attributes, as of one moment within this request.
    ///
    /// # Errors
    ///
    /// As [`Sessions::attributes`](crate::Sessions::attributes).
    pub async fn attributes(&self) -> Result<Arc<Attributes>> {
        self.caller.visit.attributes(&self.session()).await
    }

    /// Sets an attribute and leaves the others alone: two requests that set two attributes at once
    /// lose neither. One round trip.
    ///
    /// # Errors
    ///
    /// As [`Sessions::insert`](crate::Sessions::insert).
    pub async fn insert<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let _changing = self.caller.visit.changing();
        self.web().sessions().insert(&self.session(), name, value).await.map(drop)
    }

    /// Removes an attribute, if there is one. One round trip.
    ///
    /// # Errors
    ///
    /// As [`Sessions::insert`](crate::Sessions::insert).
    pub async fn remove(&self, name: &str) -> Result<()> {
        let _changing = self.caller.visit.changing();
        self.web().sessions().remove(&self.session(), name).await.map(drop)
    }

    /// Removes all attributes; the session goes on. One round trip.
    ///
    /// # Errors
    ///
    /// As [`Sessions::clear`](crate::Sessions::clear).
    pub async fn clear(&self) -> Result<()> {
        let _changing = self.caller.visit.changing();
        self.web().sessions().clear(&self.session()).await.map(drop)
    }

    /// Makes a new value of an attribute from the one there is; `change` is called again when
    /// another request was faster, so that nothing is lost.
    ///
    /// # Errors
    ///
    /// As [`Sessions::update`](crate::Sessions::update).
    pub async fn update<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        change: impl FnMut(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>> {
        let _changing = self.caller.visit.changing();
        self.web().sessions().update(&self.session(), name, change).await
    }

    /// Exchanges the session for a new one with a new id and a new cookie; the old ones are dead at
    /// once, and the attributes move. After each change of privileges, and after the user has
    /// authenticated again (OWASP ASVS 5.0, 7.2.4). One round trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the request came with an access
    /// token; else as [`Sessions::regenerate`](crate::Sessions::regenerate).
    pub async fn regenerate(&self, regeneration: Regeneration) -> Result<Issued> {
        let session = self.session();
        if session.credential() != Credential::SessionToken {
            return Err(Error::invalid("an access token does not do for a new session"));
        }
        let sessions = self.web().sessions();
        let issued = sessions.regenerate(&session, regeneration, &self.caller.client).await?;
        self.caller.visit.began(&issued)?;
        Ok(issued)
    }

    /// Ends the session with all its attributes and deletes the cookie: a logout. One round trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer:
    /// the session may live on, and so does the cookie.
    pub async fn flush(&self) -> Result<()> {
        let session = self.session();
        self.web().sessions().revoke(&session, RevokeReason::Logout).await?;
        self.caller.visit.ended(session.credential())
    }

    /// Passes when the user authenticated at most `max_age` ago.
    ///
    /// # Errors
    ///
    /// 401 `step_up_required` (RFC 9470) when it is longer ago, and for an access token.
    pub fn require_fresh(&self, max_age: Duration) -> Result<(), Rejection> {
        super::guard::check_fresh(self.web(), &self.session(), max_age)
    }

    /// A token for the header [`CSRF_HEADER`](super::CSRF_HEADER), when the routes are within
    /// [`WebSessions::csrf`]. It holds until the session gets a new id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the system has no randomness.
    pub fn csrf_token(&self) -> Result<String> {
        self.web().sessions().csrf_token(&self.session())
    }

    fn web(&self) -> &WebSessions {
        self.caller.visit.web()
    }
}
