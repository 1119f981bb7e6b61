//! Sessions in Redis: one hash per user, one script per change.

mod events;

use std::sync::Arc;

use async_trait::async_trait;
use watchdog_core::health::CheckReport;
use watchdog_core::{Clock, SystemClock};
use watchdog_storage::redis::{Arg, Key, Redis, Script, Value};

use super::server_time::ServerTime;
use super::{
    Create, Created, Life, Outbox, Reading, Revoke, Revoked, Rotate, RotateReply, SessionStore,
    StoredEvent, Touch, Touched,
};
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Location, Place};
use crate::record::Millis;
use crate::rotation::Verdict;

/// The first line says what a server that is full does with a script: it refuses a login, whole,
/// and lets through what ends a session or keeps its size.
macro_rules! script {
    ($name:literal, $file:literal, $flags:literal) => {
        Script::new(
            $name,
            concat!(
                "#!lua",
                $flags,
                "\n",
                include_str!("scripts/prelude.lua"),
                include_str!(concat!("scripts/", $file))
            ),
        )
    };
}

static CREATE: Script = script!("session.create.v1", "create.lua", "");
static TOUCH: Script = script!("session.touch.v1", "touch.lua", " flags=allow-oom");
static ROTATE: Script = script!("session.rotate.v1", "rotate.lua", " flags=allow-oom");
static REVOKE: Script = script!("session.revoke.v1", "revoke.lua", " flags=allow-oom");
static TIME: Script = script!("session.time.v1", "time.lua", " flags=allow-oom");

/// Sessions in Redis: standalone, Sentinel or Cluster.
///
/// All keys of a call share one hash tag. A read is one `HMGET`; a change is one script.
#[derive(Debug)]
pub struct RedisStore {
    redis: Redis,
    time: ServerTime,
}

impl RedisStore {
    /// A store on a connected client.
    pub fn new(redis: Redis) -> Self {
        Self::with_clock(redis, Arc::new(SystemClock))
    }

    /// A store on a connected client, with the clock that carries the server's time between two
    /// answers.
    pub fn with_clock(redis: Redis, clock: Arc<dyn Clock>) -> Self {
        Self { redis, time: ServerTime::new(clock) }
    }

    fn users(&self, location: Location) -> Key {
        self.redis.keys().key("u", &location.bucket.to_string(), &[location.user_hex().as_str()])
    }

    async fn run(
        &self,
        script: &Script,
        place: &Place,
        outbox: Option<&Outbox>,
        more: &[Arg<'_>],
    ) -> Result<Reply> {
        let (users, stream) = (self.users(place.location), self.stream(place.location.bucket));
        let (user, session) = (place.location.user_text(), place.session.to_string());
        let (seed, client) =
            outbox.map_or((&[][..], &[][..]), |out| (&out.seed[..], &out.client[..]));
        let mut args = vec![Arg::from(seed), client.into(), (&*user).into(), (&*session).into()];
        args.extend_from_slice(more);
        let value = self.redis.call(script, &[&users, &stream], &args).await?;
        let reply = Reply::parse(script, value)?;
        self.time.hear(reply.now);
        Ok(reply)
    }
}

/// What every script answers: a word, the time, and what belongs to the word.
struct Reply {
    script: &'static str,
    word: String,
    now: Millis,
    rest: Vec<Value>,
}

impl Reply {
    fn parse(script: &Script, value: Value) -> Result<Self> {
        let script = script.name();
        let unexpected = || unexpected(script);
        let Value::Array(values) = value else { return Err(unexpected()) };
        let mut values = values.into_iter();
        let (Some(Value::Bytes(word)), Some(Value::Integer(now))) = (values.next(), values.next())
        else {
            return Err(unexpected());
        };
        let word = String::from_utf8(word.to_vec()).map_err(|_| unexpected())?;
        let now = now.try_into().map_err(|_| unexpected())?;
        Ok(Self { script, word, now, rest: values.collect() })
    }

    fn number<T: TryFrom<i64>>(&self, position: usize) -> Result<T> {
        match self.rest.get(position) {
            Some(&Value::Integer(number)) => number.try_into().map_err(|_| self.unexpected()),
            _ => Err(self.unexpected()),
        }
    }

