use std::sync::Arc;

use watchdog_core::audit::Client;
use watchdog_core::fill_random;

use super::{Inner, gone};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Header, Identity, Millis, sealed_part};
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
        let request = Rotate {
            place,
            presented: self.presented(parts, successor, client)?,
            rules: self.rules(),
            outbox: self.outbox(client)?,
        };
        let _waking = self.waking(place);
        let reply = self.store.rotate(&request).await?;
        telemetry::verdict(reply.verdict);
        let record = reply.record.ok_or_else(|| refusal(reply.verdict))?;
        let header = Header::decode(&record)?;
        let identity =
            Identity::verify(self.events.records(), place, &header, sealed_part(&record))?;
        let facts = Arc::new(identity.into_facts(place));
        let session = Session::new(facts, Credential::SessionToken, client);
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

    fn presented(
        &self,
        parts: RefreshParts,
        successor: RefreshParts,
        client: &Client,
    ) -> Result<Presented> {
        let binding = self.binding();
        let mut nonce = [0; 8];
        fill_random(&mut nonce)?;
        Ok(Presented {
            generation: parts.generation,
            digest: digest_of(&parts.value),
            successor: digest_of(&successor.value),
            client: self.grace_tag(parts, client)?,
            nonce,
            made_at: self.store.now().unwrap_or(Millis::MAX),
            ip: binding.same_ip.then(|| self.ip_tag(parts, client)).transpose()?,
            agent: binding.same_agent.then(|| self.agent_tag(parts, client)).transpose()?,
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
        Verdict::Mismatch => Error::new(ErrorKind::ClientMismatch, "session of another client"),
        Verdict::Exhausted => {
            Error::new(ErrorKind::LimitReached, "refresh token was presented too often")
        }
        Verdict::Ahead => Error::invalid("refresh token is too far ahead of the store"),
        Verdict::Rotated | Verdict::Kept | Verdict::Grace | Verdict::Repaired => {
            Error::new(ErrorKind::Internal, "the store granted tokens without a record")
        }
    }
}
