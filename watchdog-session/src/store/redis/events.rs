//! The outbox: one stream per bucket, read by one consumer group per key prefix.

use std::time::Duration;

use watchdog_core::fill_random;
use watchdog_storage::redis::{Arg, Key, Script, Value};

use super::RedisStore;
use super::reply::unexpected;
use crate::error::Result;
use crate::model::MAX_EVENTS_PER_BUCKET;
use crate::place::unhex;
use crate::store::{Event, StoredEvent, Waiting};

macro_rules! script {
    ($name:literal, $file:literal) => {
        Script::new(
            $name,
            concat!("#!lua flags=allow-oom\n", include_str!(concat!("../scripts/", $file))),
        )
    };
}

static CLAIM: Script = script!("session.claim.v1", "claim.lua");
static ACKNOWLEDGE: Script = script!("session.acknowledge.v1", "acknowledge.lua");
static POSTPONE: Script = script!("session.postpone.v1", "postpone.lua");

/// Most handles in one call of a script: Lua passes arguments on its stack.
const MOST_HANDLES: usize = 1000;

impl RedisStore {
    pub(super) fn stream(&self, bucket: u16) -> Key {
        self.redis.keys().key("ev", &bucket.to_string(), &[])
    }

    fn dropped(&self, bucket: u16) -> Key {
        self.redis.keys().key("ed", &bucket.to_string(), &[])
    }

    pub(super) async fn claim_events(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut random = [0; 10];
        fill_random(&mut random)?;
        let keys = [&self.stream(bucket), &self.dropped(bucket)];
        let args = [
            Arg::from(consumer),
            Arg::Integer(limit.into()),
            Arg::Integer(idle.as_millis().try_into().unwrap_or(i64::MAX)),
            Arg::Integer(MAX_EVENTS_PER_BUCKET.into()),
            Arg::from(&random[..]),
        ];
        let Value::Array(entries) = self.redis.call(&CLAIM, &keys, &args).await? else {
            return Err(unexpected(CLAIM.name()));
        };
        let entries = entries.into_iter().map(parse_entry).collect::<Option<_>>();
        entries.ok_or_else(|| unexpected(CLAIM.name()))
    }

    pub(super) async fn acknowledge_events(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.call_with_handles(&ACKNOWLEDGE, bucket, handles).await
    }

    pub(super) async fn postpone_events(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.call_with_handles(&POSTPONE, bucket, handles).await
    }

    async fn call_with_handles(
        &self,
        script: &Script,
        bucket: u16,
        handles: &[&str],
    ) -> Result<()> {
        for handles in handles.chunks(MOST_HANDLES) {
            let handles: Vec<_> = handles.iter().map(|&handle| Arg::from(handle)).collect();
            self.redis.call(script, &[&self.stream(bucket)], &handles).await?;
        }
        Ok(())
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

    /// Two plain commands: a sweep asks this of every bucket.
    pub(super) async fn backlog_of_events(&self, bucket: u16) -> Result<Waiting> {
        let events = self.redis.xlen(&self.stream(bucket)).await?;
        let dropped = self.redis.get(&self.dropped(bucket)).await?;
        let dropped =
            dropped.and_then(|count| std::str::from_utf8(&count).ok()?.parse().ok()).unwrap_or(0);
        Ok(Waiting { events, dropped })
    }
}

/// Reads an entry as a script answers it: its id, and names and values in turn.
fn parse_entry(entry: Value) -> Option<StoredEvent> {
    let Value::Array(parts) = entry else { return None };
    let [Value::Bytes(id), Value::Array(fields)] = <[Value; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let mut texts = fields.into_iter().map(|field| match field {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    });
    let mut pairs = Vec::new();
    while let Some(name) = texts.next() {
        pairs.push((name?, texts.next()??));
    }
    Some(StoredEvent {
        handle: std::str::from_utf8(&id).ok()?.to_owned(),
        event: parse_event(&pairs),
    })
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

#[cfg(test)]
mod tests {
    use super::MAX_EVENTS_PER_BUCKET;

    #[test]
    fn the_scripts_have_the_room_that_the_model_has() {
        let line = format!("local MAX_EVENTS = {MAX_EVENTS_PER_BUCKET}\n");
        assert!(include_str!("../scripts/base.lua").contains(&line));
    }
}
