use std::sync::Arc;

use watchdog_core::audit::Client;
use watchdog_core::fill_random;

use super::Inner;
use crate::client::{agent_key, cut, grace_key, ip_key};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Place, SessionId};
use crate::record::{Common, HEADER_BYTES, Header, Identity, Millis, VERSION};
use crate::session::{Credential, Issued, Session, Subject};
use crate::store::{Create, Created};
use crate::telemetry;
use crate::token::{RefreshParts, SessionParts, digest_of};

/// How far our idea of the store's time may be off, in milliseconds. It bounds for how long a
/// repeated call may still come in.
const TOLERANCE: Millis = 10_000;
const ATTEMPTS: u32 = 5;

/// A session that is made but not stored.
struct Draft {
    session: SessionParts,
    refresh: RefreshParts,
    identity: Identity,
    record: Vec<u8>,
}

impl Inner {
    pub(super) async fn issue(&self, subject: Subject, client: &Client) -> Result<Issued> {
        subject.check()?;
        let mut created_at = self.now();
        for _ in 0..ATTEMPTS {
            let draft = self.draft(&subject, client, created_at)?;
            let place = draft.session.place;
            let request = Create {
                place,
                record: draft.record.clone(),
                limit: self.config.concurrent_limit,
                tolerance: TOLERANCE,
                outbox: self.outbox(client)?,
            };
            let _waking = self.waking(place);
            match self.store.create(&request).await? {
                Created::Stored { now, expired, evicted } => {
                    telemetry::removed_at_login(expired, evicted);
                    return self.issued(draft, client, now);
                }
                // The first call of a process whose clock is set wrong, or a session of the same
                // user revoked within the same millisecond.
                Created::Skewed { now, floor } => created_at = now.max(floor + 1),
                Created::Taken { .. } => {
                    return Err(Error::new(ErrorKind::Internal, "session id is taken"));
                }
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the store's clock does not hold still"))
    }

    fn draft(&self, subject: &Subject, client: &Client, created_at: Millis) -> Result<Draft> {
        let location = self.locator.current(&subject.user);
        let place = Place { location, session: SessionId::random()? };
        let mut secret = [0; 16];
        fill_random(&mut secret)?;
        let refresh = self.tokens.first_refresh(place)?;
        let millis = |duration: std::time::Duration| {
            Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
        };
        let common = Common {
            version: VERSION,
            flags: 0,
            header_bytes: HEADER_BYTES as u16,
            created_at,
            absolute_deadline: created_at.saturating_add(millis(self.config.max_lifetime)),
            last_seen: created_at,
            idle_timeout: millis(self.config.timeout),
        };
        let header = Header {
            common,
            grace_used: 0,
            generation: 0,
            rotated_at: created_at,
            nonce: [0; 8],
            secret_digest: digest_of(&secret),
            current_digest: digest_of(&refresh.value),
            previous_digest: [0; 32],
            origin_ip: self.ip_tag(refresh, client)?,
            origin_agent: self.agent_tag(refresh, client)?,
            rotated_by: self.grace_tag(refresh, client)?,
        };
        let identity = Identity {
            user: subject.user.clone(),
            roles: subject.roles.clone(),
            ip: client.ip,
            user_agent: client.user_agent.as_deref().map(|agent| cut(agent).to_owned()),
            created_at,
            absolute_deadline: common.absolute_deadline,
            idle_timeout: common.idle_timeout,
        };
        let sealed = identity.seal(self.events.records(), place)?;
        let record = header.encode(&sealed);
        Ok(Draft { session: SessionParts { place, secret }, refresh, identity, record })
    }

    fn issued(&self, draft: Draft, client: &Client, now: Millis) -> Result<Issued> {
        let facts = Arc::new(draft.identity.into_facts(draft.session.place));
        let session = Session::new(facts, Credential::SessionToken, client);
        let (access_token, expires_in) = self.access_token(&session, now)?;
        Ok(Issued {
            session_token: self.tokens.session_token(&draft.session),
            refresh_token: self.tokens.refresh_token(&draft.refresh)?,
            access_token,
            expires_in,
            session,
        })
    }

    pub(super) fn ip_tag(&self, chain: RefreshParts, client: &Client) -> Result<[u8; 16]> {
        let ip = ip_key(client).map(|ip| ip.to_string()).unwrap_or_default();
        self.tokens.client_tag(chain.key, b"ip", ip.as_bytes())
    }

    pub(super) fn agent_tag(&self, chain: RefreshParts, client: &Client) -> Result<[u8; 16]> {
        self.tokens.client_tag(chain.key, b"agent", agent_key(client).as_bytes())
    }

    pub(super) fn grace_tag(&self, chain: RefreshParts, client: &Client) -> Result<[u8; 16]> {
        self.tokens.client_tag(chain.key, b"grace", &grace_key(client))
    }
}
