//! Revocations as they happen, for whoever checks access tokens without asking the store.
//!
//! A script that ends a session also writes a marker, which lives for an hour: longer than any
//! access token. Redis pushes that a bucket's markers changed, and the bucket is read again. So a
//! check is a look into memory, and a revoked session is refused within a second everywhere.
//!
//! Whoever listens has to know when it may have missed something. Proof that nothing was missed
//! arrives four times a second; when it is older than [`MAX_BEHIND`], nothing can be said about a
//! session that is not known to be revoked. After a gap all buckets are read before anything is
//! said again.

mod bucket;
mod feed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use watchdog_storage::redis::{Redis, Tracking};

use crate::access::AccessClaims;
use crate::error::{Error, ErrorKind, Result};
use crate::place::{Location, SessionId};
use crate::record::Millis;
use crate::telemetry;
use bucket::Claim;
use feed::Feed;

/// How old the proof may be that nothing was missed.
const MAX_BEHIND: Duration = Duration::from_secs(1);
/// How long [`Revocations::connect`] waits for the first reading.
const FIRST_READING: Duration = Duration::from_secs(5);

/// How the session of an access token stands, as far as this process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was not revoked, up to a second ago.
    Live,
    /// It was revoked.
    Revoked,
    /// It was not revoked as far as is known, but a revocation may have been missed.
    Unknown,
}

/// A feed of revocations.
///
/// Strict unless told otherwise: while a revocation may have been missed, tokens are neither
/// accepted nor refused but answered with [`ErrorKind::Unavailable`]. A clone shares the feed.
///
/// # Limits
///
/// - A failover that lost a revocation loses its marker, too, until it is asserted again.
/// - When more than 4096 sessions of one bucket were revoked within the hour, the latest count;
///   tokens older than those are unknown.
#[derive(Clone, Debug)]
pub struct Revocations {
    source: Arc<Source>,
    is_lenient: bool,
}

#[derive(Debug)]
struct Source {
    feed: Arc<Feed>,
    tracking: Arc<Tracking>,
    reader: AbortHandle,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Revocations {
    /// Follows the revocations of the sessions in this Redis, under the prefix of its keys.
    ///
    /// Waits until all of them are read, for 5 s at most; then it goes on in the background, for
    /// ever. 2048 small reads, pipelined, at the start and after each gap.
    pub async fn connect(redis: &Redis) -> Self {
        let feed = Arc::new(Feed::new(redis.clone()));
        let prefixes = feed.prefixes();
        let to: Arc<dyn watchdog_storage::redis::Invalidations> = Arc::clone(&feed) as _;
        let tracking = Arc::new(redis.track(&prefixes.each_ref().map(String::as_str), to));
        let reading = Arc::clone(&feed).read(Arc::clone(&tracking));
        let reader = tokio::spawn(reading).abort_handle();
        let _ = tokio::time::timeout(FIRST_READING, feed.until_complete()).await;
        Self { source: Arc::new(Source { feed, tracking, reader }), is_lenient: false }
    }

    /// Accepts tokens until they expire while a revocation may have been missed. What is known to
    /// be revoked is refused all the same.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.is_lenient = true;
        self
    }

    /// How a session stands that was issued an access token at `issued_at`, in milliseconds by the
    /// clock of the store.
    pub fn standing(&self, location: Location, session: SessionId, issued_at: Millis) -> Standing {
        let claim = Claim { user: location.user, session, issued_at };
        let confirmed = self.source.feed.confirmed(self.source.tracking.confirmed_at());
        self.source.feed.judge(location.bucket, &claim, confirmed, Instant::now())
    }

    /// As [`standing`](Self::standing), as a verdict on the token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Gone`] for a revoked session, [`ErrorKind::Unavailable`] where nothing can be
    /// said, unless [`lenient`](Self::lenient).
    pub fn check(&self, location: Location, session: SessionId, issued_at: Millis) -> Result<()> {
        match self.standing(location, session, issued_at) {
            Standing::Live => Ok(()),
            Standing::Revoked => {
                Err(Error::new(ErrorKind::Gone, "the session of the access token was revoked"))
            }
            Standing::Unknown => self.unknown("revocations may have been missed"),
        }
    }

    /// As [`check`](Self::check), of what an access token says. Tokens of an older release do not say
    /// where their session lives: about those nothing is known.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_claims(&self, claims: &AccessClaims) -> Result<()> {
        match claims.location() {
            Some(location) => self.check(location, claims.session(), claims.issued_at_ms()),
            None => self.unknown("the access token does not say where its session lives"),
        }
    }

    fn unknown(&self, why: &'static str) -> Result<()> {
        telemetry::revocation_unknown();
        if self.is_lenient { Ok(()) } else { Err(Error::new(ErrorKind::Unavailable, why)) }
    }

    /// How far back a revocation may lie that is not known; `None` while that cannot be said.
    pub fn staleness(&self) -> Option<Duration> {
        let confirmed = self.source.tracking.confirmed_at()?;
        self.source.feed.is_complete().then(|| confirmed.elapsed())
    }
}
