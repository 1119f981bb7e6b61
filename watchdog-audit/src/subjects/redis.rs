//! Wrapped subject keys in Redis.
//!
//! | key | type | holds | life |
//! |---|---|---|---|
//! | `wd:a:{k<bucket>}:keys` | hash | handles whose first 10 bits are the bucket, in 3 hexadecimal digits: `<handle>` → `<label>:<wrapped>`, `<handle>!` → erased labels | for ever |
//! | `wd:a:{k}:generation` | string | changes with every erasure | for ever |

use std::ops::Range;

use async_trait::async_trait;
use tokio::task::JoinSet;
use watchdog_storage::redis::{Key, Redis, Script, Value};

use crate::error::{Error, ErrorKind, Result, storage};
use crate::personal::SubjectHandle;
use crate::store::refuse_evicting;
use crate::subjects::{KeyVault, WrappedKey};

static CREATE: Script = Script::new("audit.subject.create.v1", include_str!("scripts/create.lua"));
static REPLACE: Script =
    Script::new("audit.subject.replace.v1", include_str!("scripts/replace.lua"));
static ERASE: Script = Script::new("audit.subject.erase.v1", include_str!("scripts/erase.lua"));
static GENERATION: Script =
    Script::new("audit.subject.generation.v1", include_str!("scripts/generation.lua"));

/// A Cluster spreads them, and one of a million subjects holds a thousand.
const BUCKETS: u16 = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 10;

/// So many empty buckets are read at once.
const WIDEST: u16 = 64;

/// Wrapped subject keys in Redis: standalone, Sentinel or Cluster.
///
/// A key is there when the primary has taken it. A primary that is lost before a replica has the
/// newest keys takes them along; processes that used them bring them back, see
/// [`subjects`](crate::subjects).
#[derive(Clone, Debug)]
pub struct RedisVault {
    redis: Redis,
}

impl RedisVault {
    /// A vault beside whatever else has the same prefix.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn bucket(&self, number: u16) -> Key {
        self.redis.keys().key("a", &format!("k{number:03x}"), &["keys"])
    }

    fn bucket_of(&self, handle: &SubjectHandle) -> Result<Key> {
        // A handle from a line that somebody altered names no bucket.
        let malformed = || Error::corrupt("a subject's handle is malformed");
        Ok(self.bucket(bucket_number(handle).ok_or_else(malformed)?))
    }

    /// The keys of some buckets, in order.
    async fn read(&self, buckets: Range<u16>) -> Result<Vec<(SubjectHandle, WrappedKey)>> {
        let failed = storage("redis did not list subject keys");
        let mut reads = JoinSet::new();
        for bucket in buckets {
            let (redis, key) = (self.redis.clone(), self.bucket(bucket));
            reads.spawn(async move { redis.hgetall(&key).await });
        }
        let mut found = Vec::new();
        while let Some(read) = reads.join_next().await {
            let ended = |error| {
                Error::new(ErrorKind::Unavailable, "a read of subject keys ended")
                    .with_source(error)
            };
            for (field, stands) in read.map_err(ended)?.map_err(failed)? {
                let Some(handle) = handle_from(&field) else { continue };
                found.push((handle, key_from(&stands)?));
            }
        }
        found.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    fn generation_key(&self) -> Key {
        self.redis.keys().key("a", "k", &["generation"])
    }
}

#[async_trait]
impl KeyVault for RedisVault {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn preflight(&self) -> Result<()> {
        refuse_evicting(&self.redis).await
    }

    async fn create(
        &self,
        handle: &SubjectHandle,
        label: &str,
        wrapped: &[u8],
    ) -> Result<WrappedKey> {
        let bucket = self.bucket_of(handle)?;
        let args = [handle.as_str().into(), label.into(), wrapped.into()];
        let answer = self.redis.call(&CREATE, &[&bucket], &args).await;
        match answer.map_err(storage("redis did not keep a subject's key"))? {
            Value::Bytes(stands) => key_from(&stands),
            Value::Nil => Err(Error::new(ErrorKind::Busy, "the subject was erased meanwhile")),
            _ => Err(unexpected()),
        }
    }

