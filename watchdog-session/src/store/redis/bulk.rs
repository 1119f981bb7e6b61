use std::time::Duration;

use tokio::task::JoinSet;
use watchdog_storage::redis::{Arg, Value};

use super::reply::unexpected;
use super::script::{REVOKE_ALL, REVOKE_EVERYBODY};
use super::{RedisStore, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{BUCKETS, Location, Place, SessionId};
use crate::record::Millis;
use crate::store::{
    EverybodyRevoked, GLOBAL_STALENESS, Listing, RevokeAll, RevokeEverybody, RevokedAll,
};

/// Buckets stamped at once.
const MOST_STAMPS: usize = 64;

impl RedisStore {
    pub(super) async fn revoke_all_by_script(&self, request: &RevokeAll) -> Result<RevokedAll> {
        let except = request.except.map(|session| session.to_string()).unwrap_or_default();
        let more = [request.reason.into(), Arg::Bytes(&request.nonce), or_empty(request.up_to)];
        let outbox = request.outbox.as_ref();
        let reply = self.run(&REVOKE_ALL, request.location, &except, outbox, &more).await?;
        match reply.word() {
            "done" => Ok(RevokedAll {
                now: reply.now,
                sessions: reply.number(0)?,
                up_to: reply.number(1)?,
                singly: reply.rest[2..]
                    .iter()
                    .map(|id| session_of(id).ok_or_else(|| reply.unexpected()))
                    .collect::<Result<_>>()?,
            }),
            _ => Err(reply.unexpected()),
        }
    }

    pub(super) async fn list_fields(&self, location: Location) -> Result<Listing> {
        let users = self.users(location);
        let read = || self.redis.hgetall(&users);
        let (fields, stamp) = self.with_stamp(location.bucket, read).await?;
        let (mut records, mut own) = (Vec::new(), 0);
        for (name, value) in fields {
            if &*name == b"e" {
                own = stamp_of(Some(&value));
            }
            let id = std::str::from_utf8(&name).ok().and_then(|name| name.strip_prefix("s:"));
            if let Some(id) = id.and_then(|id| id.parse::<SessionId>().ok()) {
                records.push((id, value.to_vec()));
            }
        }
        records.sort_by_key(|(id, _)| *id);
        let place = Place { location, session: SessionId::from_bytes([0; 16]) };
        Ok(Listing { records, not_before: own.max(stamp), now: self.now_at(&place).await? })
    }

    pub(super) async fn stamp_everybody(
        &self,
        request: &RevokeEverybody,
    ) -> Result<EverybodyRevoked> {
        let mut stamping = JoinSet::new();
        let (mut now, mut up_to) = (0, Millis::MAX);
        let mut hear = |stamped: std::result::Result<Result<_>, _>| {
            let stamped: EverybodyRevoked = stamped.map_err(ended_early)??;
            now = stamped.now.max(now);
            up_to = stamped.up_to.min(up_to);
            Ok::<_, Error>(())
        };
        for bucket in 0..BUCKETS {
            if stamping.len() >= MOST_STAMPS
                && let Some(stamped) = stamping.join_next().await
            {
                hear(stamped)?;
            }
            let (store, request) = (self.clone(), request.clone());
            stamping.spawn(async move { store.stamp(bucket, &request).await });
        }
        while let Some(stamped) = stamping.join_next().await {
            hear(stamped)?;
        }
        // Until then another process may go by what it knew.
        tokio::time::sleep(Duration::from_millis(GLOBAL_STALENESS)).await;
        Ok(EverybodyRevoked { now, up_to })
    }

    async fn stamp(&self, bucket: u16, request: &RevokeEverybody) -> Result<EverybodyRevoked> {
        let location = Location { bucket, user: [0; 16] };
        let session = SessionId::from_bytes([0; 16]).to_string();
        let more = [
            request.reason.into(),
            Arg::Bytes(&request.nonce),
            millis(request.lifetime),
            Arg::Integer((bucket == 0).into()),
            or_empty(request.up_to),
        ];
        let outbox = request.outbox.as_ref();
        let reply = self.run(&REVOKE_EVERYBODY, location, &session, outbox, &more).await?;
        match reply.word() {
            "done" => Ok(EverybodyRevoked { now: reply.now, up_to: reply.number(0)? }),
            _ => Err(unexpected(REVOKE_EVERYBODY.name())),
        }
    }
}

/// A time, or nothing as an empty text.
fn or_empty(time: Option<Millis>) -> Arg<'static> {
    time.map_or(Arg::Bytes(b""), millis)
}

fn session_of(id: &Value) -> Option<SessionId> {
    let Value::Bytes(id) = id else { return None };
    std::str::from_utf8(id).ok()?.parse().ok()
}

fn ended_early(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the revocation of a bucket ended early").with_source(error)
}

/// The time that a stamp says. One that nobody can read revokes everything: the safe side.
pub(super) fn stamp_of(stamp: Option<&[u8]>) -> Millis {
    match stamp {
        Some(stamp) => std::str::from_utf8(stamp)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(Millis::MAX),
        None => 0,
    }
}
