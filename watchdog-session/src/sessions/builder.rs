use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use watchdog_core::{AuditSink, Clock, KeyRing, SystemClock};

use super::attributes::AttributeKeys;
use super::bound::Mismatches;
use super::{Inner, Sessions};
use crate::access::AccessKeys;
use crate::config::SessionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventKeys;
use crate::place::Locator;
use crate::pump::Pump;
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
            .map(|problem| format!("{}: expected {}", problem.fields.join(", "), problem.expected))
            .collect();
        if !problems.is_empty() {
            return Err(Error::new(ErrorKind::Config, problems.join("; ")));
        }
        telemetry::describe();
        let clock = self.clock;
        let store =
            self.store.unwrap_or_else(|| Arc::new(MemoryStore::with_clock(Arc::clone(&clock))));
        let events = Arc::new(EventKeys::new(&self.keys.encryption)?);
        let audit = self.audit;
        let pump = audit
            .clone()
            .map(|sink| Arc::new(Pump::new(Arc::clone(&store), sink, Arc::clone(&events))));
        let inner = Inner {
            locator: Locator::new(&self.keys.secret)?,
            tokens: TokenKeys::new(&self.keys.secret)?,
            access: AccessKeys::new(&self.keys.jwt, &self.issuer, &self.audience)?,
            config: self.config,
            store,
            clock,
            events,
            pump,
            audit,
            attributes: AttributeKeys::new(&self.keys.encryption)?,
            touching: Mutex::new(HashSet::new()),
            mismatches: Mismatches::default(),
        };
        Ok(Sessions { inner: Arc::new(inner) })
    }
}
