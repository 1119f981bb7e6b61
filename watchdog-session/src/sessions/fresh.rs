use std::time::{Duration, Instant};

use watchdog_core::audit::Client;

use super::authenticate::Use;
use super::regenerate::step_up_required;
use super::{Inner, Sessions};
use crate::error::Result;
use crate::session::{Credential, Session};
use crate::telemetry;

impl Sessions {
    /// Passes when the user of a session authenticated at most `max_age` ago, by the store's clock
    /// (`max_age` of OIDC Core). Ask it before what a stolen session must not do: change
    /// of password, payment, deletion. An access token is no sign that the user is there, however
    /// new (NIST SP 800-63B-4, 5.1.2): only a session recognised by its session token passes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StepUpRequired`](crate::ErrorKind::StepUpRequired) when it is longer ago, or
    /// the session was recognised by an access token.
    pub fn require_fresh(&self, session: &Session, max_age: Duration) -> Result<()> {
        let age = i128::from(self.inner.now()) - i128::from(session.auth_time().as_millisecond());
        let is_fresh = u128::try_from(age).unwrap_or(0) <= max_age.as_millis();
        let is_there = session.credential() == Credential::SessionToken;
        if is_fresh && is_there && !session.is_step_up_required() {
            Ok(())
        } else {
            Err(step_up_required())
        }
    }

    /// As [`Sessions::authenticate`], and it does not count as use: a page that asks for news in
    /// the background keeps no session alive. (OWASP Session Management Cheat Sheet, idle timeout.)
    ///
    /// # Errors
    ///
    /// As [`Sessions::authenticate`].
    pub async fn authenticate_untouched(&self, token: &str, client: &Client) -> Result<Session> {
        let session = self.recognise_untouched(token, client).await?;
        if session.is_step_up_required() { Err(step_up_required()) } else { Ok(session) }
    }

    /// As [`Sessions::authenticate_for_step_up`], and it does not count as use.
    pub(crate) async fn recognise_untouched(
        &self,
        token: &str,
        client: &Client,
    ) -> Result<Session> {
        let started = Instant::now();
        let result = Inner::recognise(&self.inner, token, client, Use::Unnoted).await;
        telemetry::operation("authenticate", started, &result);
        result
    }
}
