//! The same operations on the pure model and on a store: answers, records and events agree.
//!
//! The model decides again with the time that the store's answer carries, so nothing here waits
//! and nothing depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use proptest::prelude::*;
use tokio::runtime::Runtime;
use watchdog_session::model::UserSessions;
use watchdog_session::store::{Create, Created, Event, Revoke, Rotate, Touch};
use watchdog_session::testing::{Sample, events_of, random_location, time_of};
use watchdog_session::{MemoryStore, RedisStore, SessionId, SessionStore};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

#[derive(Clone, Debug)]
enum Operation {
    Create { slot: u8, state: State, limit: u32 },
    Touch { slot: u8, interval: u64 },
    Rotate { slot: u8, generation: u32, stranger: u8, grace: u64, rotate: bool, made: Option<u64> },
    Revoke { slot: u8 },
    Repeat { back: usize },
}

#[derive(Clone, Debug)]
struct State {
    age: u64,
    expired: bool,
    generation: u32,
    rotated_age: u64,
    grace_used: u16,
    newer_version: bool,
}

#[derive(Clone)]
enum Call {
    Create(Create),
    Touch(Touch),
    Rotate(Rotate),
    Revoke(Revoke),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let slot = || 0..4_u8;
    let state = (
        prop::sample::select(vec![0, 0, 1, 2000, 90_000]),
        prop::bool::weighted(0.1),
        0..6_u32,
        prop::sample::select(vec![0, 5000, 12_000, 20_000]),
        prop::sample::select(vec![0, 63, 64]),
        prop::bool::weighted(0.05),
    )
        .prop_map(|(age, expired, generation, rotated_age, grace_used, newer_version)| State {
            age,
            expired,
            generation,
            rotated_age,
            grace_used,
            newer_version,
        });
    let one = prop_oneof![
        3 => (slot(), state, 1..4_u32)
            .prop_map(|(slot, state, limit)| Operation::Create { slot, state, limit }),
        1 => (slot(), prop::sample::select(vec![0, 1_000_000]))
            .prop_map(|(slot, interval)| Operation::Touch { slot, interval }),
        6 => (slot(), 0..16_u32, prop::sample::select(vec![0, 0, 0, 1, 2, 3]),
              prop::sample::select(vec![0, 10_000, 10_000]), prop::bool::weighted(0.9),
              prop::option::of(prop::sample::select(vec![0, 100, 5_000, 9_000, 30_000])))
            .prop_map(|(slot, generation, stranger, grace, rotate, made)| {
                Operation::Rotate { slot, generation, stranger, grace, rotate, made }
            }),
        1 => slot().prop_map(|slot| Operation::Revoke { slot }),
        2 => (0..4_usize).prop_map(|back| Operation::Repeat { back }),
    ];
    prop::collection::vec(one, 1..40)
}

struct Run<'a> {
    store: &'a dyn SessionStore,
    model: UserSessions,
    slots: Vec<Sample>,
    calls: Vec<Call>,
    events: Vec<Event>,
}

impl Run<'_> {
    async fn operation(&mut self, operation: &Operation) {
        let call = match operation {
            Operation::Repeat { back } => match self.calls.iter().rev().nth(*back) {
                Some(call) => call.clone(),
                None => return,
            },
            Operation::Create { slot, state, limit } => self.creation(*slot, state, *limit).await,
            Operation::Touch { slot, interval } => Call::Touch(self.slot(*slot).touch(*interval)),
            Operation::Revoke { slot } => Call::Revoke(self.slot(*slot).revoke()),
            Operation::Rotate { slot, generation, stranger, grace, rotate, made } => {
                let mut call = self.slot(*slot).rotate(*generation);
                call.rules.grace = *grace;
                call.rules.rotate = *rotate;
                if let Some(ago) = made {
                    call.presented.made_at = time_of(self.store).await - ago;
                }
                match stranger {
                    1 => call.presented.client = [8; 16],
                    2 => call.presented.ip = Some([8; 16]),
                    3 => call.presented.agent = Some([8; 16]),
                    _ => {}
                }
                Call::Rotate(call)
            }
        };
        self.call(&call).await;
        self.calls.push(call);
        self.compare().await;
    }

    fn slot(&self, slot: u8) -> &Sample {
        &self.slots[usize::from(slot)]
    }

    async fn creation(&mut self, slot: u8, state: &State, limit: u32) -> Call {
        let now = time_of(self.store).await;
        let location = self.slot(slot).place.location;
        let mut sample = Sample::new(location, now).older_by(state.age);
        sample = sample.rotated(state.generation, state.rotated_age);
        if state.expired {
            sample = sample.expired();
        }
        sample.header.grace_used = state.grace_used;
        sample.header.common.version += u8::from(state.newer_version);
        self.slots[usize::from(slot)] = sample.clone();
        Call::Create(sample.create(limit))
    }

    async fn call(&mut self, call: &Call) {
        match call {
            Call::Create(request) => {
                let answer = self.store.create(request).await.unwrap();
                let now = match answer {
                    Created::Stored { now, .. }
                    | Created::Skewed { now, .. }
                    | Created::Taken { now } => now,
                    other => unreachable!("{other:?}"),
                };
                let (wanted, events) = self.model.create(request, now);
                assert_eq!(answer, wanted);
                self.events.extend(events);
            }
            Call::Touch(request) => {
                let answer = self.store.touch(request).await.unwrap();
                let (wanted, events) = self.model.touch(request, answer.now);
                assert_eq!(answer, wanted);
                self.events.extend(events);
            }
            Call::Revoke(request) => {
                let answer = self.store.revoke(request).await.unwrap();
                let (wanted, events) = self.model.revoke(request, answer.now);
                assert_eq!(answer, wanted);
                self.events.extend(events);
            }
            Call::Rotate(request) => match self.store.rotate(request).await {
                Ok(answer) => {
                    let (wanted, events) = self.model.rotate(request, answer.now).unwrap();
                    assert_eq!(answer, wanted);
                    self.events.extend(events);
                }
                Err(error) => {
                    let now = time_of(self.store).await;
                    let wanted = self.model.rotate(request, now).unwrap_err();
                    assert_eq!(error.kind(), wanted.kind());
                }
            },
        }
    }

    async fn compare(&self) {
        for slot in &self.slots {
            let reading = self.store.read(&slot.place).await.unwrap();
            assert_eq!(reading, self.model.read(&slot.place, reading.now));
        }
    }
}

async fn agree(store: &dyn SessionStore, operations: &[Operation]) {
    let (location, now) = (random_location(), time_of(store).await);
    let mut run = Run {
        store,
        model: UserSessions::default(),
        slots: (0..4).map(|_| Sample::new(location, now)).collect(),
        calls: Vec::new(),
        events: Vec::new(),
    };
    for operation in operations {
        run.operation(operation).await;
    }
    assert_eq!(events_of(store, location).await, run.events);
    let ids: Vec<SessionId> = run.model.records.keys().copied().collect();
    assert!(ids.len() <= 4);
}

fn check(store: &dyn SessionStore, runtime: &Runtime, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(operations in operations())| {
        runtime.block_on(agree(store, &operations));
    });
}

#[test]
fn the_memory_store_does_what_the_model_says() {
    check(&MemoryStore::new(), &Runtime::new().unwrap(), 500);
}

#[test]
fn the_scripts_do_what_the_model_says() {
    let Some(server) = shared() else { return };
    let runtime = Runtime::new().unwrap();
    let config = RedisConfig::from_url(&server.url()).unwrap();
    let redis = runtime.block_on(Redis::connect(&config)).unwrap();
    check(&RedisStore::new(redis), &runtime, 300);
}
