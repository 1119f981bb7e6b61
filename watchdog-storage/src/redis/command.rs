//! The commands: reads as plain commands, everything conditional as a script.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{
    ClientLike as _, HashesInterface as _, KeysInterface as _, LuaInterface as _,
    SortedSetsInterface as _, StreamsInterface as _,
};
use fred::types::config::Options;
use fred::types::{Expiration, InfoKind, Key as WireKey, Value as Wire};

use super::metric::Meter;
use super::{Arg, Key, Redis, Script, StreamEntry, Ttl, Value, failure, metric, value};
use crate::error::{Error, ErrorKind, Result};

/// The command of every request.
static HMGET: LazyLock<Meter> = LazyLock::new(|| "HMGET".into());

impl Redis {
    /// `PING`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn ping(&self) -> Result<()> {
        self.read("PING", None, |client| async move { client.ping::<Wire>(None).await })
            .await
            .map(drop)
    }

    /// `GET`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let answer = self
            .read("GET", Some(key), |client| async move { client.get::<Wire, _>(key).await })
            .await?;
        answer.into_optional_bytes()
    }

    /// `EXISTS`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn exists(&self, key: &Key) -> Result<bool> {
        let answer = self
            .read("EXISTS", Some(key), |client| async move { client.exists::<Wire, _>(key).await })
            .await?;
        Ok(answer.integer()? > 0)
    }

    /// `HGET`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn hget(&self, key: &Key, field: &[u8]) -> Result<Option<Bytes>> {
        let call = |client: Client| async move { client.hget::<Wire, _, _>(key, field).await };
        self.read("HGET", Some(key), call).await?.into_optional_bytes()
    }

    /// `HMGET`: one answer per field, in order.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn hmget(&self, key: &Key, fields: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let fields: Vec<WireKey> = fields.iter().map(|&field| field.into()).collect();
        let call = |client: Client| async move { client.hmget::<Wire, _, _>(key, fields).await };
        let answer = self.read(HMGET.clone(), Some(key), call).await?;
        answer.into_array()?.into_iter().map(Value::into_optional_bytes).collect()
    }

    /// `HGETALL`, in no particular order; empty when there is no such key.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn hgetall(&self, key: &Key) -> Result<Vec<(Bytes, Bytes)>> {
        let call = |client: Client| async move { client.hgetall::<Wire, _>(key).await };
        value::pairs(self.read("HGETALL", Some(key), call).await?)
    }

    /// `XRANGE key from to COUNT count`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn xrange(
        &self,
        key: &Key,
        from: &str,
        to: &str,
        count: u64,
    ) -> Result<Vec<StreamEntry>> {
        let call = |client: Client| async move {
            client.xrange::<Wire, _, _, _>(key, from, to, Some(count)).await
        };
        value::entries(self.read("XRANGE", Some(key), call).await?)
    }

    /// `XLEN`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn xlen(&self, key: &Key) -> Result<u64> {
        let answer = self
            .read("XLEN", Some(key), |client| async move { client.xlen::<Wire, _>(key).await })
            .await?;
        natural(&answer)
    }

    /// `ZREVRANGE key 0 count-1 WITHSCORES`: the members with the greatest scores, greatest first.
    /// Fractions of scores are cut off.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn zrevrange(&self, key: &Key, count: u32) -> Result<Vec<(Bytes, i64)>> {
        let last = i64::from(count) - 1;
        if last < 0 {
            return Ok(Vec::new());
        }
        let call =
            |client: Client| async move { client.zrevrange::<Wire, _>(key, 0, last, true).await };
        value::scored(self.read("ZREVRANGE", Some(key), call).await?)
    }

    /// `PTTL`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn pttl(&self, key: &Key) -> Result<Ttl> {
        let answer = self
            .read("PTTL", Some(key), |client| async move { client.pttl::<Wire, _>(key).await })
            .await?;
        match answer.integer()? {
            -2 => Ok(Ttl::Missing),
            -1 => Ok(Ttl::Unbounded),
            millis => Ok(Ttl::Millis(millis.unsigned_abs())),
        }
    }

    /// `maxmemory-policy` of the server, `None` where the server does not tell.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn maxmemory_policy(&self) -> Result<Option<String>> {
        let call =
            |client: Client| async move { client.info::<Wire>(Some(InfoKind::Memory)).await };
        let info = self.read("INFO", None, call).await?.into_bytes()?;
        let policy = String::from_utf8_lossy(&info)
            .lines()
            .find_map(|line| line.strip_prefix("maxmemory_policy:"))
            .map(|policy| policy.trim().to_owned());
        Ok(policy)
    }

    /// `SET key value PX ttl`, without an end when there is no `ttl`.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn set(&self, key: &Key, content: Bytes, ttl: Option<Duration>) -> Result<()> {
        let wire_key = WireKey::from(key);
        let millis = ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1));
        let call = move |client: Client| async move {
            client
                .set::<Wire, _, _>(wire_key, content, millis.map(Expiration::PX), None, false)
                .await
        };
        self.write("SET", Some(key), call).await.map(drop)
    }

    /// `DEL`: whether the key existed.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn del(&self, key: &Key) -> Result<bool> {
        let wire_key = WireKey::from(key);
        let call = move |client: Client| async move { client.del::<Wire, _>(wire_key).await };
        Ok(self.write("DEL", Some(key), call).await?.integer()? > 0)
    }

    /// `XADD key * field value …`: the id of the entry. A lost reply may add it twice.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn xadd(&self, key: &Key, fields: &[(&str, Bytes)]) -> Result<String> {
        let wire_key = WireKey::from(key);
        let fields: Vec<(WireKey, Wire)> = fields
            .iter()
            .map(|(name, content)| ((*name).into(), Wire::Bytes(content.clone())))
            .collect();
        let call = move |client: Client| async move {
            client.xadd::<Wire, _, _, _, _>(wire_key, false, None::<()>, "*", fields).await
        };
        let id = self.write("XADD", Some(key), call).await?.into_bytes()?;
        Ok(String::from_utf8_lossy(&id).into_owned())
    }

    /// `XDEL`: how many entries left.
    ///
    /// # Errors
    ///
    /// As every command: see the [module](super).
    pub async fn xdel(&self, key: &Key, ids: &[&str]) -> Result<u64> {
        let wire_key = WireKey::from(key);
        let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        let call =
            move |client: Client| async move { client.xdel::<Wire, _, _>(wire_key, ids).await };
        natural(&self.write("XDEL", Some(key), call).await?)
    }

    /// Runs a script by SHA, with `EVAL` when the server does not know it.
    ///
    /// The script may run twice when a reply is lost: it must be idempotent under verbatim replay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without keys or with keys of different hash tags, before anything is
    /// sent; else as every command: see the [module](super).
    pub async fn call(&self, script: &Script, keys: &[&Key], args: &[Arg<'_>]) -> Result<Value> {
        let name = script.name();
        let first = keys.first().copied();
        let tag = first.map(Key::tag);
        if tag.is_none() || keys.iter().any(|key| Some(key.tag()) != tag) {
            let context = format!("{name} needs keys, all of one hash tag");
            return Err(Error::new(ErrorKind::Misuse, context));
        }
        let keys: Vec<WireKey> = keys.iter().map(|&key| key.into()).collect();
        let args = value::wire(args);
        let (sha, source) = (script.shared_sha().clone(), script.source());
        let limit = self.command_timeout();
        let call = move |client: Client| async move {
            let start = Instant::now();
            match client.evalsha(sha, keys.clone(), args.clone()).await {
                // A restarted server and a promoted replica have no scripts. EVAL leaves it there.
                Err(error) if failure::is_unknown_script(&error) => {
                    metric::fell_back(name);
                    // One timeout for both; none at all is what the client takes zero for.
                    let rest = limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
                    let options = Options { timeout: Some(rest), ..Options::default() };
                    client.with_options(&options).eval(source, keys, args).await
                }
                answer => answer,
            }
        };
        self.write(script.meter(), first, call).await
    }
}

fn natural(value: &Value) -> Result<u64> {
    let number = value.integer()?;
    u64::try_from(number)
        .map_err(|_| Error::new(ErrorKind::Unexpected, "redis answered a negative count"))
}

impl From<&Key> for WireKey {
    fn from(key: &Key) -> Self {
        key.as_str().into()
    }
}