    async fn current(&self, handle: &SubjectHandle) -> Result<Option<WrappedKey>> {
        let bucket = self.bucket_of(handle)?;
        let stands = self.redis.hget(&bucket, handle.as_str().as_bytes()).await;
        let stands = stands.map_err(storage("redis did not give a subject's key"))?;
        stands.map(|stands| key_from(&stands)).transpose()
    }

    async fn replace(
        &self,
        handle: &SubjectHandle,
        label: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool> {
        let bucket = self.bucket_of(handle)?;
        let args = [handle.as_str().into(), label.into(), old.into(), new.into()];
        let answer = self.redis.call(&REPLACE, &[&bucket], &args).await;
        let answer = answer.map_err(storage("redis did not re-wrap a subject's key"))?;
        Ok(answer == Value::Integer(1))
    }

    async fn erase(&self, handle: &SubjectHandle) -> Result<u64> {
        let failed = storage("redis did not erase a subject's key");
        let bucket = self.bucket_of(handle)?;
        let args = [handle.as_str().into()];
        let answer = self.redis.call(&ERASE, &[&bucket], &args).await.map_err(failed)?;
        // After the key is gone: who reads the new number reads no key that was there before.
        self.redis.call(&GENERATION, &[&self.generation_key()], &[]).await.map_err(failed)?;
        match answer {
            Value::Integer(destroyed) => u64::try_from(destroyed).map_err(|_| unexpected()),
            _ => Err(unexpected()),
        }
    }

    async fn generation(&self) -> Result<u64> {
        let held = self.redis.get(&self.generation_key()).await;
        match held.map_err(storage("redis did not tell the generation of subject keys"))? {
            None => Ok(0),
            Some(number) => std::str::from_utf8(&number)
                .ok()
                .and_then(|number| number.parse().ok())
                .ok_or_else(unexpected),
        }
    }

    async fn list(
        &self,
        after: Option<(SubjectHandle, String)>,
        limit: usize,
    ) -> Result<Vec<(SubjectHandle, WrappedKey)>> {
        let after = after.map(|(handle, _)| handle);
        let mut next = after.as_ref().and_then(bucket_number).unwrap_or(0);
        let mut page = Vec::new();
        let mut window = 1;
        while next < BUCKETS && page.len() < limit {
            let end = next.saturating_add(window).min(BUCKETS);
            let mut found = self.read(next..end).await?;
            found.retain(|(handle, _)| after.as_ref().is_none_or(|after| handle > after));
            // Many at once where they are empty, one by one where they may be large.
            window = if found.is_empty() { (window * 2).min(WIDEST) } else { 1 };
            page.append(&mut found);
            next = end;
        }
        page.truncate(limit);
        Ok(page)
    }
}

fn bucket_number(handle: &SubjectHandle) -> Option<u16> {
    let bytes = handle.to_bytes()?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]) >> (u16::BITS - BUCKET_BITS))
}

/// `None` for what is remembered of an erased subject.
fn handle_from(field: &[u8]) -> Option<SubjectHandle> {
    let bytes = crate::hex::decode(std::str::from_utf8(field).ok()?)?;
    Some(SubjectHandle::from_bytes(&bytes))
}

fn key_from(stands: &[u8]) -> Result<WrappedKey> {
    let mut parts = stands.splitn(2, |byte| *byte == b':');
    let (Some(label), Some(wrapped)) = (parts.next(), parts.next()) else {
        return Err(unexpected());
    };
    let label = String::from_utf8(label.to_vec()).map_err(|_| unexpected())?;
    Ok(WrappedKey { label, wrapped: wrapped.to_vec() })
}

fn unexpected() -> Error {
    Error::corrupt("redis answered with something a vault of subject keys does not write")
}
