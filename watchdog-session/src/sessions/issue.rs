use std::time::Duration;

use watchdog_core::audit::Client;
use watchdog_core::fill_random;

use super::Inner;
use crate::client::{agent_key, cut, exact_agent, family, grace_key, ip_key, network};
use crate::config::{AgentBinding, IpBinding};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Location, Place, SessionId};
use crate::record::{Common, HEADER_BYTES, Header, Identity, Millis, VERSION};
use crate::session::{Issued, Subject};
use crate::store::{Create, Created};
use crate::telemetry;
use crate::token::{RefreshParts, SessionParts, digest_of};

/// How far our idea of the store's time may be off, in milliseconds. It bounds for how long a
/// repeated call may still come in.
const TOLERANCE: Millis = 10_000;
const ATTEMPTS: u32 = 5;

/// A session that is made but not stored.
pub(super) struct Draft {
    pub(super) session: SessionParts,
    refresh: RefreshParts,
    identity: Identity,
    last_seen: Millis,
    pub(super) record: Vec<u8>,
}

impl Inner {
    pub(super) async fn issue(&self, subject: Subject, client: &Client) -> Result<Issued> {
        subject.check()?;
        let location = self.locator.current(&subject.user);
        let mut created_at = self.now();
        for _ in 0..ATTEMPTS {
            let identity = self.identity(&subject, client, created_at);
            let draft = self.draft(location, identity, created_at, client)?;
            let request = Create {
                place: draft.session.place,
                record: draft.record.clone(),
                limit: self.config.concurrent_limit,
                policy: self.config.concurrent_policy,
                tolerance: TOLERANCE,
                outbox: self.outbox(client)?,
            };
            let _waking = self.waking(location.bucket);
            match self.store.create(&request).await? {
                Created::Stored { now, expired, evicted } => {
                    telemetry::removed_at_login(expired, evicted);
                    return self.issued(draft, client, now);
                }
                // The first call of a process whose clock is set wrong, or a session of the same
                // user revoked within the same millisecond.
                Created::Skewed { now, floor } => created_at = now.max(floor + 1),
                Created::Refused { .. } => {
                    return Err(Error::new(
                        ErrorKind::TooManySessions,
                        "the user holds as many sessions as allowed",
                    ));
                }
                Created::Taken { .. } => {
                    return Err(Error::new(ErrorKind::Internal, "session id is taken"));
                }
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the store's clock does not hold still"))
    }

    fn identity(&self, subject: &Subject, client: &Client, created_at: Millis) -> Identity {
        Identity {
            user: subject.user.clone(),
            roles: subject.roles.clone(),
            ip: client.ip,
            user_agent: client.user_agent.as_deref().map(|agent| cut(agent).to_owned()),
            created_at,
            absolute_deadline: created_at.saturating_add(millis(self.config.max_lifetime)),
            idle_timeout: millis(self.config.timeout),
            auth_time: None,
            label: subject.label.clone(),
            level: subject.level.clone(),
            origin: None,
        }
    }

    /// A session with fresh ids and secrets, bound to the client of its identity; `client` makes
    /// the call.
    pub(super) fn draft(
        &self,
        location: Location,
        identity: Identity,
        last_seen: Millis,
        client: &Client,
    ) -> Result<Draft> {
        let place = Place { location, session: SessionId::random()? };
        let mut secret = [0; 16];
        fill_random(&mut secret)?;
        let refresh = self.tokens.first_refresh(place)?;
        let common = Common {
            version: VERSION,
            flags: 0,
            header_bytes: HEADER_BYTES as u16,
            created_at: identity.created_at,
            absolute_deadline: identity.absolute_deadline,
            last_seen,
            idle_timeout: identity.idle_timeout,
        };
        let bound_to = identity.client();
        let mut header = Header {
            common,
            grace_used: 0,
            generation: 0,
            rotated_at: last_seen,
            nonce: [0; 8],
            secret_digest: digest_of(&secret),
            current_digest: digest_of(&refresh.value),
            previous_digest: [0; 32],
            origin_ip: self.ip_tag(refresh, &bound_to)?,
            origin_agent: self.agent_tag(refresh, &bound_to, &agent_key(&bound_to))?,
            rotated_by: self.grace_tag(refresh, client, &agent_key(client))?,
        };
        header.set_family(family(client));
        let sealed = identity.seal(self.events.records(), place)?;
        let record = header.encode(&sealed);
        Ok(Draft { session: SessionParts { place, secret }, refresh, identity, last_seen, record })
    }

    pub(super) fn issued(&self, draft: Draft, client: &Client, now: Millis) -> Result<Issued> {
        let place = draft.session.place;
        let session = self.session(place, draft.identity, draft.last_seen, client);
        let (access_token, expires_in) = self.access_token(&session, now)?;
        Ok(Issued {
            session_token: self.tokens.session_token(&draft.session),
            refresh_token: self.tokens.refresh_token(&draft.refresh)?,
            access_token,
            expires_in,
            session,
        })
    }

    /// A keyed digest of the address, as far as sessions are bound to it.
    pub(super) fn ip_tag(&self, chain: RefreshParts, client: &Client) -> Result<[u8; 16]> {
        if self.binding().ip == IpBinding::Prefix {
            let network = client.ip.map(network).unwrap_or_default();
            return self.tokens.client_tag(chain.key, b"network", &network);
        }
        let ip = ip_key(client).map(|ip| ip.to_string()).unwrap_or_default();
        self.tokens.client_tag(chain.key, b"ip", ip.as_bytes())
    }

    /// A keyed digest of the agent, as far as sessions are bound to it.
    pub(super) fn agent_tag(
        &self,
        chain: RefreshParts,
        client: &Client,
        family: &str,
    ) -> Result<[u8; 16]> {
        if self.binding().agent == AgentBinding::Exact {
            let key = chain.key;
            return match exact_agent(client) {
                Some(agent) => self.tokens.client_tag(key, b"exact agent", agent.as_bytes()),
                None => self.tokens.client_tag(key, b"no agent", b""),
            };
        }
        self.tokens.client_tag(chain.key, b"agent", family.as_bytes())
    }

    /// A keyed digest of what a grace period is bound to.
    pub(super) fn grace_tag(
        &self,
        chain: RefreshParts,
        client: &Client,
        family: &str,
    ) -> Result<[u8; 16]> {
        self.tokens.client_tag(chain.key, b"grace", &grace_key(client, family))
    }
}

pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
