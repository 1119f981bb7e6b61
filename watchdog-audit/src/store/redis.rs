//! Segments in Redis streams.
//!
//! All keys of partition `p` carry the hash tag `{p}`:
//!
//! | key | type | holds | life |
//! |---|---|---|---|
//! | `wd:a:{p}:m` | hash | the partition: open segment, its totals, fence, newest manifest, how often replicas were asked | for ever |
//! | `wd:a:{p}:hw` | hash | writer → last accepted number and its frame's checksum, `<number>:<32 digits>` | until seven days after all of the writer was archived |
//! | `wd:a:{p}:s` | hash | sealed segments before the gate, with their totals | for ever |
//! | `wd:a:{p}:h` | hash | held segments, with the time of their last entry | for ever |
//! | `wd:a:{p}:<n>` | stream | segment `n`, one frame an entry, id `<ms>-<frame number>` | none until the gate, none while held |
//! | `wd:a:{p}:a:<n>` | string | the manifest that covers segment `n` | as segment `n` |
//! | `wd:a:{0}:partitions` | string | the greatest number of partitions there has been | for ever |
//! | `wd:a:{0}:lease` | string | who archives | as taken |

mod answer;
mod eviction;
mod holds;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use uuid::Uuid;
use watchdog_storage::redis::{Key, Redis, Replication, Script, Ttl, Value};

use crate::error::{Error, ErrorKind, Result, storage};
use crate::frame::{Frame, checksum_of};
use crate::hex;
use crate::segment::{
    Appended, ArchiveProof, Expiry, FrameId, Gate, HighWater, Partition, Resuming, Sealing,
    SegmentId, SegmentLimits, Totals,
};
use crate::store::SegmentStore;
use crate::writer_id::WriterId;
use answer::{Answer, decimal, integer, millis, raw, text, totals_from, unexpected};

pub(crate) use eviction::refuse_evicting;

static APPEND: Script = Script::new("audit.append.v1", include_str!("scripts/append.lua"));
static SEAL: Script = Script::new("audit.seal.v1", include_str!("scripts/seal.lua"));
static ARCHIVED: Script = Script::new("audit.archived.v1", include_str!("scripts/archived.lua"));
static FENCE: Script = Script::new("audit.fence.v1", include_str!("scripts/fence.lua"));
static PARTITIONS: Script =
    Script::new("audit.partitions.v1", include_str!("scripts/partitions.lua"));
static BARRIER: Script = Script::new("audit.barrier.v1", include_str!("scripts/barrier.lua"));
static SKIP: Script = Script::new("audit.skip.v1", include_str!("scripts/skip.lua"));
static TIME: Script = Script::new("audit.time.v1", include_str!("scripts/time.lua"));
static FORGET: Script = Script::new("audit.forget.v1", include_str!("scripts/forget.lua"));
static LEASE: Script = Script::new("audit.lease.v1", include_str!("scripts/lease.lua"));

/// Replicas are not waited for any longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Most writers that one call forgets.
const WRITERS_AT_ONCE: usize = 256;
/// How much longer than it was asked to wait the server may take to answer.
const GRACE: Duration = Duration::from_millis(500);

/// Segments in Redis: standalone, Sentinel or Cluster.
///
/// A frame is acknowledged when the primary has taken it. How much of that survives the loss of
/// the primary is up to its replication and persistence.
#[derive(Clone, Debug)]
pub struct RedisStore {
    redis: Redis,
    partitions: u16,
    /// Made when replicas are asked for the first time.
    replication: Arc<OnceCell<Replication>>,
}

impl RedisStore {
    /// A store of `partitions` partitions, at least one: 1 for a single server, 16 for a Cluster.
    pub fn new(redis: Redis, partitions: u16) -> Self {
        Self { redis, partitions: partitions.max(1), replication: Arc::default() }
    }

    fn key(&self, partition: u16, parts: &[&str]) -> Key {
        self.redis.keys().key("a", &partition.to_string(), parts)
    }

    fn partition_key(&self, partition: u16) -> Key {
        self.key(partition, &["m"])
    }

    fn sealed_key(&self, partition: u16) -> Key {
        self.key(partition, &["s"])
    }

