//! Sessions in Redis: one hash per user, one script per change.

mod attribute;
mod bulk;
pub(crate) mod changes;
mod events;
mod everybody;
mod reply;
mod script;
mod succession;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use watchdog_core::health::CheckReport;
use watchdog_core::{Clock, SystemClock};
use watchdog_storage::redis::{Arg, Key, Redis, Script, Value};

use self::bulk::stamp_of;
use self::everybody::Stamps;
use self::reply::Reply;
use self::script::{CREATE, REVOKE, ROTATE, TIME, TOUCH};
use super::server_time::ServerTime;
use super::{
    ChangeTracking, Create, Created, EverybodyRevoked, Listing, Outbox, Reading, Regenerate,
    Regenerated, Report, Reported, Revoke, RevokeAll, RevokeEverybody, Revoked, RevokedAll, Rotate,
    RotateReply, SessionChanges, SessionStore, StoredAttributes, StoredEvent, Touch, Touched,
    Update, Updated, Waiting,
};
use crate::config::LimitPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Location, Place};
use crate::record::Millis;
use crate::rotation::Verdict;

/// Sessions in Redis: standalone, Sentinel or Cluster.
///
/// All keys of a call share one hash tag. A read is one `HMGET`; a change is one script.
///
/// A clone shares everything.
#[derive(Clone, Debug)]
pub struct RedisStore {
    redis: Redis,
    time: Arc<ServerTime>,
    stamps: Arc<Stamps>,
}

impl RedisStore {
    /// A store on a connected client.
    pub fn new(redis: Redis) -> Self {
        Self::with_clock(redis, Arc::new(SystemClock))
    }

    /// A store on a connected client, with the clock that carries the server's time between two
    /// answers.
    pub fn with_clock(redis: Redis, clock: Arc<dyn Clock>) -> Self {
        let time = Arc::new(ServerTime::new(Arc::clone(&clock)));
        Self { redis, time, stamps: Arc::new(Stamps::new(clock)) }
    }

    fn users(&self, location: Location) -> Key {
        self.redis.keys().key("u", &location.bucket.to_string(), &[location.user_hex().as_str()])
    }

    /// Where the stamp that revokes everybody is.
    fn everybody(&self, bucket: u16) -> Key {
        self.redis.keys().key("g", &bucket.to_string(), &[])
    }

    async fn run_at(
        &self,
        script: &Script,
        place: &Place,
        outbox: Option<&Outbox>,
        more: &[Arg<'_>],
    ) -> Result<Reply> {
        self.run(script, place.location, place.session.hex().as_str(), outbox, more).await
    }

    async fn run(
        &self,
        script: &Script,
        location: Location,
        session: &str,
        outbox: Option<&Outbox>,
        more: &[Arg<'_>],
    ) -> Result<Reply> {
        let (users, stream) = (self.users(location), self.stream(location.bucket));
        let everybody = self.everybody(location.bucket);
        let user = location.user_hex();
        let (seed, client) =
            outbox.map_or((&[][..], &[][..]), |out| (&out.seed[..], &out.client[..]));
        let mut args = Vec::with_capacity(4 + more.len());
        args.extend([Arg::from(seed), client.into(), user.as_str().into(), session.into()]);
        args.extend_from_slice(more);
        let value = self.redis.call(script, &[&users, &stream, &everybody], &args).await?;
        let reply = Reply::parse(script, value)?;
        self.time.hear(reply.now);
        Ok(reply)
    }

    /// The answer to a read of a user's sessions, and the stamp that revokes everybody: asked for
    /// with it when it is not known freshly enough.
    async fn with_stamp<T, F>(&self, bucket: u16, read: impl FnOnce() -> F) -> Result<(T, Millis)>
    where
        F: Future<Output = watchdog_storage::Result<T>> + Send,
        T: Send,
    {
        if let Some(stamp) = self.stamps.known(bucket) {
            // Made where it is awaited: a future handed to another one is held twice in it.
            return Ok((read().await?, stamp));
        }
        let (asked, key) = (self.stamps.ask(), self.everybody(bucket));
        // The rare case is not to make room in every read.
        let both = async { tokio::try_join!(read(), self.redis.get(&key)) };
        let (answer, stamp) = Box::pin(both).await?;
        let stamp = stamp_of(stamp.as_deref());
        self.stamps.learn(bucket, asked, stamp);
        Ok((answer, stamp))
    }

    /// The server's time as far as it is known; asked for once in the life of a process, before
    /// the first script has answered.
    async fn now_at(&self, place: &Place) -> Result<Millis> {
        match self.time.now() {
            Some(now) => Ok(now),
            None => Ok(Box::pin(self.run_at(&TIME, place, None, &[])).await?.now),
        }
    }

    pub(crate) async fn read_fields(&self, place: &Place) -> Result<Reading> {
        let (users, field) = (self.users(place.location), place.session.field());
        let fields: [&[u8]; 2] = [&field, b"e"];
        let read = || self.redis.hmget(&users, &fields);
        let (values, stamp) = self.with_stamp(place.location.bucket, read).await?;
        let mut values = values.into_iter();
        let record = values.next().flatten().map(|record| record.to_vec());
        let own = stamp_of(values.next().flatten().as_deref());
        Ok(Reading { record, not_before: own.max(stamp), now: self.now_at(place).await? })
    }

    async fn create_by_script(&self, request: &Create) -> Result<Created> {
        let policy = match request.policy {
            LimitPolicy::EvictOldest => "oldest",
            LimitPolicy::EvictLeastRecentlyUsed => "used",
            LimitPolicy::Reject => "reject",
        };
        let more = [
            Arg::Bytes(&request.record),
            Arg::Integer(request.limit.into()),
            millis(request.tolerance),
            policy.into(),
        ];
        let reply = self.run_at(&CREATE, &request.place, request.outbox.as_ref(), &more).await?;
        let now = reply.now;
        match reply.word() {
            "stored" => {
                Ok(Created::Stored { now, expired: reply.number(0)?, evicted: reply.number(1)? })
            }
            "skewed" => Ok(Created::Skewed { now, floor: reply.number(0)? }),
            "refused" => Ok(Created::Refused { now, held: reply.number(0)? }),
            "taken" => Ok(Created::Taken { now }),
            _ => Err(reply.unexpected()),
        }
    }

    async fn rotate_by_script(&self, request: &Rotate) -> Result<RotateReply> {
        let (presented, rules) = (&request.presented, &request.rules);
        let ip = presented.ip.as_ref().map_or(&[][..], |tag| &tag[..]);
        let more = [
            Arg::Integer(presented.generation.into()),
            Arg::Bytes(&presented.digest),
            Arg::Bytes(&presented.successor),
            Arg::Bytes(&presented.client),
            Arg::Bytes(&presented.nonce),
            Arg::Bytes(ip),
            Arg::Bytes(&presented.agent_tag),
            Arg::Integer(presented.bind_agent.into()),
            Arg::Integer(presented.family.into()),
            Arg::Integer(rules.rotate.into()),
            millis(rules.grace),
            Arg::Integer(rules.grace_limit.into()),
            millis(presented.made_at),
        ];
        let mut reply =
            self.run_at(&ROTATE, &request.place, request.outbox.as_ref(), &more).await?;
        match reply.word() {
            "newer" => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "session record of a newer version than this process",
                ));
            }
            "corrupt" => {
                return Err(Error::new(ErrorKind::Internal, "session record is cut or altered"));
            }
            _ => {}
        }
        let verdict = Verdict::from_name(reply.word()).ok_or_else(|| reply.unexpected())?;
        let record = match reply.rest.pop() {
            Some(Value::Bytes(record)) if verdict.is_granted() => Some(record.to_vec()),
            None if !verdict.is_granted() => None,
            _ => return Err(reply.unexpected()),
        };
        Ok(RotateReply { now: reply.now, verdict, record })
    }
}

