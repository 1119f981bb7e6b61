use std::time::Instant;

use watchdog_core::audit::Client;
use watchdog_core::fill_random;

use super::issue::millis;
use super::{Inner, Sessions};
use crate::config::MAX_LIFETIME;
use crate::error::Result;
use crate::event::timestamp;
use crate::journal::Ended;
use crate::place::{Location, Place, SessionId};
use crate::record::{Header, Identity, Millis, sealed_part};
use crate::session::{Revocation, Session, SessionSummary};
use crate::store::{RevokeAll, RevokeEverybody};
use crate::telemetry;

impl Sessions {
    /// Ends all sessions of a user, and says how many. A login that is under way at the same time
    /// either ends with them or begins after them. One round trip, one more for each retired
    /// secret.
    ///
    /// # Errors
    ///
    /// As [`Sessions::revoke`].
    pub async fn revoke_all(
        &self,
        user: &str,
        why: impl Into<Revocation>,
        client: &Client,
    ) -> Result<u32> {
        let started = Instant::now();
        let result = self.inner.revoke_all(user, None, &why.into(), client).await;
        telemetry::operation("revoke_all", started, &result);
        result
    }

    /// Ends all other sessions of a session's user, and says how many. Round trips as
    /// [`Sessions::revoke_all`].
    ///
    /// # Errors
    ///
    /// As [`Sessions::revoke`].
    pub async fn revoke_others(
        &self,
        session: &Session,
        why: impl Into<Revocation>,
        client: &Client,
    ) -> Result<u32> {
        let started = Instant::now();
        let why = why.into();
        let result = self.inner.revoke_all(session.user(), Some(session.id()), &why, client).await;
        telemetry::operation("revoke_others", started, &result);
        result
    }

    /// Ends all sessions of everybody (OWASP ASVS 5.0, 7.4.5): when it returns, no process accepts
    /// one that began before. One small script for each of 1024 buckets, and a second's wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer:
    /// some sessions may have ended. Call it again.
    pub async fn revoke_everybody(
        &self,
        why: impl Into<Revocation>,
        client: &Client,
    ) -> Result<()> {
        let started = Instant::now();
        let result = self.inner.revoke_everybody(&why.into(), client).await;
        telemetry::operation("revoke_everybody", started, &result);
        result
    }

    /// The living sessions of a user, the latest used first. One round trip, one more for each
    /// retired secret.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer.
    pub async fn list(&self, user: &str) -> Result<Vec<SessionSummary>> {
        let started = Instant::now();
        let result = self.inner.list(user).await;
        telemetry::operation("list", started, &result);
        result
    }
}

impl Inner {
    async fn revoke_all(
        &self,
        user: &str,
        except: Option<SessionId>,
        why: &Revocation,
        client: &Client,
    ) -> Result<u32> {
        let mut sessions = 0_u32;
        for location in self.locator.all(user) {
            let request = RevokeAll {
                location,
                except,
                reason: why.reason.as_str(),
                nonce: nonce()?,
                up_to: None,
                outbox: self.outbox_by(client, why.by.as_ref())?,
            };
            let _waking = self.waking(location.bucket);
            let revoked = self.store.revoke_all(&request).await?;
            let (reason, outbox) = (request.reason, request.outbox);
            for session in revoked.singly {
                let place = Place { location, session };
                self.note_ended(Ended::Session(place), reason, outbox.clone());
            }
            if except.is_none() {
                let up_to = revoked.up_to;
                self.note_ended(Ended::User { location, up_to }, reason, outbox);
            }
            sessions = sessions.saturating_add(revoked.sessions);
        }
        Ok(sessions)
    }

    async fn revoke_everybody(&self, why: &Revocation, client: &Client) -> Result<()> {
        let request = RevokeEverybody {
            reason: why.reason.as_str(),
            // Not the setting of today: another process, or an earlier one, issued for longer.
            lifetime: millis(MAX_LIFETIME),
            nonce: nonce()?,
            up_to: None,
            outbox: self.outbox_by(client, why.by.as_ref())?,
        };
        let _waking = self.waking(0);
        let up_to = self.store.revoke_everybody(&request).await?.up_to;
        self.note_ended(Ended::Everybody { up_to }, request.reason, request.outbox);
        Ok(())
    }

    async fn list(&self, user: &str) -> Result<Vec<SessionSummary>> {
        let mut living = Vec::new();
        for location in self.locator.all(user) {
            let listing = self.store.list(location).await?;
            for (session, record) in &listing.records {
                let summary = self.summary(location, *session, record, listing.now);
                living.extend(
                    summary.filter(|(header, _)| header.common.created_at > listing.not_before),
                );
            }
        }
        living.sort_by_key(|(header, summary)| {
            (std::cmp::Reverse(header.common.last_seen), summary.id)
        });
        Ok(living.into_iter().map(|(_, summary)| summary).collect())
    }

    /// What a user sees of a record; nothing when it has expired, was altered, or is of a newer
    /// release.
    fn summary(
        &self,
        location: Location,
        session: SessionId,
        record: &[u8],
        now: Millis,
    ) -> Option<(Header, SessionSummary)> {
        let header = Header::decode(record).ok()?;
        if header.common.is_expired(now) {
            return None;
        }
        let place = Place { location, session };
        let identity =
            Identity::verify(self.events.records(), place, &header, sealed_part(record)).ok()?;
        let summary = SessionSummary {
            id: session,
            created_at: timestamp(identity.created_at),
            last_seen: timestamp(header.common.last_seen),
            expires_at: timestamp(identity.absolute_deadline),
            auth_time: timestamp(identity.auth_time.unwrap_or(identity.created_at)),
            client: identity.client(),
            label: identity.label,
            roles: identity.roles,
        };
        Some((header, summary))
    }
}

pub(super) fn nonce() -> Result<[u8; 8]> {
    let mut nonce = [0; 8];
    fill_random(&mut nonce)?;
    Ok(nonce)
}
