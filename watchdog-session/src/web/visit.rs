use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::header::{AUTHORIZATION, HeaderValue};
use axum::http::request::Parts;
use watchdog_core::Secret;
use watchdog_core::audit::{Actor, Client, Requester};

use super::cookie::Presented;
use super::extract::{NoTouch, bearer, client};
use super::{Rejection, WebSessions};
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Credential, Issued, Session};
use crate::sessions::Attributes;

/// What one request knows of its session, shared by all who ask within it: the store is asked
/// once. The layer makes it, and takes from it what the answer has to say.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    web: WebSessions,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    session: Known,
    attributes: Option<Arc<Attributes>>,
    /// How often attributes were forgotten: what was read before that is not kept.
    generation: u64,
    /// The cookie that the answer sets.
    cookie: Option<HeaderValue>,
    /// Whether the answer depends on who asks.
    is_read: bool,
    /// Where to say who it is, for those who record the request.
    requester: Option<Requester>,
}

#[derive(Debug, Default)]
enum Known {
    /// Nobody has asked, or nobody could say.
    #[default]
    Unasked,
    Session(Session),
    /// It ended within this request.
    Over,
}

impl Visit {
    pub(super) fn new(web: WebSessions) -> Self {
        Self { web, state: Arc::default() }
    }

    /// That of a request, which is missing when the layer is.
    pub(super) fn of(parts: &Parts) -> Result<Self, Rejection> {
        let visit = parts.extensions.get::<Self>().ok_or_else(Rejection::misconfigured)?;
        if let Some(requester) = parts.extensions.get::<Requester>() {
            let mut state = visit.state();
            state.requester = Some(requester.clone());
            state.introduce();
        }
        Ok(visit.clone())
    }

    pub(super) fn web(&self) -> &WebSessions {
        &self.web
    }

    /// The session of the request, refused when there is none that may be served.
    pub(super) async fn required(&self, parts: &Parts) -> Result<Session, Rejection> {
        let refused = |error: &Error| {
            if parts.headers.contains_key(AUTHORIZATION) {
                Rejection::of(error)
            } else {
                Rejection::of_cookie(error, self.web.cookie())
            }
        };
        let session = self.recognised(parts).await.map_err(|error| refused(&error))?;
        let session = session.ok_or_else(Rejection::missing)?;
        if session.is_step_up_required() {
            return Err(Rejection::stale(None));
        }
        Ok(session)
    }

    /// The session of the request, if it has one; maybe one that needs a new authentication.
    ///
    /// Errors that say nothing about the token stay errors.
    pub(super) async fn optional(&self, parts: &Parts) -> Result<Option<Session>, Rejection> {
        match self.recognised(parts).await {
            Ok(session) => Ok(session),
            Err(error) if is_about_the_token(error.kind()) => Ok(None),
            Err(error) => Err(Rejection::of(&error)),
        }
    }

    /// A request with an `Authorization` header is judged by it alone.
    async fn recognised(&self, parts: &Parts) -> Result<Option<Session>> {
        match self.state().known() {
            Known::Unasked => {}
            Known::Session(session) => return Ok(Some(session.clone())),
            Known::Over => return Ok(None),
        }
        let sessions = self.web.sessions();
        let session = if parts.headers.contains_key(AUTHORIZATION) {
            let Some(token) = bearer(parts) else { return Ok(None) };
            sessions.authenticate_access(token)?
        } else {
            let client = client(parts, Some(&self.web));
            let token = match self.web.cookie().presented(&parts.headers) {
                Presented::One(token) => token,
                Presented::Nothing => return Ok(None),
                Presented::Several => {
                    self.web.tossed(&client).await;
                    return Ok(None);
                }
            };
            if parts.extensions.get::<NoTouch>().is_some() {
                sessions.recognise_untouched(token, &client).await?
            } else {
                sessions.authenticate_for_step_up(token, &client).await?
            }
        };
        self.state().know(session.clone());
        Ok(Some(session))
    }

