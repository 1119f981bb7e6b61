//! The façade: issue, authenticate, rotate, revoke.

mod access;
mod attributes;
mod authenticate;
mod bound;
mod builder;
mod bulk;
mod csrf;
mod deny;
mod fresh;
mod issue;
mod reassert;
mod regenerate;
#[cfg(feature = "redis")]
mod revoked;
mod rotate;
mod staleness;
#[cfg(feature = "axum")]
mod tossed;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use watchdog_core::audit::{Actor, Client};
use watchdog_core::{AuditSink, Clock, KeyRing};

use crate::access::{AccessKeys, Claims, Locus};
use crate::cache::LocalCache;
use crate::client::Binding;
use crate::config::SessionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKeys, timestamp};
use crate::health::SessionHealth;
use crate::journal::Ended;
use crate::place::{Locator, Place, SessionId};
use crate::pump::Pump;
use crate::record::{Identity, Millis, Opened};
use crate::session::{Credential, Facts, Issued, Revocation, Rotated, Session, Subject};
#[cfg(feature = "redis")]
use crate::store::RedisStore;
use crate::store::{Life, Outbox, Revoke, SessionStore};
use crate::telemetry;
use crate::token::{AccessToken, TokenKeys};

use attributes::AttributeKeys;
use bound::Mismatches;
use csrf::CsrfKeys;
use reassert::Reassertion;

pub use attributes::{Attributes, Changes};
pub use builder::Builder;

/// Issues, authenticates, rotates and revokes sessions.
///
/// A clone shares everything. Dropping a call leaves it done or not done, never half.
#[derive(Clone, Debug)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SessionConfig,
    store: Arc<dyn SessionStore>,
    /// The same without the cache, where it is Redis.
    #[cfg(feature = "redis")]
    redis: Option<RedisStore>,
    opened: Opened,
    /// `None` unless turned on, and for stores that do not tell what changes.
    cache: Option<LocalCache>,
    clock: Arc<dyn Clock>,
    locator: Locator,
    tokens: TokenKeys,
    access: AccessKeys,
    #[cfg(feature = "redis")]
    revocations: Option<crate::revocations::Revocations>,
    events: Arc<EventKeys>,
    /// `None` without an audit sink: then nothing is written that nobody would read.
    pump: Option<Arc<Pump>>,
    /// Where denied actions are reported, and all that is no session's.
    audit: Option<Arc<dyn AuditSink>>,
    attributes: AttributeKeys,
    csrf: CsrfKeys,
    /// Sessions whose use is being noted just now.
    touching: Mutex<HashSet<SessionId>>,
    mismatches: Mismatches,
    /// `None` for stores that lose nothing.
    reassertion: Option<Arc<Reassertion>>,
}

