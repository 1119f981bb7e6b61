use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};

use super::Sessions;
use crate::client::bounded;
use crate::error::Result;
use crate::event::timestamp;

impl Sessions {
    /// Reports `count` requests that had several cookies of one name, the last one by `client`.
    pub(crate) async fn report_tossed_cookie(
        &self,
        name: &str,
        count: u64,
        client: &Client,
    ) -> Result<()> {
        let Some(audit) = &self.inner.audit else { return Ok(()) };
        let entry = Entry::new(
            Uuid::now_v7(),
            timestamp(self.inner.now()),
            Category::Security,
            Actor::anonymous(),
            "session.cookie_duplicated",
            Resource::new("cookie", name),
        )
        .with_outcome(Outcome::Denied)
        .with_client(bounded(client))
        .with_detail("count", count);
        audit.record(entry).await?;
        Ok(())
    }
}