fn millis(value: Millis) -> Arg<'static> {
    Arg::Integer(value.try_into().unwrap_or(i64::MAX))
}

#[async_trait]
impl SessionStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn now(&self) -> Option<Millis> {
        self.time.now()
    }

    async fn create(&self, request: &Create) -> Result<Created> {
        self.create_by_script(request).await
    }

    async fn read(&self, place: &Place) -> Result<Reading> {
        self.read_fields(place).await
    }

    async fn touch(&self, request: &Touch) -> Result<Touched> {
        let more = [millis(request.interval)];
        let outbox = request.outbox.as_ref();
        let reply = self.run_at(&TOUCH, &request.place, outbox, &more).await?;
        Ok(Touched { now: reply.now, life: reply.life()? })
    }

    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        self.rotate_by_script(request).await
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let more = [Arg::from(request.reason)];
        let outbox = request.outbox.as_ref();
        let reply = self.run_at(&REVOKE, &request.place, outbox, &more).await?;
        Ok(Revoked { now: reply.now, was: reply.life()? })
    }

    async fn regenerate(&self, request: &Regenerate) -> Result<Regenerated> {
        self.regenerate_by_script(request).await
    }

    async fn revoke_all(&self, request: &RevokeAll) -> Result<RevokedAll> {
        self.revoke_all_by_script(request).await
    }

    async fn revoke_everybody(&self, request: &RevokeEverybody) -> Result<EverybodyRevoked> {
        self.stamp_everybody(request).await
    }

    async fn list(&self, location: Location) -> Result<Listing> {
        self.list_fields(location).await
    }

    async fn attributes(&self, place: &Place) -> Result<StoredAttributes> {
        self.attribute_fields(place).await
    }

    async fn update(&self, request: &Update) -> Result<Updated> {
        self.update_by_script(request).await
    }

    async fn report(&self, request: &Report) -> Result<Reported> {
        self.report_by_script(request).await
    }

    async fn claim(
        &self,
        bucket: u16,
        consumer: &str,
        limit: u32,
        idle: Duration,
    ) -> Result<Vec<StoredEvent>> {
        self.claim_events(bucket, consumer, limit, idle).await
    }

    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.acknowledge_events(bucket, handles).await
    }

    async fn postpone(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.postpone_events(bucket, handles).await
    }

    async fn peek(&self, bucket: u16, after: Option<&str>, limit: u32) -> Result<Vec<StoredEvent>> {
        self.peek_events(bucket, after, limit).await
    }

    async fn backlog(&self, bucket: u16) -> Result<Waiting> {
        self.backlog_of_events(bucket).await
    }

    fn track(&self, to: Arc<dyn SessionChanges>) -> Option<Box<dyn ChangeTracking>> {
        Some(changes::track(&self.redis, to))
    }

    fn reconnections(&self) -> Option<watch::Receiver<u64>> {
        Some(self.redis.reconnections())
    }

    async fn check(&self) -> CheckReport {
        if self.redis.ping().await.is_err() {
            return CheckReport::fail("the session store does not answer");
        }
        match self.redis.maxmemory_policy().await {
            Ok(Some(policy))
                if policy.starts_with("allkeys-") || policy.starts_with("volatile-") =>
            {
                CheckReport::warn(format!(
                    "maxmemory-policy {policy} ends sessions when memory runs out; use noeviction"
                ))
            }
            _ => CheckReport::pass(),
        }
    }
}
