//! Who gets which event for delivery.
//!
//! Each case has a bucket of its own, so that none takes over what another holds.

use std::task::Poll;
use std::time::Duration;

use super::{Sample, random_location, time_of};
use crate::place::BUCKETS;
use crate::store::{SessionStore, StoredEvent};

const ALL: u32 = 10_000;
const AT_ONCE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3600);

/// Events of one user in the bucket of a case.
struct Events<'a> {
    store: &'a dyn SessionStore,
    bucket: u16,
    user: [u8; 16],
    consumers: [String; 2],
}

impl<'a> Events<'a> {
    /// Leaves events behind, oldest first.
    async fn leave(store: &'a dyn SessionStore, case: u16, events: u32) -> Self {
        let mut location = random_location();
        location.bucket = BUCKETS - 1 - case;
        for _ in 0..events {
            let sample = Sample::new(location, time_of(store).await);
            store.create(&sample.create(events)).await.unwrap();
        }
        let consumers = std::array::from_fn(|_| random_location().user_text());
        Self { store, bucket: location.bucket, user: location.user, consumers }
    }

    async fn claim(&self, consumer: usize, limit: u32, idle: Duration) -> Vec<String> {
        let consumer = &self.consumers[consumer];
        self.ours(self.store.claim(self.bucket, consumer, limit, idle).await.unwrap())
    }

    async fn waiting(&self) -> Vec<String> {
        self.ours(self.store.peek(self.bucket, None, ALL).await.unwrap())
    }

    fn ours(&self, events: Vec<StoredEvent>) -> Vec<String> {
        let ours = events
            .into_iter()
            .filter(|stored| stored.event.as_ref().is_some_and(|event| event.user == self.user));
        ours.map(|stored| stored.handle).collect()
    }

    async fn acknowledge(&self, handles: &[String]) {
        let handles: Vec<_> = handles.iter().map(String::as_str).collect();
        self.store.acknowledge(self.bucket, &handles).await.unwrap();
    }

    async fn postpone(&self, handles: &[String]) {
        let handles: Vec<_> = handles.iter().map(String::as_str).collect();
        self.store.postpone(self.bucket, &handles).await.unwrap();
    }
}

/// Many claims at the same time, and no event in two of them.
pub async fn no_two_consumers_hold_one_event(store: &dyn SessionStore) {
    let events = Events::leave(store, 0, 40).await;
    let mut claims: Vec<_> = (0..40)
        .map(|claim| {
            let events = &events;
            // A consumer with one claim only: a second one would hand out its own again.
            let consumer = format!("{}-{claim}", events.consumers[0]);
            Box::pin(async move { events.store.claim(events.bucket, &consumer, 3, LONG).await })
        })
        .collect();
    let mut held = Vec::new();
    std::future::poll_fn(|context| {
        claims.retain_mut(|claim| match claim.as_mut().poll(context) {
            Poll::Ready(claimed) => {
                held.extend(events.ours(claimed.unwrap()));
                false
            }
            Poll::Pending => true,
        });
        if claims.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    held.extend(events.claim(1, ALL, LONG).await);
    held.sort_unstable();
    let mut waiting = events.waiting().await;
    waiting.sort_unstable();
    assert_eq!(waiting.len(), 40);
    assert_eq!(held, waiting);
    events.acknowledge(&held).await;
}

/// A claim whose answer was lost is made again.
pub async fn a_repeated_claim_hands_out_the_same(store: &dyn SessionStore) {
    let events = Events::leave(store, 1, 3).await;
    let waiting = events.waiting().await;
    for _ in 0..3 {
        assert_eq!(events.claim(0, ALL, LONG).await, waiting);
        assert_eq!(events.claim(1, ALL, LONG).await, [""; 0]);
    }
    let more = events.claim(0, ALL, LONG).await;
    events.acknowledge(&more[..1]).await;
    assert_eq!(events.claim(0, ALL, LONG).await, waiting[1..]);
    events.acknowledge(&more).await;
}

/// What a consumer holds that has died goes to another, and comes back when that one dies.
pub async fn events_of_a_dead_consumer_are_taken_over(store: &dyn SessionStore) {
    let events = Events::leave(store, 2, 5).await;
    let waiting = events.waiting().await;
    assert_eq!(events.claim(0, ALL, LONG).await, waiting);
    assert_eq!(events.claim(1, ALL, LONG).await, [""; 0]);
    assert_eq!(events.claim(1, ALL, AT_ONCE).await, waiting);
    assert_eq!(events.claim(0, ALL, LONG).await, [""; 0]);
    // Whoever delivered it may say so.
    events.acknowledge(&waiting[..2]).await;
    assert_eq!(events.claim(0, ALL, AT_ONCE).await, waiting[2..]);
    events.acknowledge(&waiting).await;
}

/// An event that reached its sink is handed out to nobody, not even to who takes over.
pub async fn acknowledged_events_go_to_nobody(store: &dyn SessionStore) {
    let events = Events::leave(store, 3, 2).await;
    let claimed = events.claim(0, ALL, LONG).await;
    events.acknowledge(&claimed).await;
    events.acknowledge(&claimed).await;
    for consumer in 0..2 {
        assert_eq!(events.claim(consumer, ALL, AT_ONCE).await, [""; 0]);
    }
    assert_eq!(events.waiting().await, [""; 0]);
}

/// What one cannot deliver does not stand in the way of what comes after it.
pub async fn postponed_events_come_back(store: &dyn SessionStore) {
    let events = Events::leave(store, 4, 3).await;
    let waiting = events.waiting().await;
    assert_eq!(events.claim(0, ALL, LONG).await, waiting);
    events.postpone(&waiting[..2]).await;
    assert_eq!(events.claim(0, ALL, LONG).await, waiting[2..]);
    assert_eq!(events.claim(1, ALL, LONG).await, [""; 0]);
    assert_eq!(events.claim(1, 2, AT_ONCE).await.len(), 2);
    assert_eq!(events.waiting().await, waiting);
    events.acknowledge(&waiting).await;
    events.postpone(&waiting).await;
    assert_eq!(events.waiting().await, [""; 0]);
}

/// What a sweep asks: how much there is, whoever holds it.
pub async fn a_bucket_knows_how_much_waits(store: &dyn SessionStore) {
    let events = Events::leave(store, 5, 3).await;
    let before = store.backlog(events.bucket).await.unwrap();
    assert!(before.events >= 3);
    let claimed = events.claim(0, ALL, LONG).await;
    assert!(store.backlog(events.bucket).await.unwrap().events >= 3);
    events.acknowledge(&claimed).await;
    let waiting = events.waiting().await;
    assert_eq!(waiting, [""; 0]);
}