    /// The one session cookie of a request that is judged by its `Authorization` header.
    pub(super) fn cookie_beside(&self, parts: &Parts) -> Option<Secret<String>> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return None;
        }
        match self.web.cookie().presented(&parts.headers) {
            Presented::One(token) => Some(Secret::new(token.to_owned())),
            Presented::Nothing | Presented::Several => None,
        }
    }

    /// The session of such a cookie, if it has one.
    pub(super) async fn session_beside(
        &self,
        cookie: &Secret<String>,
        client: &Client,
    ) -> Result<Option<Session>> {
        match self.web.sessions().recognise_untouched(cookie.expose(), client).await {
            Ok(session) => Ok(Some(session)),
            Err(error) if is_about_the_token(error.kind()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The session, as far as this request has seen it.
    pub(super) fn current(&self) -> Option<Session> {
        match &self.state().session {
            Known::Session(session) => Some(session.clone()),
            Known::Unasked | Known::Over => None,
        }
    }

    /// A new session has taken the place of whatever there was.
    pub(super) fn began(&self, issued: &Issued) -> Result<()> {
        let mut state = self.state();
        state.know(issued.session.clone());
        state.forget_attributes();
        state.cookie = Some(self.web.cookie().holding(&issued.session_token)?);
        Ok(())
    }

    /// The session is over.
    pub(super) fn ended(&self, credential: Credential) -> Result<()> {
        let mut state = self.state();
        state.session = Known::Over;
        state.forget_attributes();
        if credential == Credential::SessionToken {
            state.cookie = Some(self.web.cookie().deletion()?);
        }
        Ok(())
    }

    /// The attributes of the session, read once until they change.
    pub(super) async fn attributes(&self, session: &Session) -> Result<Arc<Attributes>> {
        let generation = {
            let state = self.state();
            if let Some(attributes) = &state.attributes {
                return Ok(Arc::clone(attributes));
            }
            state.generation
        };
        let attributes = Arc::new(self.web.sessions().attributes(session).await?);
        self.state().keep(generation, &attributes);
        Ok(attributes)
    }

    /// Held while attributes change: when it is dropped they have changed, or may have.
    pub(super) fn changing(&self) -> Changing<'_> {
        Changing(self)
    }

    /// What the answer has to say: the cookie, and whether it depends on who asks.
    pub(super) fn outcome(&self) -> (Option<HeaderValue>, bool) {
        let mut state = self.state();
        (state.cookie.take(), state.is_read)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&mut self) -> &Known {
        self.is_read = true;
        &self.session
    }

    fn know(&mut self, session: Session) {
        self.session = Known::Session(session);
        self.introduce();
    }

    /// Says who it is; not of a session that may not be served, which somebody may have stolen.
    fn introduce(&self) {
        if let (Some(requester), Known::Session(session)) = (&self.requester, &self.session)
            && !session.is_step_up_required()
        {
            requester.set_actor(Actor::user(session.user()));
        }
    }

    fn forget_attributes(&mut self) {
        self.attributes = None;
        self.generation += 1;
    }

    /// Keeps attributes that were asked for in a generation, if it is still that one.
    fn keep(&mut self, generation: u64, attributes: &Arc<Attributes>) {
        if self.generation == generation {
            self.attributes = Some(Arc::clone(attributes));
        }
    }
}

/// A change of attributes, which may be given up half way.
pub(super) struct Changing<'a>(&'a Visit);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.state().forget_attributes();
    }
}

/// Whether an error says that this token opens nothing for this client.
fn is_about_the_token(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Invalid
            | ErrorKind::Expired
            | ErrorKind::Reused
            | ErrorKind::Gone
            | ErrorKind::ClientMismatch
            | ErrorKind::StepUpRequired
    )
}

/// The client that asks; what handles keep of a request.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) visit: Visit,
    pub(super) client: Client,
}

/// Without the client.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("visit", &self.visit).finish_non_exhaustive()
    }
}

impl Caller {
    pub(super) fn of(parts: &Parts) -> Result<Self, Rejection> {
        let visit = Visit::of(parts)?;
        let client = client(parts, Some(visit.web()));
        Ok(Self { visit, client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_changed_while_they_were_read_are_not_kept() {
        let mut state = State::default();
        let read = Arc::new(Attributes::default());
        let asked = state.generation;
        state.forget_attributes();
        state.keep(asked, &read);
        assert!(state.attributes.is_none());
        state.keep(state.generation, &read);
        assert!(state.attributes.is_some());
    }
}
