//! The admission gate in front of the pool.
//!
//! Who holds a [`Permit`] may have one connection. Waiting happens here and nowhere else: in the
//! order of arrival, for a bounded time, in a queue of bounded length.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to have one connection; given back on drop.
pub(super) type Permit = OwnedSemaphorePermit;

/// Why a caller was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The queue is full.
    Full,
    /// The wait took too long.
    TimedOut,
}

#[derive(Debug)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    max: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Gate {
    pub(super) fn new(max: usize, max_waiting: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max,
            waiting: AtomicUsize::new(0),
            max_waiting,
        }
    }

    /// Waits for a permit, at most `limit`. Dropping the wait loses nothing.
    pub(super) async fn enter(&self, limit: Duration) -> Result<Permit, Refusal> {
        if let Some(permit) = self.try_enter() {
            return Ok(permit);
        }
        let _waiting = self.queue_up()?;
        match tokio::time::timeout(limit, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed; if it were, nobody would be let in.
            Ok(Err(_)) | Err(_) => Err(Refusal::TimedOut),
        }
    }

    /// A permit if one is free and nobody waits for it.
    pub(super) fn try_enter(&self) -> Option<Permit> {
        // A permit that is given back goes to the first in the queue, so nobody is overtaken.
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Waits until every permit is back.
    pub(super) async fn drain(&self) {
        let all = u32::try_from(self.max).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }

    /// How many permits there are.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many permits are taken.
    pub(super) fn taken(&self) -> usize {
        self.max.saturating_sub(self.permits.available_permits())
    }

    /// How many callers wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn queue_up(&self) -> Result<Waiting<'_>, Refusal> {
        let next = |waiting| (waiting < self.max_waiting).then_some(waiting + 1);
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .map(|_| Waiting(&self.waiting))
            .map_err(|_| Refusal::Full)
    }
}

/// A place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_bounded() {
        let gate = Gate::new(1, 10);
        let _held = gate.enter(LONG).await.unwrap();
        let start = tokio::time::Instant::now();
        let refusal = gate.enter(Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(refusal, Refusal::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!((gate.taken(), gate.waiting()), (1, 0));
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let gate = Arc::new(Gate::new(1, 1));
        let held = gate.enter(LONG).await.unwrap();
        let mut first = Box::pin(gate.enter(LONG));
        assert!(is_pending(&mut first).await);
        assert_eq!(gate.waiting(), 1);
        assert_eq!(gate.enter(LONG).await.unwrap_err(), Refusal::Full);
        drop(held);
        assert!(first.await.is_ok());
        assert_eq!((gate.taken(), gate.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_free_permit_goes_to_the_first_in_the_queue() {
        let gate = Gate::new(1, 10);
        let held = gate.enter(LONG).await.unwrap();
        let mut first = Box::pin(gate.enter(LONG));
        assert!(is_pending(&mut first).await);
        drop(held);
        assert!(gate.try_enter().is_none(), "a newcomer overtook the queue");
        assert!(first.await.is_ok());
    }

    #[tokio::test]
    async fn a_cancelled_wait_loses_nothing() {
        let gate = Gate::new(1, 10);
        let held = gate.enter(LONG).await.unwrap();
        let mut first = Box::pin(gate.enter(LONG));
        let mut second = Box::pin(gate.enter(LONG));
        assert!(is_pending(&mut first).await);
        assert!(is_pending(&mut second).await);
        // The permit is assigned to the first, which goes away without having looked.
        drop(held);
        drop(first);
        assert!(second.await.is_ok());
        assert_eq!((gate.taken(), gate.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn draining_waits_for_the_last_permit() {
        let gate = Gate::new(2, 10);
        let held = gate.enter(LONG).await.unwrap();
        let mut drained = Box::pin(gate.drain());
        assert!(is_pending(&mut drained).await);
        drop(held);
        drained.await;
        assert_eq!(gate.taken(), 0);
    }

    /// Polls once; whether the future is still pending.
    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
