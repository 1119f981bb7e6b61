use watchdog_core::audit::Client;

use super::bound::client_mismatch;
use super::bulk::nonce;
use super::regenerate::step_up_required;
use super::{Inner, gone};
use crate::client::{agent_key, family};
use crate::config::{AgentBinding, IpBinding};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Ended;
use crate::place::Place;
use crate::record::{Header, Millis};
use crate::rotation::{GRACE_LIMIT, Presented, Rules, Verdict};
use crate::session::{Credential, Rotated, Session};
use crate::store::Rotate;
use crate::telemetry;
use crate::token::{RefreshParts, digest_of};

impl Inner {
    pub(super) async fn rotate(&self, refresh_token: &str, client: &Client) -> Result<Rotated> {
        let parts = self.tokens.refresh_parts(refresh_token)?;
        let successor = self.tokens.successor(&parts)?;
        let place = parts.place;
        self.refuse_ended(&place, Millis::MAX)?;
        let mut request = Rotate {
            place,
            presented: self.presented(parts, successor, client)?,
            rules: self.rules(),
            outbox: self.outbox(client)?,
        };
        let _waking = self.waking(place.location.bucket);
        let mut reply = self.store.rotate(&request).await?;
        if reply.verdict == Verdict::Mismatch {
            self.judge_stranger(place, client).await?;
            request.presented.ip = None;
            request.presented.bind_agent = false;
            reply = self.store.rotate(&request).await?;
        }
        telemetry::verdict(reply.verdict);
        if reply.verdict == Verdict::Reuse {
            self.note_ended(Ended::Session(place), "reuse", request.outbox);
        }
        let record = reply.record.ok_or_else(|| refusal(reply.verdict))?;
        let header = Header::decode(&record)?;
        self.refuse_ended(&place, header.common.created_at)?;
        let facts = self.opened.verify(self.events.records(), place, &header, &record)?;
        let last_seen = header.common.last_seen;
        let session = Session::new(facts, last_seen, Credential::SessionToken, client);
        let (access_token, expires_in) = self.access_token(&session, reply.now)?;
        let next = if reply.verdict == Verdict::Kept { parts } else { successor };
        Ok(Rotated {
            refresh_token: self.tokens.refresh_token(&next)?,
            access_token,
            expires_in,
            verdict: reply.verdict,
            session,
        })
    }

    /// The store took the client for a stranger, by digests. The record says what the session is
    /// bound to: it may have been issued under other settings, and be nobody's but this client's.
    async fn judge_stranger(&self, place: Place, client: &Client) -> Result<()> {
        let reading = self.store.read(&place).await?;
        let record = reading.record.ok_or_else(gone)?;
        let header = Header::decode(&record)?;
        let facts = self.opened.verify(self.events.records(), place, &header, &record)?;
        let Some(mismatch) = self.binding().judge(&facts.issued_to, client) else {
            return Ok(());
        };
        telemetry::verdict(Verdict::Mismatch);
        let is_step_up_required = self.settle_mismatch(place, mismatch, client).await?;
        if is_step_up_required { Err(step_up_required()) } else { Ok(()) }
    }

    fn presented(
        &self,
        parts: RefreshParts,
        successor: RefreshParts,
        client: &Client,
    ) -> Result<Presented> {
        let binding = self.binding();
        let bind_ip = binding.ip != IpBinding::Off;
        let agent = agent_key(client);
        Ok(Presented {
            generation: parts.generation,
            digest: digest_of(&parts.value),
            successor: digest_of(&successor.value),
            client: self.grace_tag(parts, client, &agent)?,
            nonce: nonce()?,
            made_at: self.store.now().unwrap_or(Millis::MAX),
            ip: bind_ip.then(|| self.ip_tag(parts, client)).transpose()?,
            agent_tag: self.agent_tag(parts, client, &agent)?,
            bind_agent: binding.agent != AgentBinding::Off,
            family: family(client),
        })
    }

    fn rules(&self) -> Rules {
        Rules {
            rotate: self.config.refresh_token_rotation,
            grace: Millis::try_from(self.config.grace.as_millis()).unwrap_or(Millis::MAX),
            grace_limit: GRACE_LIMIT,
        }
    }
}

fn refusal(verdict: Verdict) -> Error {
    match verdict {
        Verdict::Reuse => Error::new(
            ErrorKind::Reused,
            "refresh token was replaced before; the session is revoked",
        ),
        Verdict::Expired => Error::new(ErrorKind::Expired, "session has expired"),
        Verdict::Gone => gone(),
        Verdict::Mismatch => client_mismatch(),
        Verdict::Exhausted => {
            Error::new(ErrorKind::LimitReached, "refresh token was presented too often")
        }
        Verdict::Late => {
            Error::new(ErrorKind::Conflict, "another refresh overtook this one; use its answer")
        }
        Verdict::Ahead => Error::invalid("refresh token is too far ahead of the store"),
        Verdict::Rotated | Verdict::Kept | Verdict::Grace | Verdict::Repaired => {
            Error::new(ErrorKind::Internal, "the store granted tokens without a record")
        }
    }
}