    fn life(&self) -> Result<Life> {
        match &*self.word {
            "alive" => Ok(Life::Alive),
            "expired" => Ok(Life::Expired),
            "gone" => Ok(Life::Gone),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> Error {
        unexpected(self.script)
    }
}

fn unexpected(script: &str) -> Error {
    Error::new(ErrorKind::Internal, format_args!("script {script} answered out of contract"))
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
        let more = [
            Arg::Bytes(&request.record),
            Arg::Integer(request.limit.into()),
            millis(request.tolerance),
        ];
        let reply = self.run(&CREATE, &request.place, request.outbox.as_ref(), &more).await?;
        let now = reply.now;
        match &*reply.word {
            "stored" => {
                Ok(Created::Stored { now, expired: reply.number(0)?, evicted: reply.number(1)? })
            }
            "skewed" => Ok(Created::Skewed { now, floor: reply.number(0)? }),
            "taken" => Ok(Created::Taken { now }),
            _ => Err(reply.unexpected()),
        }
    }

    async fn read(&self, place: &Place) -> Result<Reading> {
        let field = place.session.field();
        let fields: [&[u8]; 2] = [&field, b"e"];
        let mut values = self.redis.hmget(&self.users(place.location), &fields).await?.into_iter();
        let record = values.next().flatten().map(|record| record.to_vec());
        let not_before = match values.next().flatten() {
            // A stamp nobody can read revokes everything: the safe side.
            Some(stamp) => std::str::from_utf8(&stamp)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(Millis::MAX),
            None => 0,
        };
        let now = match self.time.now() {
            Some(now) => now,
            // Once in the life of a process, before the first script has answered.
            None => self.run(&TIME, place, None, &[]).await?.now,
        };
        Ok(Reading { record, not_before, now })
    }

    async fn touch(&self, request: &Touch) -> Result<Touched> {
        let more = [millis(request.interval)];
        let reply = self.run(&TOUCH, &request.place, request.outbox.as_ref(), &more).await?;
        Ok(Touched { now: reply.now, life: reply.life()? })
    }

    async fn rotate(&self, request: &Rotate) -> Result<RotateReply> {
        let (presented, rules) = (&request.presented, &request.rules);
        let optional = |tag: &'_ Option<[u8; 16]>| tag.map(|tag| tag.to_vec()).unwrap_or_default();
        let (ip, agent) = (optional(&presented.ip), optional(&presented.agent));
        let more = [
            Arg::Integer(presented.generation.into()),
            Arg::Bytes(&presented.digest),
            Arg::Bytes(&presented.successor),
            Arg::Bytes(&presented.client),
            Arg::Bytes(&presented.nonce),
            Arg::Bytes(&ip),
            Arg::Bytes(&agent),
            Arg::Integer(rules.rotate.into()),
            millis(rules.grace),
            Arg::Integer(rules.grace_limit.into()),
            millis(presented.made_at),
        ];
        let mut reply = self.run(&ROTATE, &request.place, request.outbox.as_ref(), &more).await?;
        match &*reply.word {
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
        let verdict = Verdict::from_name(&reply.word).ok_or_else(|| reply.unexpected())?;
        let record = match reply.rest.pop() {
            Some(Value::Bytes(record)) if verdict.is_granted() => Some(record.to_vec()),
            None if !verdict.is_granted() => None,
            _ => return Err(reply.unexpected()),
        };
        Ok(RotateReply { now: reply.now, verdict, record })
    }

    async fn revoke(&self, request: &Revoke) -> Result<Revoked> {
        let more = [Arg::from(request.reason)];
        let reply = self.run(&REVOKE, &request.place, request.outbox.as_ref(), &more).await?;
        Ok(Revoked { now: reply.now, was: reply.life()? })
    }

    async fn events(
        &self,
        bucket: u16,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>> {
        self.peek_events(bucket, after, limit).await
    }

    async fn acknowledge(&self, bucket: u16, handles: &[&str]) -> Result<()> {
        self.acknowledge_events(bucket, handles).await
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