    /// Refuses to leave out partitions that may hold entries.
    async fn check_partitions(&self) -> Result<()> {
        let key = self.key(0, &["partitions"]);
        let own = self.partitions;
        let answer = self.redis.call(&PARTITIONS, &[&key], &[integer(own.into())?]).await;
        let answer = answer.map_err(storage("redis did not tell the number of partitions"))?;
        match answer {
            Value::Integer(greatest) if greatest <= i64::from(own) => Ok(()),
            Value::Integer(greatest) => Err(Error::new(
                ErrorKind::Config,
                format_args!(
                    "the audit log has had {greatest} partitions and would leave entries behind \
                     with {own}: set WATCHDOG_AUDIT_PARTITIONS={greatest} or more"
                ),
            )),
            _ => Err(unexpected()),
        }
    }

    fn held_key(&self, partition: u16) -> Key {
        self.key(partition, &["h"])
    }

    fn proof_key(&self, segment: SegmentId) -> Key {
        self.key(segment.partition, &["a", &segment.number.to_string()])
    }

    fn segment_key(&self, segment: SegmentId) -> Key {
        self.key(segment.partition, &[&segment.number.to_string()])
    }
}

#[async_trait]
impl SegmentStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn address(&self) -> String {
        self.redis.address()
    }

    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn preflight(&self) -> Result<()> {
        self.check_partitions().await?;
        refuse_evicting(&self.redis).await
    }

    async fn ping(&self) -> Result<()> {
        self.redis.ping().await.map_err(storage("redis does not answer"))
    }

    async fn now(&self, partition: u16) -> Result<u64> {
        let answer = self.redis.call(&TIME, &[&self.partition_key(partition)], &[]).await;
        match answer.map_err(storage("redis did not tell its time"))? {
            Value::Bytes(millis) => decimal(&millis),
            _ => Err(unexpected()),
        }
    }

    async fn append(
        &self,
        segment: SegmentId,
        frame: &Frame,
        limits: SegmentLimits,
    ) -> Result<Appended> {
        let keys = [
            self.partition_key(segment.partition),
            self.key(segment.partition, &["hw"]),
            self.segment_key(segment),
        ];
        let writer = frame.writer().to_string();
        let bytes = frame.encode();
        let checksum = hex::encode(&checksum_of(&bytes));
        let answer = self
            .redis
            .call(
                &APPEND,
                &[&keys[0], &keys[1], &keys[2]],
                &[
                    integer(segment.number)?,
                    writer.as_str().into(),
                    integer(frame.first())?,
                    integer(frame.count())?,
                    bytes.as_slice().into(),
                    integer(limits.max_bytes)?,
                    millis(limits.max_age)?,
                    checksum.as_str().into(),
                ],
            )
            .await
            .map_err(storage("redis did not take a frame"))?;
        let answer = Answer::new(&answer)?;
        match answer.verdict {
            "stored" => Ok(Appended::Stored {
                frame: answer.text(2)?.parse()?,
                is_due: answer.number(1)? == 1,
            }),
            "duplicate" => Ok(Appended::Duplicate {
                high_water: HighWater {
                    last: answer.number(1)?,
                    checksum: hex::decode(answer.text(2)?).ok_or_else(unexpected)?,
                },
            }),
            "out_of_order" => Ok(Appended::OutOfOrder { high_water: answer.number(1)? }),
            "not_open" => Ok(Appended::NotOpen { open: answer.number(1)? }),
            _ => Err(unexpected()),
        }
    }

    async fn seal(&self, segment: SegmentId, ttl: Option<Duration>) -> Result<Sealing> {
        let keys = [
            self.partition_key(segment.partition),
            self.sealed_key(segment.partition),
            self.segment_key(segment),
        ];
        let life = match ttl {
            Some(ttl) => millis(ttl)?,
            None => "".into(),
        };
        let answer = self
            .redis
            .call(&SEAL, &[&keys[0], &keys[1], &keys[2]], &[integer(segment.number)?, life])
            .await
            .map_err(storage("redis did not seal a segment"))?;
        match Answer::new(&answer)?.verdict {
            "sealed" => Ok(Sealing::Sealed),
            "already" => Ok(Sealing::AlreadySealed),
            "empty" => Ok(Sealing::Empty),
            _ => Err(unexpected()),
        }
    }

    async fn partition(&self, partition: u16) -> Result<Partition> {
        const FIELDS: [&[u8]; 11] = [
            b"open",
            b"frames",
            b"last_ms",
            b"seg_frames",
            b"seg_entries",
            b"seg_bytes",
            b"seg_first_ms",
            b"fence",
            b"head",
            b"unarchived",
            b"holds",
        ];
        let held = self
            .redis
            .hmget(&self.partition_key(partition), &FIELDS)
            .await
            .map_err(storage("redis did not tell a partition"))?;
        let number = |index: usize, missing: u64| match held.get(index).and_then(Option::as_ref) {
            Some(bytes) => decimal(bytes),
            None => Ok(missing),
        };
        let seg_frames = number(3, 0)?;
        let last_millis = number(2, 0)?;
        let head = match held.get(8).and_then(Option::as_ref) {
            Some(bytes) => Some(text(bytes)?.parse()?),
            None => None,
        };
        let holds = match held.get(10).and_then(Option::as_ref) {
            Some(bytes) => text(bytes)?.parse().map_err(|_| unexpected())?,
            None => Uuid::nil(),
        };
        Ok(Partition {
            open: number(0, 1)?,
            totals: Totals {
                entries: number(4, 0)?,
                frames: seg_frames,
                bytes: number(5, 0)?,
                first_millis: number(6, 0)?,
                last_millis: if seg_frames == 0 { 0 } else { last_millis },
            },
            frames: number(1, 0)?,
            last_millis,
            fence: number(7, 0)?,
            unarchived: number(9, 0)?,
            head,
            holds,
        })
    }

    async fn sealed(&self, partition: u16) -> Result<Vec<(u64, Totals)>> {
        let held = self
            .redis
            .hgetall(&self.sealed_key(partition))
            .await
            .map_err(storage("redis did not list sealed segments"))?;
        let mut sealed = held
            .iter()
            .map(|(number, totals)| Ok((decimal(number)?, totals_from(text(totals)?)?)))
            .collect::<Result<Vec<_>>>()?;
        sealed.sort_unstable_by_key(|(number, _)| *number);
        Ok(sealed)
    }

    async fn frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Frame)>> {
        let raw = self.raw_frames(segment, after, limit).await?;
        let decode = move || {
            let frames = raw.into_iter().map(|(id, bytes)| match Frame::decode(&bytes) {
                Ok(frame) => Ok((id, frame)),
                Err(error) => Err(Error::corrupt(format_args!("frame {id} of {segment}: {error}"))),
            });
            frames.collect()
        };
        // A page takes milliseconds to decode; others wait on this thread.
        tokio::task::spawn_blocking(decode).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the read of a segment was cut off")
                .with_source(error)
        })?
    }

    async fn raw_frames(
        &self,
        segment: SegmentId,
        after: Option<FrameId>,
        limit: usize,
    ) -> Result<Vec<(FrameId, Vec<u8>)>> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let entries = self
            .redis
            .xrange(&self.segment_key(segment), &from, "+", limit as u64)
            .await
            .map_err(storage("redis did not read a segment"))?;
        entries.iter().map(|entry| Ok((entry.id.parse()?, raw(entry)))).collect()
    }

    async fn mark_archived(&self, segment: SegmentId, proof: &ArchiveProof) -> Result<Gate> {
        let keys = [
            self.partition_key(segment.partition),
            self.sealed_key(segment.partition),
            self.segment_key(segment),
            self.proof_key(segment),
            self.held_key(segment.partition),
        ];
        let holds = proof.holds.to_string();
        let last = proof.last.map_or_else(String::new, |last| last.to_string());
        let answer = self
            .redis
            .call(
                &ARCHIVED,
                &[&keys[0], &keys[1], &keys[2], &keys[3], &keys[4]],
                &[
                    integer(segment.number)?,
                    integer(proof.entries)?,
                    integer(proof.frames)?,
                    integer(proof.token)?,
                    integer(proof.manifest.number)?,
                    proof.manifest.sha256.as_str().into(),
                    millis(proof.ttl)?,
                    holds.as_str().into(),
                    integer(proof.is_held.into())?,
                    last.as_str().into(),
                    integer(proof.missing)?,
                ],
            )
            .await
            .map_err(storage("redis did not pass a segment through the gate"))?;
        let answer = Answer::new(&answer)?;
        match answer.verdict {
            "archived" => Ok(Gate::Archived { expires_at: answer.number(1)? }),
            "held" => Ok(Gate::Held),
            "holds_changed" => Ok(Gate::HoldsChanged),
            "already" => Ok(Gate::AlreadyArchived),
            "not_sealed" => Ok(Gate::NotSealed),
            "fenced" => Ok(Gate::Fenced { newest: answer.number(1)? }),
            "mismatch" => Ok(Gate::Mismatch),
            _ => Err(unexpected()),
        }
    }

    async fn announce_holds(&self, partition: u16, change: Uuid) -> Result<()> {
        holds::announce(self, partition, change).await
    }

    async fn suspend_expiry(&self, partition: u16, segments: &[u64]) -> Result<Vec<u64>> {
        holds::suspend(self, partition, segments).await
    }

    async fn resume_expiry(
        &self,
        segment: SegmentId,
        ttl: Duration,
        change: Uuid,
    ) -> Result<Resuming> {
        holds::resume(self, segment, ttl, change).await
    }

    async fn held(&self, partition: u16) -> Result<Vec<u64>> {
        holds::held(self, partition).await
    }

    async fn expiry(&self, segment: SegmentId) -> Result<Expiry> {
        let ttl = self.redis.pttl(&self.segment_key(segment)).await;
        Ok(match ttl.map_err(storage("redis did not tell how long a segment lives"))? {
            Ttl::Missing => Expiry::Missing,
            Ttl::Unbounded => Expiry::Never,
            Ttl::Millis(millis) => Expiry::InMillis(millis),
        })
    }

    async fn raise_fence(&self, partition: u16, token: u64) -> Result<u64> {
        let answer = self
            .redis
            .call(&FENCE, &[&self.partition_key(partition)], &[integer(token)?])
            .await
            .map_err(storage("redis did not raise the fence"))?;
        match answer {
            Value::Bytes(bytes) => decimal(&bytes),
            _ => Err(unexpected()),
        }
    }

    async fn lease(&self, holder: &str, ttl: Duration) -> Result<bool> {
        let answer = self
            .redis
            .call(&LEASE, &[&self.key(0, &["lease"])], &[holder.into(), millis(ttl)?])
            .await
            .map_err(storage("redis did not answer for the lease"))?;
        Ok(answer == Value::Integer(1))
    }

    async fn release(&self, holder: &str) -> Result<()> {
        self.lease(holder, Duration::ZERO).await.map(drop)
    }

    async fn skip(&self, partition: u16, writer: WriterId, last: u64) -> Result<u64> {
        let writer = writer.to_string();
        let answer = self
            .redis
            .call(
                &SKIP,
                &[&self.key(partition, &["hw"])],
                &[writer.as_str().into(), integer(last)?],
            )
            .await
            .map_err(storage("redis did not pass over archived entries"))?;
        match answer {
            Value::Bytes(bytes) => decimal(&bytes),
            _ => Err(unexpected()),
        }
    }

    async fn forget(&self, partition: u16, writers: &[(WriterId, u64)]) -> Result<u64> {
        let key = self.key(partition, &["hw"]);
        let mut forgotten = 0;
        for writers in writers.chunks(WRITERS_AT_ONCE) {
            let names: Vec<_> = writers.iter().map(|(writer, _)| writer.to_string()).collect();
            let mut args = Vec::with_capacity(2 * names.len());
            for (name, (_, last)) in names.iter().zip(writers) {
                args.extend([name.as_str().into(), integer(*last)?]);
            }
            let answer = self.redis.call(&FORGET, &[&key], &args).await;
            match answer.map_err(storage("redis did not forget writers"))? {
                Value::Integer(count) => forgotten += u64::try_from(count).unwrap_or(0),
                _ => return Err(unexpected()),
            }
        }
        Ok(forgotten)
    }

    async fn replicated(
        &self,
        partition: u16,
        writer: WriterId,
        last: u64,
        replicas: u8,
        limit: Duration,
    ) -> Result<bool> {
        let context = "redis did not tell how far its replicas are";
        let connecting = self.replication.get_or_try_init(|| self.redis.replication(LONGEST_WAIT));
        let replication = connecting.await.map_err(storage(context))?;
        let keys = [self.partition_key(partition), self.key(partition, &["hw"])];
        let writer = writer.to_string();
        let (keys, args) = ([&keys[0], &keys[1]], [writer.as_str().into()]);
        let limit = limit.min(LONGEST_WAIT);
        let reach = replication.reach((&BARRIER, &keys, &args), replicas, limit);
        // A server that hangs is as good as no replica.
        let Ok(answer) = tokio::time::timeout(limit + GRACE, reach).await else {
            return Ok(false);
        };
        match answer.map_err(storage(context))? {
            // A promoted replica may answer, and not have the entries.
            (Value::Bytes(held), reached) => {
                Ok(decimal(&held)? >= last && reached >= u64::from(replicas))
            }
            _ => Err(unexpected()),
        }
    }

    /// Redis expires segments by itself.
    async fn sweep(&self) -> Result<u64> {
        Ok(0)
    }
}