impl Sessions {
    /// Starts from the keys of the service.
    pub fn builder(keys: &KeyRing) -> Builder<'_> {
        Builder::new(keys)
    }

    /// Issues a session after a login. Beyond the concurrent limit other sessions of the user end,
    /// or this one is refused, as the policy says. One round trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the subject is out of bounds, [`ErrorKind::TooManySessions`] when
    /// the policy refuses it, [`ErrorKind::Unavailable`] when the store does not answer.
    pub async fn issue(&self, subject: Subject, client: &Client) -> Result<Issued> {
        let started = Instant::now();
        let result = self.inner.issue(subject, client).await;
        telemetry::operation("issue", started, &result);
        result
    }

    /// The session of a session token. One round trip, a plain read; none for a token that was
    /// never issued.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], [`ErrorKind::Expired`], [`ErrorKind::Gone`],
    /// [`ErrorKind::ClientMismatch`] and [`ErrorKind::StepUpRequired`] refuse the token;
    /// [`ErrorKind::Unavailable`] says nothing about it.
    pub async fn authenticate(&self, token: &str, client: &Client) -> Result<Session> {
        let started = Instant::now();
        let result = Inner::authenticate(&self.inner, token, client).await;
        telemetry::operation("authenticate", started, &result);
        result
    }

    /// The session of an access token, as it stood when the token was made. No round trip: a
    /// revoked session is noticed when its token expires, and within a second with a feed of
    /// revocations.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] and [`ErrorKind::Expired`]; with a feed also [`ErrorKind::Gone`], and
    /// [`ErrorKind::Unavailable`] while the feed may have missed something.
    pub fn authenticate_access(&self, token: &str) -> Result<Session> {
        let started = Instant::now();
        let result = self.inner.authenticate_access(token);
        telemetry::operation("authenticate_access", started, &result);
        result
    }

    /// Exchanges a refresh token for a new access token and, with rotation on, its successor. One
    /// round trip; none for a token that was never issued.
    ///
    /// Parallel and repeated calls with one token get the same successor. A token that was
    /// replaced before, outside its grace period or by another client, revokes the session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Reused`], [`ErrorKind::Invalid`], [`ErrorKind::Expired`], [`ErrorKind::Gone`],
    /// [`ErrorKind::ClientMismatch`], [`ErrorKind::StepUpRequired`] and [`ErrorKind::LimitReached`]
    /// refuse the token; [`ErrorKind::Unavailable`] says nothing about it.
    pub async fn rotate(&self, refresh_token: &str, client: &Client) -> Result<Rotated> {
        let started = Instant::now();
        let result = self.inner.rotate(refresh_token, client).await;
        telemetry::operation("rotate", started, &result);
        result
    }

    /// Ends a session. `false` when it had ended before. One round trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the store does not answer: the session may live on.
    pub async fn revoke(&self, session: &Session, why: impl Into<Revocation>) -> Result<bool> {
        let started = Instant::now();
        let why = why.into();
        let result = match session.place() {
            Some(place) => self.inner.revoke(place, &why, session.caller()).await,
            None => {
                let (user, id) = (session.user(), session.id());
                self.inner.find_and_revoke(user, id, &why, session.caller()).await
            }
        };
        telemetry::operation("revoke", started, &result);
        result
    }

    /// Ends a session of a user by its public id. `false` when that user has no such session:
    /// an id of somebody else's session finds nothing. One round trip, one more for each retired
    /// secret.
    ///
    /// # Errors
    ///
    /// As [`Sessions::revoke`].
    pub async fn revoke_by_id(
        &self,
        user: &str,
        id: SessionId,
        why: impl Into<Revocation>,
        client: &Client,
    ) -> Result<bool> {
        let started = Instant::now();
        let result = self.inner.find_and_revoke(user, id, &why.into(), client).await;
        telemetry::operation("revoke", started, &result);
        result
    }

    /// Delivers the events of this process that still wait for the audit sink. It happens by
    /// itself; call it before the process ends. It gives up after 10 s.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when store or sink do not answer, or not in time: what waits stays
    /// in the store.
    pub async fn deliver_events(&self) -> Result<()> {
        match &self.inner.pump {
            Some(pump) => pump.deliver_in_time().await,
            None => Ok(()),
        }
    }

    /// Looks for events that other processes left in the store when they died, and delivers them
    /// with those of this process. It happens by itself, at the first change that this process
    /// makes and then every 5 minutes, with an audit sink only. 2048 small reads, at most 20 s.
    ///
    /// # Errors
    ///
    /// As [`Sessions::deliver_events`].
    pub async fn sweep_events(&self) -> Result<()> {
        match &self.inner.pump {
            Some(pump) => {
                pump.sweep_in_time().await?;
                pump.deliver_in_time().await
            }
            None => Ok(()),
        }
    }

    /// A check of the store and of the delivery of events.
    pub fn health(&self) -> SessionHealth {
        SessionHealth::new(Arc::clone(&self.inner.store), self.inner.pump.clone())
    }

    /// The settings in force.
    pub fn config(&self) -> &SessionConfig {
        &self.inner.config
    }
}

impl Inner {
    /// The store's time as far as it is known, else ours.
    fn now(&self) -> Millis {
        self.store
            .now()
            .unwrap_or_else(|| Millis::try_from(self.clock.now().as_millisecond()).unwrap_or(0))
    }

    fn binding(&self) -> Binding {
        Binding {
            ip: self.config.effective_ip_binding(),
            agent: self.config.effective_agent_binding(),
        }
    }

    fn outbox(&self, client: &Client) -> Result<Option<Outbox>> {
        self.outbox_by(client, None)
    }

    /// What events carry, with whose act they are when that is not the user's.
    fn outbox_by(&self, client: &Client, by: Option<&Actor>) -> Result<Option<Outbox>> {
        match &self.pump {
            Some(_) => self.events.outbox(client, by, self.now()).map(Some),
            None => Ok(None),
        }
    }

