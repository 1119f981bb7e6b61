use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};

use super::Sessions;
use crate::client::bounded;
use crate::error::Result;
use crate::event::timestamp;
use crate::principal::Principal;

impl Sessions {
    /// Reports that a principal was refused an action on a resource: one audit entry with the
    /// outcome `denied`, straight to the audit sink. Without a sink nothing happens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the sink does not take it.
    /// The action stays refused all the same.
    pub async fn deny(
        &self,
        principal: &Principal,
        action: &str,
        resource: Resource,
        client: &Client,
    ) -> Result<()> {
        let Some(audit) = &self.inner.audit else { return Ok(()) };
        let entry = Entry::new(
            Uuid::now_v7(),
            timestamp(self.inner.now()),
            Category::Security,
            Actor::user(principal.user()),
            action,
            resource,
        )
        .with_outcome(Outcome::Denied)
        .with_client(bounded(client))
        .with_detail("session", principal.session().to_string());
        audit.record(entry).await?;
        Ok(())
    }
}
