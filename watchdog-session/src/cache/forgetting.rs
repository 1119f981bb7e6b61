//! A store whose every change is forgotten by the cache before the caller hears of it: a process
//! reads what it wrote, without waiting for the push.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use watchdog_core::health::CheckReport;

use super::shelf::Shelf;
use crate::error::Result;
use crate::place::{Location, Place};
use crate::record::Millis;
use crate::store::{
    ChangeTracking, Create, Created, EverybodyRevoked, Life, Listing, Reading, Regenerate,
    Regenerated, Report, Reported, Revoke, RevokeAll, RevokeEverybody, Revoked, RevokedAll, Rotate,
    RotateReply, SessionChanges, SessionStore, StoredAttributes, StoredEvent, Touch, Touched,
    Update, UpdateOutcome, Updated, Waiting,
};

/// A store in front of which a cache stands.
#[derive(Debug)]
pub(crate) struct Forgetting {
    store: Arc<dyn SessionStore>,
    shelf: Arc<Shelf>,
}

impl Forgetting {
    pub(super) fn new(store: Arc<dyn SessionStore>, shelf: Arc<Shelf>) -> Self {
        Self { store, shelf }
    }

    /// Forgets a user once the answer is there, or the call is given up.
    fn then_forget(&self, location: Location) -> Forget<'_> {
        Forget { shelf: &self.shelf, location: Some(location) }
    }
}

struct Forget<'a> {
    shelf: &'a Shelf,
    location: Option<Location>,
}

impl Forget<'_> {
    /// The answer says that the records are as they were.
    fn cancel(mut self) {
        self.location = None;
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(location) = self.location {
            self.shelf.forget(location);
        }
    }
}

#[async_trait]
impl SessionStore for Forgetting {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn now(&self) -> Option<Millis> {
        self.store.now()
    }

    async fn create(&self, request: &Create) -> Result<Created> {
        let _forget = self.then_forget(request.place.location);
        self.store.create(request).await
    }

    async fn read(&self, place: &Place) -> Result<Reading> {
        self.store.read(place).await
    }

    async fn touch(&self, request: &Touch) -> Result<Touched> {
        let _forget = self.then_forget(request.place.location);
        self.store.touch(request).await
    }

    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        let _forget = self.then_forget(request.place.location);
        self.store.rotate(request).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let _forget = self.then_forget(request.place.location);
        self.store.revoke(request).await
    }

    async fn regenerate(&self, request: &Regenerate) -> Result<Regenerated> {
        let _forget = self.then_forget(request.place.location);
        self.store.regenerate(request).await
    }

    async fn revoke_all(&self, request: &RevokeAll) -> Result<RevokedAll> {
        let _forget = self.then_forget(request.location);
        self.store.revoke_all(request).await
    }

    async fn revoke_everybody(&self, request: &RevokeEverybody) -> Result<EverybodyRevoked> {
        let revoked = self.store.revoke_everybody(request).await;
        self.shelf.forget_everybody();
        revoked
    }

    async fn list(&self, location: Location) -> Result<Listing> {
        self.store.list(location).await
    }

    async fn attributes(&self, place: &Place) -> Result<StoredAttributes> {
        self.store.attributes(place).await
    }

    async fn update(&self, request: &Update) -> Result<Updated> {
        let forget = self.then_forget(request.place.location);
        let updated = self.store.update(request).await?;
        if !matches!(updated.outcome, UpdateOutcome::Gone | UpdateOutcome::Expired) {
            forget.cancel();
        }
        Ok(updated)
    }

    async fn report(&self, request: &Report) -> Result<Reported> {
        let forget = self.then_forget(request.place.location);
        let reported = self.store.report(request).await?;
        if reported.life == Life::Alive {
            forget.cancel();
        }
        Ok(reported)
    }

    async fn claim(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>> {
        self.store.claim(bucket, consumer, limit, idle).await
    }

    async fn postpone(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.store.postpone(bucket, handles).await
    }

    async fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Result<Vec<StoredEvent>> {
        self.store.peek(bucket, after, limit).await
    }

    async fn backlog(&self, bucket: u16) -> Result<Waiting> {
        self.store.backlog(bucket).await
    }

    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.store.acknowledge(bucket, handles).await
    }

    fn track(&self, to: Arc<dyn SessionChanges>) -> Option<Box<dyn ChangeTracking>> {
        self.store.track(to)
    }

    fn reconnections(&self) -> Option<watch::Receiver<u64>> {
        self.store.reconnections()
    }

    async fn check(&self) -> CheckReport {
        self.store.check().await
    }
}
