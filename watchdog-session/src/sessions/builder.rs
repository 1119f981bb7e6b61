#[cfg(feature = "redis")]
use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watchdog_core::{AuditSink, Clock, KeyRing, SystemClock};

use super::attributes::AttributeKeys;
use super::bound::Mismatches;
use super::csrf::CsrfKeys;
use super::issue::millis;
use super::reassert::Reassertion;
use super::{Inner, Sessions};
use crate::access::AccessKeys;
use crate::cache::LocalCache;
use crate::config::SessionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventKeys;
use crate::place::Locator;
use crate::pump::{Pump, TAKEOVER};
use crate::record::Opened;
#[cfg(feature = "redis")]
use crate::store::RedisStore;
use crate::store::{MemoryStore, SessionStore};
use crate::telemetry;
use crate::token::TokenKeys;

/// Builds [`Sessions`].
#[derive(Debug)]
#[must_use]
pub struct Builder<'a> {
    keys: &'a KeyRing,
    config: SessionConfig,
    store: Option<Arc<dyn SessionStore>>,
    clock: Arc<dyn Clock>,
    audit: Option<Arc<dyn AuditSink>>,
    event_takeover: Duration,
    #[cfg(feature = "redis")]
    revocations: Option<crate::revocations::Revocations>,
    issuer: String,
    audience: String,
}

impl<'a> Builder<'a> {
    pub(super) fn new(keys: &'a KeyRing) -> Self {
        Self {
            keys,
            config: SessionConfig::default(),
            store: None,
            clock: Arc::new(SystemClock),
            audit: None,
            event_takeover: TAKEOVER,
            #[cfg(feature = "redis")]
            revocations: None,
            issuer: "watchdog".to_owned(),
            audience: "watchdog".to_owned(),
        }
    }

    /// Sets how long sessions live and what they are bound to.
    pub fn config(mut self, config: SessionConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets where sessions live; without it, in the memory of this process.
    pub fn store(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the clock. A store in Redis goes by the clock of Redis.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets who is told what happens to sessions. Without it no events are written.
    pub fn audit(mut self, audit: Arc<dyn AuditSink>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Sets how long a process may hold events that it has not delivered before another process
    /// takes them over; 30 s without it. Shorter than the sink takes for 100 entries, and events
    /// reach it twice, with the same ids; what the sink refuses is offered again after this time.
    pub fn event_takeover(mut self, after: Duration) -> Self {
        self.event_takeover = after;
        self
    }

    /// Keeps so many sessions in the memory of this process, so that checking one again needs no
    /// round trip; 0 keeps none. It overrides [`SessionConfig::local_cache`].
    ///
    /// A session revoked elsewhere is refused as soon as the push of the store arrives; see
    /// [`Sessions::staleness`]. Without effect on a [`MemoryStore`], which is as near as a cache.
    pub fn local_cache(mut self, capacity: u32) -> Self {
        self.config.local_cache = capacity;
        self
    }

    /// Has [`Sessions::authenticate_access`] refuse sessions that were revoked since their token
    /// was made, without asking the store.
    #[cfg(feature = "redis")]
    pub fn revocations(mut self, revocations: crate::revocations::Revocations) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Sets the issuer of access tokens; `watchdog` without it.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Sets the audience of access tokens; `watchdog` without it.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Builds it. Nothing is asked of the store yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the settings contradict each other or two secrets derive one
    /// key id.
    pub fn build(self) -> Result<Sessions> {
        let problems: Vec<_> = self
            .config
            .contradictions()
            .into_iter()
            .map(|problem| {
                let fields = problem.fields.join(", ");
                format!("{fields}: expected {}; {}", problem.expected, problem.hint)
            })
            .collect();
        if !problems.is_empty() {
            return Err(Error::new(ErrorKind::Config, problems.join("; ")));
        }
        telemetry::describe();
        let clock = self.clock;
        let store =
            self.store.unwrap_or_else(|| Arc::new(MemoryStore::with_clock(Arc::clone(&clock))));
        #[cfg(feature = "redis")]
        let redis = (&*store as &dyn Any).downcast_ref::<RedisStore>().cloned();
        let (cache, store) = match self.config.local_cache {
            0 => (None, store),
            capacity => match LocalCache::new(&store, capacity) {
                Some((cache, store)) => (Some(cache), store),
                None => (None, store),
            },
        };
        let events = Arc::new(EventKeys::new(&self.keys.encryption)?);
        let (audit, takeover) = (self.audit, self.event_takeover);
        let pump = audit
            .clone()
            .map(|sink| Pump::new(Arc::clone(&store), sink, Arc::clone(&events), takeover))
            .map(Arc::new);
        let lifetime = millis(self.config.max_lifetime);
        let reassertion = Reassertion::new(&store, &events, pump.as_ref(), lifetime);
        let inner = Inner {
            locator: Locator::new(&self.keys.secret)?,
            tokens: TokenKeys::new(&self.keys.secret)?,
            access: AccessKeys::new(&self.keys.jwt, &self.config, &self.issuer, &self.audience)?,
            #[cfg(feature = "redis")]
            revocations: self.revocations,
            config: self.config,
            store,
            #[cfg(feature = "redis")]
            redis,
            opened: Opened::new(),
            cache,
            clock,
            events,
            pump,
            audit,
            attributes: AttributeKeys::new(&self.keys.encryption)?,
            csrf: CsrfKeys::new(&self.keys.secret)?,
            touching: Mutex::new(HashSet::new()),
            mismatches: Mismatches::default(),
            reassertion,
        };
        Ok(Sessions { inner: Arc::new(inner) })
    }
}
