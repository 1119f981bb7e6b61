use std::time::Instant;

use watchdog_core::audit::Client;

use super::issue::{Draft, millis};
use super::{Inner, Sessions, gone};
use crate::client::cut;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Ended;
use crate::place::Place;
use crate::record::{Identity, Millis};
use crate::session::{Credential, Issued, Regeneration, Session};
use crate::store::{Regenerate, RegenerateOutcome};
use crate::telemetry;

/// The second is by the store's own clock.
const ATTEMPTS: u32 = 2;

impl Sessions {
    /// Exchanges a session for a new one with a new id and new tokens; the old ones are dead at
    /// once, and the attributes move. After each authentication and each change of privileges
    /// (OWASP ASVS 5.0, 7.2.4). One round trip.
    ///
    /// Of two calls with one session at the same time one wins; the other finds it gone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a session that was not recognised by its session token, and for
    /// roles out of bounds, [`ErrorKind::StepUpRequired`] for a mere change of privileges in a
    /// session that needs a new authentication, [`ErrorKind::Gone`] and [`ErrorKind::Expired`] when
    /// it has ended, [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn regenerate(
        &self,
        session: &Session,
        regeneration: Regeneration,
        client: &Client,
    ) -> Result<Issued> {
        let started = Instant::now();
        let result = self.inner.regenerate(session, regeneration, client).await;
        telemetry::operation("regenerate", started, &result);
        result
    }
}

impl Inner {
    async fn regenerate(
        &self,
        session: &Session,
        regeneration: Regeneration,
        client: &Client,
    ) -> Result<Issued> {
        regeneration.check()?;
        let (Some(place), Credential::SessionToken) = (session.place(), session.credential())
        else {
            return Err(Error::new(
                ErrorKind::Misuse,
                "only a session recognised by its session token can be regenerated",
            ));
        };
        if session.is_step_up_required() && !regeneration.is_reauthentication {
            return Err(step_up_required());
        }
        self.refuse_ended(&place, millis_of(session.created_at()))?;
        let mut now = self.now();
        for _ in 0..ATTEMPTS {
            let (request, draft) = self.exchange(place, session, &regeneration, client, now)?;
            let _waking = self.waking(place.location.bucket);
            let regenerated = self.store.regenerate(&request).await?;
            match regenerated.outcome {
                RegenerateOutcome::Done => {
                    self.note_ended(Ended::Session(place), "regenerated", request.outbox);
                    return self.issued(draft, client, regenerated.now);
                }
                // The first call of a process whose clock is set wrong.
                RegenerateOutcome::Skewed => now = regenerated.now,
                RegenerateOutcome::Gone => return Err(gone()),
                RegenerateOutcome::Expired => {
                    return Err(Error::new(ErrorKind::Expired, "session has expired"));
                }
                RegenerateOutcome::Unfit => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "the new session does not fit the old one",
                    ));
                }
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the store's clock does not hold still"))
    }

    /// The new session, as of a time by the store's clock, and the call that stores it.
    fn exchange(
        &self,
        place: Place,
        session: &Session,
        regeneration: &Regeneration,
        client: &Client,
        now: Millis,
    ) -> Result<(Regenerate, Draft)> {
        let last_seen = if regeneration.is_reauthentication {
            now
        } else {
            // Later than now after a failover to a slower clock.
            millis_of(session.last_seen()).min(now)
        };
        let identity = self.successor_of(session, regeneration.clone(), client, now);
        let draft = self.draft(place.location, identity, last_seen, client)?;
        let request = Regenerate {
            place,
            session: draft.session.place.session,
            record: draft.record.clone(),
            outbox: self.outbox(client)?,
        };
        Ok((request, draft))
    }

    fn successor_of(
        &self,
        session: &Session,
        regeneration: Regeneration,
        client: &Client,
        now: Millis,
    ) -> Identity {
        let facts = session.facts();
        let renewed = regeneration.is_reauthentication;
        let is_login = regeneration.is_login;
        let kept = |text: &Option<String>| text.clone().filter(|_| !is_login);
        let bound_to = if renewed { client } else { &facts.issued_to };
        Identity {
            user: facts.user.clone(),
            roles: regeneration.roles.unwrap_or_else(|| facts.roles.clone()),
            ip: bound_to.ip,
            user_agent: bound_to.user_agent.as_deref().map(|agent| cut(agent).to_owned()),
            created_at: millis_of(facts.created_at),
            absolute_deadline: if renewed {
                now.saturating_add(millis(self.config.max_lifetime))
            } else {
                millis_of(facts.expires_at)
            },
            idle_timeout: if renewed { millis(self.config.timeout) } else { facts.idle_timeout },
            auth_time: Some(if renewed { now } else { millis_of(facts.auth_time) }),
            label: regeneration.label.or_else(|| kept(&facts.label)),
            level: regeneration.level.or_else(|| kept(&facts.level)),
            origin: facts.origin,
        }
    }
}

pub(super) fn step_up_required() -> Error {
    Error::new(ErrorKind::StepUpRequired, "the user has to authenticate again")
}

fn millis_of(time: watchdog_core::Timestamp) -> Millis {
    Millis::try_from(time.as_millisecond()).unwrap_or(0)
}
