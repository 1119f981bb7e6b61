use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use watchdog_core::audit::Client;

use super::{Inner, gone};
use crate::cache::Known;
use crate::error::{Error, ErrorKind, Result};
use crate::place::Place;
use crate::record::{Header, Millis};
use crate::session::{Credential, Session};
use crate::store::{Life, Reading, Touch};
use crate::telemetry;
use crate::token::digest_of;

/// Most signs of life on their way at once; beyond it a session is touched by a later request.
const MOST_TOUCHING: usize = 4096;

/// Longer than any session lives: no touch is ever due.
const NEVER: Millis = 1 << 50;

/// Whether an authentication counts as use of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Noted,
    Unnoted,
}

impl Inner {
    /// The session of a session token. One whose client makes a new authentication due says so.
    pub(super) async fn recognise(
        self: &Arc<Self>,
        token: &str,
        client: &Client,
        usage: Use,
    ) -> Result<Session> {
        let (known, now) = match self.cached(token) {
            Some(found) => found,
            None => self.known(token).await?,
        };
        let Known { place, facts, common } = known;
        self.refuse_ended(&place, common.created_at)?;
        if common.is_expired(now) {
            self.settle_expiry(place, client, usage).await?;
        }
        // The same client fits under every policy, and comparing families takes its time.
        let mismatch = if facts.issued_to == *client {
            None
        } else {
            self.binding().judge(&facts.issued_to, client)
        };
        let is_step_up_required = match mismatch {
            Some(mismatch) => self.settle_mismatch(place, mismatch, client).await?,
            None => false,
        };
        let unnoted = now.saturating_sub(common.last_seen);
        if unnoted >= self.touch_interval(usage) && !is_step_up_required {
            self.touch_later(place, client);
        }
        let session = Session::new(facts, common.last_seen, Credential::SessionToken, client);
        Ok(session.with_step_up_required(is_step_up_required))
    }

    /// What this process knows of a token, and the store's time.
    fn cached(&self, token: &str) -> Option<(Known, Millis)> {
        let cache = self.cache.as_ref()?;
        let now = self.store.now()?;
        let found = cache.find(token, now);
        telemetry::cache_lookup(if found.is_some() { "hit" } else { "miss" });
        found.map(|known| (known, now))
    }

    /// What the store knows of a token, and the store's time.
    async fn known(&self, token: &str) -> Result<(Known, Millis)> {
        let parts = self.tokens.session_parts(token)?;
        let place = parts.place;
        let ticket = self.cache.as_ref().and_then(|cache| cache.begin(place));
        let reading = self.read(&place).await?;
        let record = reading.record.ok_or_else(gone)?;
        let header = Header::decode(&record)?;
        verify_slices_are_equal(&digest_of(&parts.secret), &header.secret_digest)
            .map_err(|_| Error::invalid("session token does not fit its session"))?;
        if header.common.created_at <= reading.not_before {
            return Err(gone());
        }
        let facts = self.opened.verify(self.events.records(), place, &header, &record)?;
        let known = Known { place, facts, common: header.common };
        if let (Some(cache), Some(ticket)) = (&self.cache, &ticket) {
            cache.keep(ticket, token, &known, reading.now);
        }
        Ok((known, reading.now))
    }

    /// A read of a record. That of every request to Redis needs no box.
    async fn read(&self, place: &Place) -> Result<Reading> {
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.redis {
            return redis.read_fields(place).await;
        }
        self.store.read(place).await
    }

    /// By our idea of the time the session is over. The store decides by its own, and removes it.
    async fn settle_expiry(&self, place: Place, client: &Client, usage: Use) -> Result<()> {
        match self.touch(place, client, usage).await? {
            Life::Alive => Ok(()),
            Life::Expired => Err(Error::new(ErrorKind::Expired, "session has expired")),
            Life::Gone => Err(gone()),
        }
    }

    async fn touch(&self, place: Place, client: &Client, usage: Use) -> Result<Life> {
        let outbox = self.outbox(client)?;
        let request = Touch { place, interval: self.touch_interval(usage), outbox };
        let waking = self.waking(place.location.bucket);
        let touched = self.store.touch(&request).await?;
        if touched.life == Life::Alive {
            waking.cancel();
        }
        Ok(touched.life)
    }

    /// Notes the use without making the request wait, once per session at a time.
    fn touch_later(self: &Arc<Self>, place: Place, client: &Client) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let is_first = self.with_touching(|touching| {
            touching.len() < MOST_TOUCHING && touching.insert(place.session)
        });
        if !is_first {
            return;
        }
        let touching = Touching { inner: Arc::clone(self), place };
        let client = client.clone();
        runtime.spawn(async move {
            if let Err(error) = touching.inner.touch(touching.place, &client, Use::Noted).await {
                tracing::debug!(%error, "the use of a session was not noted");
            }
        });
    }

    fn touch_interval(&self, usage: Use) -> Millis {
        match usage {
            Use::Noted => {
                Millis::try_from(self.config.touch_interval().as_millis()).unwrap_or(NEVER)
            }
            Use::Unnoted => NEVER,
        }
    }
}

/// A sign of life on its way; the mark goes with it, however the task ends.
struct Touching {
    inner: Arc<Inner>,
    place: Place,
}

impl Drop for Touching {
    fn drop(&mut self) {
        self.inner.with_touching(|touching| touching.remove(&self.place.session));
    }
}
