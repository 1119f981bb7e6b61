//! The outbox: one stream per bucket.

use watchdog_storage::redis::Key;

use super::RedisStore;
use crate::error::Result;
use crate::place::unhex;
use crate::store::{Event, StoredEvent};

impl RedisStore {
    pub(super) fn stream(&self, bucket: u16) -> Key {
        self.redis.keys().key("ev", &bucket.to_string(), &[])
    }

    pub(super) async fn peek_events(
        &self,
        bucket: u16,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>> {
        let from = after.map_or_else(|| "-".to_owned(), |handle| format!("({handle}"));
        let entries = self.redis.xrange(&self.stream(bucket), &from, "+", limit.into()).await?;
        Ok(entries
            .into_iter()
            .map(|entry| StoredEvent { event: parse_event(&entry.fields), handle: entry.id })
            .collect())
    }

    pub(super) async fn acknowledge_events(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        if !handles.is_empty() {
            self.redis.xdel(&self.stream(bucket), handles).await?;
        }
        Ok(())
    }
}

/// Reads an entry of the outbox; `None` for one of another version or shape.
fn parse_event(fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Option<Event> {
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key.as_ref() == name.as_bytes());
        found.map(|(_, value)| value.as_ref())
    };
    let text = |name: &str| field(name).and_then(|value| std::str::from_utf8(value).ok());
    if text("v") != Some("1") {
        return None;
    }
    let details = fields.iter().filter_map(|(key, value)| {
        let name = std::str::from_utf8(key.as_ref()).ok()?.strip_prefix("d:")?;
        Some((name.to_owned(), std::str::from_utf8(value.as_ref()).ok()?.to_owned()))
    });
    Some(Event {
        action: text("action")?.to_owned(),
        occurred_at: text("at")?.parse().ok()?,
        session: text("session")?.parse().ok()?,
        user: unhex(text("user")?)?,
        seed: field("seed")?.try_into().ok()?,
        index: text("index")?.parse().ok()?,
        sealed: field("sealed")?.to_vec(),
        client: field("client")?.to_vec(),
        details: details.collect(),
    })
}
