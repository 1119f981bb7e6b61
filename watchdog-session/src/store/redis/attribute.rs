use watchdog_storage::redis::{Arg, Key};

use super::RedisStore;
use super::reply::unexpected;
use super::script::UPDATE;
use crate::error::Result;
use crate::place::Place;
use crate::store::{StoredAttribute, StoredAttributes, Update, UpdateOutcome, Updated};

impl RedisStore {
    fn data(&self, place: &Place) -> Key {
        let (user, session) = (place.location.user_text(), place.session.to_string());
        self.redis.keys().key("d", &place.location.bucket.to_string(), &[&user, &session])
    }

    pub(super) async fn attribute_fields(&self, place: &Place) -> Result<StoredAttributes> {
        let mut found = StoredAttributes::default();
        for (name, value) in self.redis.hgetall(&self.data(place)).await? {
            let name = String::from_utf8(name.to_vec()).map_err(|_| cut())?;
            if name == "v" {
                let text = std::str::from_utf8(&value).ok();
                found.version = text.and_then(|text| text.parse().ok()).ok_or_else(cut)?;
            } else if let Some(name) = name.strip_prefix("a:") {
                let (version, value) = value.split_first_chunk().ok_or_else(cut)?;
                found.values.push(StoredAttribute {
                    name: name.to_owned(),
                    version: u64::from_be_bytes(*version),
                    value: value.to_vec(),
                });
            }
        }
        found.values.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(super) async fn update_by_script(&self, request: &Update) -> Result<Updated> {
        let expected = optional(request.expected);
        let versions: Vec<String> =
            request.changes.iter().map(|change| optional(change.expected)).collect();
        let mut more = vec![
            Arg::Bytes(&request.nonce),
            (&*expected).into(),
            Arg::Integer(request.clear.into()),
        ];
        for (change, version) in request.changes.iter().zip(&versions) {
            more.push((&*change.name).into());
            more.push((&**version).into());
            more.push(Arg::Integer(change.value.is_some().into()));
            more.push(Arg::Bytes(change.value.as_deref().unwrap_or_default()));
        }
        let reply = self.run_at(&UPDATE, &request.place, request.outbox.as_ref(), &more).await?;
        let outcome = match reply.word() {
            "done" => UpdateOutcome::Done { version: reply.number(0)? },
            "conflict" => UpdateOutcome::Conflict { version: reply.number(0)? },
            "full" => UpdateOutcome::Full,
            "gone" => UpdateOutcome::Gone,
            "expired" => UpdateOutcome::Expired,
            _ => return Err(reply.unexpected()),
        };
        Ok(Updated { now: reply.now, outcome })
    }
}

fn optional(version: Option<u64>) -> String {
    version.map(|version| version.to_string()).unwrap_or_default()
}

fn cut() -> crate::error::Error {
    unexpected("the key of a session's attributes")
}
