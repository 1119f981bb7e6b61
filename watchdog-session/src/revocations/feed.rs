//! All buckets, and the task that reads those that changed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use watchdog_storage::redis::{Invalidations, Redis, Tracking};

use super::Standing;
use super::bucket::{Bucket, Claim, MAX_MARKERS, Markers};
use crate::error::Result;
use crate::place::BUCKETS;
use crate::store::redis::changes::bucket_of;

/// Most buckets read at once.
const READINGS: usize = 128;
/// Time until a reading that failed is tried again, and between looks at the proof.
const PAUSE: Duration = Duration::from_millis(100);

/// The markers of all buckets.
pub(super) struct Feed {
    redis: Redis,
    markers: String,
    everybody: String,
    buckets: Vec<Mutex<Bucket>>,
    /// To be read.
    is_changed: Vec<AtomicBool>,
    wake: Notify,
    is_standing: AtomicBool,
    /// Whether it was told since the last gap that reading fails.
    is_failure_told: AtomicBool,
    /// Whether all buckets were read since the last gap.
    is_complete: watch::Sender<bool>,
    start: Instant,
    /// The latest proof, in nanoseconds after `start`; kept over a gap. 0 before the first.
    confirmed: AtomicU64,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("is_complete", &self.is_complete()).finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn new(redis: Redis) -> Self {
        Self {
            markers: redis.keys().prefix_of("rv"),
            everybody: redis.keys().prefix_of("g"),
            redis,
            buckets: (0..BUCKETS).map(|_| Mutex::new(Bucket::new())).collect(),
            is_changed: (0..BUCKETS).map(|_| AtomicBool::new(true)).collect(),
            wake: Notify::new(),
            is_standing: AtomicBool::new(false),
            is_failure_told: AtomicBool::new(false),
            is_complete: watch::Sender::new(false),
            start: Instant::now(),
            confirmed: AtomicU64::new(0),
        }
    }

    pub(super) fn prefixes(&self) -> [String; 2] {
        [self.markers.clone(), self.everybody.clone()]
    }

    pub(super) fn is_complete(&self) -> bool {
        *self.is_complete.borrow()
    }

    pub(super) async fn until_complete(&self) {
        let mut changes = self.is_complete.subscribe();
        // The sender lives as long as we do.
        let _ = changes.wait_for(|&is_complete| is_complete).await;
    }

    /// The latest proof that nothing was missed, given what there is of it now.
    pub(super) fn confirmed(&self, now: Option<Instant>) -> Option<Instant> {
        if let Some(at) = now {
            let since = at.saturating_duration_since(self.start).as_nanos();
            let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
            self.confirmed.fetch_max(since, Ordering::AcqRel);
            return Some(at);
        }
        match self.confirmed.load(Ordering::Acquire) {
            0 => None,
            nanos => Some(self.start + Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn judge(
        &self,
        bucket: u16,
        claim: &Claim,
        confirmed: Option<Instant>,
        now: Instant,
    ) -> Standing {
        self.bucket(bucket).judge(claim, confirmed, now)
    }

    /// Reads what changed, for ever.
    pub(super) async fn read(self: Arc<Self>, tracking: Arc<Tracking>) {
        loop {
            self.confirmed(tracking.confirmed_at());
            let changed = if self.is_standing.load(Ordering::SeqCst) {
                self.take_changed()
            } else {
                Vec::new()
            };
            let mut is_smooth = true;
            for some in changed.chunks(READINGS) {
                is_smooth &= self.read_some(some).await;
            }
            if changed.is_empty() || !is_smooth {
                // Not only woken: the proof is looked at, and failed readings are repeated.
                let _ = tokio::time::timeout(PAUSE, async {
                    if is_smooth {
                        self.wake.notified().await;
                    } else {
                        tokio::time::sleep(PAUSE).await;
                    }
                })
                .await;
            } else {
                self.settle();
            }
        }
    }

    /// Whether all of them were read.
    async fn read_some(self: &Arc<Self>, buckets: &[u16]) -> bool {
        let mut readings = JoinSet::new();
        for &bucket in buckets {
            let feed = Arc::clone(self);
            readings.spawn(async move { feed.read_one(bucket).await });
        }
        let mut is_smooth = true;
        while let Some(read) = readings.join_next().await {
            is_smooth &= read.unwrap_or_default();
        }
        is_smooth
    }

    async fn read_one(&self, bucket: u16) -> bool {
        let (version, begun) = (self.bucket(bucket).begin(), Instant::now());
        match self.markers_of(bucket).await {
            Ok(markers) => {
                // Where something changed meanwhile, it was marked anew.
                self.bucket(bucket).apply(version, begun, markers);
                true
            }
            Err(error) => {
                // It may stay so, as when the user of Redis lacks a permission.
                if self.is_failure_told.swap(true, Ordering::SeqCst) {
                    tracing::debug!(%error, bucket, "revocations cannot be read yet");
                } else {
                    tracing::warn!(%error, bucket, "revocations cannot be read");
                }
                self.is_changed[usize::from(bucket)].store(true, Ordering::SeqCst);
                false
            }
        }
    }

    async fn markers_of(&self, bucket: u16) -> Result<Markers> {
        let tag = bucket.to_string();
        let keys = self.redis.keys();
        let (markers, stamp) = (keys.key("rv", &tag, &[]), keys.key("g", &tag, &[]));
        let (entries, stamp) =
            tokio::join!(self.redis.zrevrange(&markers, MAX_MARKERS + 1), self.redis.get(&stamp));
        let (entries, stamp) = (entries?, stamp?);
        let entries = entries.iter().map(|(member, score)| (&member[..], *score));
        Ok(Markers::parse(entries, stamp.as_deref()))
    }

    fn take_changed(&self) -> Vec<u16> {
        let take =
            |&bucket: &u16| self.is_changed[usize::from(bucket)].swap(false, Ordering::SeqCst);
        (0..BUCKETS).filter(take).collect()
    }

    /// Complete, when nothing changed since the reading began.
    fn settle(&self) {
        let is_changed = self.is_changed.iter().any(|changed| changed.load(Ordering::SeqCst));
        if self.is_standing.load(Ordering::SeqCst) && !is_changed {
            self.is_failure_told.store(false, Ordering::SeqCst);
            self.is_complete.send_replace(true);
        }
    }

    fn mark(&self, bucket: u16, known: Option<Instant>) {
        self.bucket(bucket).changed(known);
        self.is_changed[usize::from(bucket)].store(true, Ordering::SeqCst);
    }

    fn bucket(&self, bucket: u16) -> MutexGuard<'_, Bucket> {
        let bucket = usize::from(bucket % BUCKETS);
        self.buckets[bucket].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Invalidations for Feed {
    fn changed(&self, key: &[u8]) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        let tag = key.strip_prefix(&self.markers).or_else(|| key.strip_prefix(&self.everybody));
        if let Some(bucket) = tag.and_then(bucket_of) {
            self.mark(bucket, self.confirmed(None));
            self.wake.notify_one();
        }
    }

    fn lost(&self) {
        self.is_standing.store(false, Ordering::SeqCst);
        self.is_failure_told.store(false, Ordering::SeqCst);
        self.is_complete.send_replace(false);
        let known = self.confirmed(None);
        (0..BUCKETS).for_each(|bucket| self.mark(bucket, known));
    }

    fn restored(&self) {
        // What was read during the gap counts for nothing.
        let known = self.confirmed(None);
        (0..BUCKETS).for_each(|bucket| self.mark(bucket, known));
        self.is_standing.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }
}