    /// Before a call that may leave events.
    fn waking(&self, bucket: u16) -> Waking<'_> {
        Waking { pump: self.pump.as_ref(), bucket }
    }

    /// Ends a session that somebody has shown to be theirs, or that was.
    async fn revoke(&self, place: Place, why: &Revocation, client: &Client) -> Result<bool> {
        let (request, was) = self.end(place, why, client).await?;
        // Also when it was gone: the answer to a first try may have been lost.
        self.note_ended(Ended::Session(place), request.reason, request.outbox);
        Ok(was == Life::Alive)
    }

    async fn end(&self, place: Place, why: &Revocation, client: &Client) -> Result<(Revoke, Life)> {
        let outbox = self.outbox_by(client, why.by.as_ref())?;
        let request = Revoke { place, reason: why.reason.as_str(), outbox };
        let _waking = self.waking(place.location.bucket);
        let revoked = self.store.revoke(&request).await?;
        Ok((request, revoked.was))
    }

    async fn find_and_revoke(
        &self,
        user: &str,
        session: SessionId,
        why: &Revocation,
        client: &Client,
    ) -> Result<bool> {
        for location in self.locator.all(user) {
            let place = Place { location, session };
            let (request, was) = self.end(place, why, client).await?;
            // An id that nobody has would take the room of another in the journal.
            if was == Life::Alive {
                self.note_ended(Ended::Session(place), request.reason, request.outbox);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn session(
        &self,
        place: Place,
        identity: Identity,
        last_seen: Millis,
        client: &Client,
    ) -> Session {
        let facts = Arc::new(identity.into_facts(place));
        Session::new(facts, last_seen, Credential::SessionToken, client)
    }

    /// A new access token, which never outlives its session, and its lifetime in whole seconds.
    fn access_token(
        &self,
        session: &Session,
        now: Millis,
    ) -> Result<(AccessToken, std::time::Duration)> {
        let mut random = [0; 16];
        watchdog_core::fill_random(&mut random)?;
        let lifetime = jittered(self.config.access_token_lifetime.as_secs(), random[0]);
        let issued_at = now / 1000;
        let deadline = u64::try_from(session.expires_at().as_second()).unwrap_or(0);
        let expires_at = (issued_at + lifetime).min(deadline);
        let claims = Claims {
            iss: self.access.issuer().to_owned(),
            aud: self.access.audience().to_owned(),
            sub: session.user().to_owned(),
            sid: session.id(),
            roles: session.roles().to_owned(),
            iat: issued_at,
            nbf: issued_at,
            exp: expires_at,
            jti: SessionId::from_bytes(random).to_string(),
            auth_time: u64::try_from(session.auth_time().as_second()).unwrap_or(0),
            // Never before the session: a session that began in the very millisecond of a
            // revocation, or right after it, counts as later than that.
            iat_ms: now.max(u64::try_from(session.created_at().as_millisecond()).unwrap_or(0)),
            loc: session.place().map(|place| Locus(place.location)),
            acr: session.level().map(str::to_owned),
        };
        let lifetime = std::time::Duration::from_secs(expires_at.saturating_sub(issued_at));
        Ok((self.access.mint(&claims)?, lifetime))
    }

    fn authenticate_access(&self, token: &str) -> Result<Session> {
        let checked = self.access.check(token, self.now())?;
        #[cfg(feature = "redis")]
        self.check_revocations(&checked)?;
        let location = checked.location();
        let claims = checked.claims;
        let auth_time = timestamp(claims.auth_time.saturating_mul(1000));
        let facts = Facts {
            id: claims.sid,
            user: claims.sub,
            roles: claims.roles,
            created_at: auth_time,
            auth_time,
            expires_at: timestamp(claims.exp.saturating_mul(1000)),
            idle_timeout: 0,
            label: None,
            level: claims.acr,
            location,
            origin: None,
            issued_to: Client::unknown(),
        };
        let (facts, caller) = (Arc::new(facts), Client::unknown());
        Ok(Session::new(facts, claims.iat_ms, Credential::AccessToken, &caller))
    }

    fn with_touching<T>(&self, change: impl FnOnce(&mut HashSet<SessionId>) -> T) -> T {
        change(&mut self.touching.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Says when it goes that a bucket may have events: also when the call failed, was given up, or
/// found nothing to do. Its script may have run, and a repeat of it finds the work done.
struct Waking<'a> {
    pump: Option<&'a Arc<Pump>>,
    bucket: u16,
}

impl Waking<'_> {
    /// The answer says that there are none.
    fn cancel(mut self) {
        self.pump = None;
    }
}

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        if let Some(pump) = self.pump {
            pump.wake(self.bucket);
        }
    }
}

/// Up to 5 % less, so that tokens issued together are not refreshed together.
fn jittered(seconds: u64, random: u8) -> u64 {
    seconds - seconds.saturating_mul(u64::from(random)) / (20 * 255)
}

fn gone() -> Error {
    Error::new(ErrorKind::Gone, "there is no such session any more")
}

#[cfg(test)]
mod tests {
    use super::jittered;

    #[test]
    fn jitter_takes_at_most_five_percent() {
        assert_eq!(jittered(300, 0), 300);
        assert_eq!(jittered(300, 255), 285);
        assert_eq!(jittered(1, 255), 1);
    }
}
