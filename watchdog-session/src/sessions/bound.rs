use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use watchdog_core::audit::Client;

use super::authenticate::Use;
use super::regenerate::step_up_required;
use super::{Inner, Sessions};
use crate::client::Mismatch;
use crate::config::MismatchAction;
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, SessionId};
use crate::session::{RevokeReason, Session};
use crate::store::Report;
use crate::telemetry;

/// How often one process reports one session.
const PAUSE: Duration = Duration::from_secs(60);
/// Most sessions whose last report is remembered.
const MOST_REMEMBERED: usize = 4096;

impl Sessions {
    /// As [`Sessions::authenticate`], for the one page where a user authenticates again: under the
    /// policy `step_up` a session of another client is recognised, and says so
    /// ([`Session::is_step_up_required`]). Exchange it by
    /// [`Regeneration::reauthenticated`](crate::Regeneration::reauthenticated), and use it for
    /// nothing else.
    ///
    /// # Errors
    ///
    /// As [`Sessions::authenticate`], without [`ErrorKind::StepUpRequired`].
    pub async fn authenticate_for_step_up(&self, token: &str, client: &Client) -> Result<Session> {
        let started = Instant::now();
        let result = Inner::recognise(&self.inner, token, client, Use::Noted).await;
        telemetry::operation("authenticate", started, &result);
        result
    }
}

impl Inner {
    /// What becomes of a request from a client that does not fit: whether the user has to
    /// authenticate again, if it is not refused.
    pub(super) async fn settle_mismatch(
        &self,
        place: Place,
        mismatch: Mismatch,
        client: &Client,
    ) -> Result<bool> {
        let action = self.config.mismatch_action;
        if action == MismatchAction::Revoke {
            self.revoke(place, &RevokeReason::BindingMismatch.into(), client).await?;
            return Err(client_mismatch());
        }
        if self.mismatches.is_due(place.session, Instant::now()) {
            let report = Due { mismatches: &self.mismatches, session: Some(place.session) };
            // A request is not refused, nor served, because its report was lost.
            match self.report_mismatch(place, mismatch, client).await {
                Ok(()) => report.done(),
                Err(error) => {
                    tracing::warn!(%error, "a session used by another client was not reported");
                }
            }
        }
        match action {
            MismatchAction::Log => Ok(false),
            MismatchAction::StepUp => Ok(true),
            MismatchAction::Refuse | MismatchAction::Revoke => Err(client_mismatch()),
        }
    }

    async fn report_mismatch(
        &self,
        place: Place,
        mismatch: Mismatch,
        client: &Client,
    ) -> Result<()> {
        let Some(outbox) = self.outbox(client)? else { return Ok(()) };
        let action = match self.config.mismatch_action {
            MismatchAction::Log => "log",
            MismatchAction::Refuse => "refuse",
            MismatchAction::StepUp => "step_up",
            MismatchAction::Revoke => "revoke",
        };
        let details = vec![("action", action.to_owned()), ("part", mismatch.parts().to_owned())];
        let request = Report { place, action: "binding_mismatch", details, outbox: Some(outbox) };
        let _waking = self.waking(place.location.bucket);
        self.store.report(&request).await?;
        Ok(())
    }

    /// The session of a session token, refused when its client makes a new authentication due.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        token: &str,
        client: &Client,
    ) -> Result<Session> {
        let session = self.recognise(token, client, Use::Noted).await?;
        if session.is_step_up_required() { Err(step_up_required()) } else { Ok(session) }
    }
}

pub(super) fn client_mismatch() -> Error {
    Error::new(ErrorKind::ClientMismatch, "session of another client")
}

/// When this process last reported a session whose client does not fit.
#[derive(Debug, Default)]
pub(super) struct Mismatches(Mutex<HashMap<SessionId, Instant>>);

impl Mismatches {
    fn is_due(&self, session: SessionId, now: Instant) -> bool {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < PAUSE;
        if reported.get(&session).is_some_and(is_recent) {
            return false;
        }
        if reported.len() >= MOST_REMEMBERED {
            reported.retain(|_, at| is_recent(at));
        }
        // Full of recent ones: report rather more than less.
        if reported.len() < MOST_REMEMBERED {
            reported.insert(session, now);
        }
        true
    }
}

/// A report that is under way: one that fails or is given up is due again at once.
struct Due<'a> {
    mismatches: &'a Mismatches,
    session: Option<SessionId>,
}

impl Due<'_> {
    fn done(mut self) {
        self.session = None;
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session {
            let mut reported = self.mismatches.0.lock().unwrap_or_else(PoisonError::into_inner);
            reported.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_reported_once_a_minute() {
        let (mismatches, start) = (Mismatches::default(), Instant::now());
        let (a, b) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        assert!(mismatches.is_due(a, start));
        assert!(!mismatches.is_due(a, start + PAUSE / 2));
        assert!(mismatches.is_due(b, start + PAUSE / 2));
        assert!(mismatches.is_due(a, start + PAUSE));
        assert!(!mismatches.is_due(a, start + PAUSE + PAUSE / 2));
    }

    #[test]
    fn a_report_that_failed_or_was_given_up_is_due_again() {
        let (mismatches, start) = (Mismatches::default(), Instant::now());
        let session = SessionId::from_bytes([1; 16]);
        let report = || Due { mismatches: &mismatches, session: Some(session) };
        assert!(mismatches.is_due(session, start));
        drop(report());
        assert!(mismatches.is_due(session, start));
        report().done();
        assert!(!mismatches.is_due(session, start));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mismatches, start) = (Mismatches::default(), Instant::now());
        for index in 0..2 * MOST_REMEMBERED as u128 {
            assert!(mismatches.is_due(SessionId::from_bytes(index.to_be_bytes()), start));
        }
        assert_eq!(mismatches.0.lock().unwrap().len(), MOST_REMEMBERED);
        assert!(mismatches.is_due(SessionId::from_bytes([9; 16]), start + PAUSE));
        assert_eq!(mismatches.0.lock().unwrap().len(), 1);
    }
}
