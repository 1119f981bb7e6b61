//! The same claims on the pure model and on a store: the same events for the same consumer.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Runtime;
use watchdog_session::model::EventQueue;
use watchdog_session::store::{Event, StoredEvent};
use watchdog_session::testing::{Sample, random_location, time_of};
use watchdog_session::{MemoryStore, RedisStore, SessionId, SessionStore};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

const CONSUMERS: [&str; 3] = ["a", "b", "c"];
const BUCKET: u16 = 7;

#[derive(Clone, Debug)]
enum Operation {
    Happen,
    Claim { consumer: usize, limit: u32, takes_over: bool },
    Acknowledge { picks: Vec<usize> },
    Postpone { picks: Vec<usize> },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let picks = || prop::collection::vec(0..12_usize, 1..4);
    let one = prop_oneof![
        4 => Just(Operation::Happen),
        4 => (0..CONSUMERS.len(), 1..6_u32, any::<bool>()).prop_map(
            |(consumer, limit, takes_over)| Operation::Claim { consumer, limit, takes_over }
        ),
        2 => picks().prop_map(|picks| Operation::Acknowledge { picks }),
        1 => picks().prop_map(|picks| Operation::Postpone { picks }),
    ];
    prop::collection::vec(one, 1..40)
}

/// The handles of a store and of the model differ; the order of what they stand for does not.
struct Run<'a> {
    store: &'a dyn SessionStore,
    model: EventQueue,
}

fn seeds(events: impl IntoIterator<Item = Event>) -> Vec<[u8; 16]> {
    events.into_iter().map(|event| event.seed).collect()
}

fn stored(events: Vec<StoredEvent>) -> Vec<Event> {
    events.into_iter().map(|stored| stored.event.unwrap()).collect()
}

impl Run<'_> {
    async fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Happen => {
                let mut location = random_location();
                location.bucket = BUCKET;
                let sample = Sample::new(location, time_of(self.store).await);
                self.store.create(&sample.create(9)).await.unwrap();
                let event = stored(self.waiting().await).pop().unwrap();
                self.model.add(event);
            }
            Operation::Claim { consumer, limit, takes_over } => {
                let consumer = CONSUMERS[*consumer];
                let idle = Duration::from_secs(if *takes_over { 0 } else { 3600 });
                let claimed = self.store.claim(BUCKET, consumer, *limit, idle).await.unwrap();
                let wanted = self.model.claim(consumer, *limit, idle, [0; 16], 1);
                let wanted = seeds(wanted.into_iter().map(|(_, event)| event));
                assert_eq!(seeds(stored(claimed)), wanted);
            }
            Operation::Acknowledge { picks } => {
                let (handles, ours) = self.picked(picks).await;
                let handles: Vec<_> = handles.iter().map(String::as_str).collect();
                self.store.acknowledge(BUCKET, &handles).await.unwrap();
                self.model.acknowledge(ours);
            }
            Operation::Postpone { picks } => {
                let (handles, ours) = self.picked(picks).await;
                let handles: Vec<_> = handles.iter().map(String::as_str).collect();
                self.store.postpone(BUCKET, &handles).await.unwrap();
                self.model.postpone(ours, 1);
            }
        }
        let waiting = self.waiting().await;
        assert_eq!(self.store.backlog(BUCKET).await.unwrap(), self.model.waiting());
        let wanted = self.model.entries.values().map(|queued| queued.event.clone());
        assert_eq!(seeds(stored(waiting)), seeds(wanted));
    }

    async fn waiting(&self) -> Vec<StoredEvent> {
        self.store.peek(BUCKET, None, 1000).await.unwrap()
    }

    /// Events by their position, if there is one.
    async fn picked(&self, picks: &[usize]) -> (Vec<String>, Vec<u64>) {
        let waiting = self.waiting().await;
        let handles =
            waiting.into_iter().map(|stored| stored.handle).zip(self.model.entries.keys());
        let handles: Vec<_> = handles.collect();
        let picked = picks.iter().filter_map(|&pick| handles.get(pick));
        picked.map(|(handle, ours)| (handle.clone(), **ours)).unzip()
    }
}

async fn agree(store: &dyn SessionStore, operations: &[Operation]) {
    let mut run = Run { store, model: EventQueue::default() };
    for operation in operations {
        run.operation(operation).await;
    }
}

fn check<S: SessionStore>(runtime: &Runtime, cases: u32, store: impl Fn() -> S) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(operations in operations())| {
        runtime.block_on(agree(&store(), &operations));
    });
}

#[test]
fn the_memory_store_hands_out_what_the_model_says() {
    check(&Runtime::new().unwrap(), 300, MemoryStore::new);
}

#[test]
fn the_scripts_hand_out_what_the_model_says() {
    let Some(server) = shared() else { return };
    let runtime = Runtime::new().unwrap();
    check(&runtime, 60, || {
        let mut config = RedisConfig::from_url(&server.url()).unwrap();
        config.key_prefix = format!("t{}", SessionId::random().unwrap());
        RedisStore::new(runtime.block_on(Redis::connect(&config)).unwrap())
    });
}
