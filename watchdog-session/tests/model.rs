//! The same operations on the pure model and on a store: answers, records, attributes, marks and
//! events agree, and the invariants of the model hold.
//!
//! The model decides again with the time that the store's answer carries, so nothing here waits
//! and nothing depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tokio::runtime::Runtime;
use watchdog_session::marker::Marker;
use watchdog_session::model::UserSessions;
use watchdog_session::record::{Common, Millis};
use watchdog_session::store::{
    Create, Created, Event, Regenerate, Report, Revoke, RevokeAll, Rotate, Touch, Update,
};
use watchdog_session::testing::{Sample, events_of, outbox, random_location, time_of};
use watchdog_session::{LimitPolicy, Location, MemoryStore, RedisStore, SessionId, SessionStore};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::{RedisServer, Reply, shared};

const NAMES: [&str; 3] = ["cart", "theme", "seen"];

#[derive(Clone, Debug)]
enum Operation {
    Create { slot: u8, state: State },
    Touch { slot: u8, interval: u64 },
    Rotate(Rotation),
    Revoke { slot: u8 },
    Regenerate { slot: u8, is_reauthentication: bool, is_unfit: bool },
    RevokeAll { slot: u8, is_kept: bool },
    RevokeEverybody,
    Update { slot: u8, change: AttributeChange },
    Report { slot: u8 },
    Repeat { back: usize },
}

#[derive(Clone, Debug)]
struct State {
    age: u64,
    /// How long ago it was used; negative after a failover to a slower clock.
    unused: i64,
    expired: bool,
    generation: u32,
    rotated_age: u64,
    grace_used: u16,
    newer_version: bool,
    flags: u8,
}

#[derive(Clone, Debug)]
struct Rotation {
    slot: u8,
    generation: u32,
    stranger: u8,
    family: u8,
    grace: u64,
    rotate: bool,
    made: Option<u64>,
}

#[derive(Clone, Debug)]
struct AttributeChange {
    names: BTreeMap<usize, Option<u8>>,
    clear: bool,
    /// Expect what stands, something else, or nothing; of the whole, and of each attribute.
    whole: Option<bool>,
    each: Option<bool>,
}

#[derive(Clone)]
enum Call {
    Create(Create),
    Touch(Touch),
    Rotate(Rotate),
    Revoke(Revoke),
    Regenerate(Regenerate),
    RevokeAll(RevokeAll),
    Update(Update),
    Report(Report),
}

#[derive(Clone, Debug)]
struct Plan {
    limit: u32,
    policy: LimitPolicy,
    operations: Vec<Operation>,
}

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

fn state() -> impl Strategy<Value = State> {
    let lineage = (0..6_u32, pick(&[0, 5000, 12_000, 20_000]), pick(&[0, 63, 64]));
    (
        pick(&[0, 0, 1, 2000, 90_000]),
        pick(&[0, 0, 1, 5000, -60_000]),
        prop::bool::weighted(0.1),
        lineage,
        prop::bool::weighted(0.05),
        pick(&[0, 0, 2, 4, 6, 0xf8]),
    )
        .prop_map(|(age, unused, expired, lineage, newer_version, flags)| {
            let (generation, rotated_age, grace_used) = lineage;
            State {
                age,
                unused,
                expired,
                generation,
                rotated_age,
                grace_used,
                newer_version,
                flags,
            }
        })
}

fn rotation() -> impl Strategy<Value = Rotation> {
    (
        0..4_u8,
        0..16_u32,
        pick(&[0, 0, 0, 1, 2, 3, 4]),
        pick(&[0, 4, 6]),
        pick(&[0, 10_000, 10_000]),
        prop::bool::weighted(0.9),
        prop::option::of(pick(&[0, 100, 5_000, 9_000, 30_000])),
    )
        .prop_map(|(slot, generation, stranger, family, grace, rotate, made)| Rotation {
            slot,
            generation,
            stranger,
            family,
            grace,
            rotate,
            made,
        })
}

fn attribute_change() -> impl Strategy<Value = AttributeChange> {
    (
        prop::collection::btree_map(0..NAMES.len(), prop::option::of(any::<u8>()), 0..3),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.5, prop::bool::weighted(0.8)),
    )
        .prop_map(|(names, clear, whole, each)| AttributeChange { names, clear, whole, each })
}

fn plan() -> impl Strategy<Value = Plan> {
    let slot = || 0..4_u8;
    let one = prop_oneof![
        6 => (slot(), state()).prop_map(|(slot, state)| Operation::Create { slot, state }),
        2 => (slot(), pick(&[0, 1_000_000]))
            .prop_map(|(slot, interval)| Operation::Touch { slot, interval }),
        8 => rotation().prop_map(Operation::Rotate),
        2 => slot().prop_map(|slot| Operation::Revoke { slot }),
        3 => (slot(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
            |(slot, is_reauthentication, is_unfit)| {
                Operation::Regenerate { slot, is_reauthentication, is_unfit }
            }
        ),
        1 => (slot(), any::<bool>())
            .prop_map(|(slot, is_kept)| Operation::RevokeAll { slot, is_kept }),
        1 => Just(Operation::RevokeEverybody),
        6 => (slot(), attribute_change())
            .prop_map(|(slot, change)| Operation::Update { slot, change }),
        1 => slot().prop_map(|slot| Operation::Report { slot }),
        5 => (0..6_usize).prop_map(|back| Operation::Repeat { back }),
    ];
    let policy =
        pick(&[LimitPolicy::EvictOldest, LimitPolicy::EvictLeastRecentlyUsed, LimitPolicy::Reject]);
    (1..4_u32, policy, prop::collection::vec(one, 1..40))
        .prop_map(|(limit, policy, operations)| Plan { limit, policy, operations })
}

/// What the test knows of the engine beyond the port.
trait Engine {
    /// A store that has not heard anything yet.
    fn store(&self, runtime: &Runtime) -> Arc<dyn SessionStore>;

    /// Revokes everybody in one bucket only, up to a time, and gives a store that knows it.
    fn stamp(&self, runtime: &Runtime, bucket: u16, up_to: Millis)
    -> Option<Arc<dyn SessionStore>>;

    /// The marks of a user.
    fn markers(&self, location: Location) -> Option<BTreeMap<Marker, Millis>>;
}

struct Run<'a> {
    engine: &'a dyn Engine,
    runtime: &'a Runtime,
    store: Arc<dyn SessionStore>,
    limit: u32,
    policy: LimitPolicy,
    model: UserSessions,
    slots: Vec<Sample>,
    calls: Vec<Call>,
    events: Vec<Event>,
    /// Every session that was alive once, with its deadline, and those that are no more.
    deadlines: BTreeMap<SessionId, Millis>,
    ended: BTreeSet<SessionId>,
}

macro_rules! same {
    ($run:ident, $method:ident, $request:ident) => {{
        let answer = $run.runtime.block_on($run.store.$method($request)).unwrap();
        let (wanted, events) = $run.model.$method($request, answer.now);
        assert_eq!(answer, wanted);
        $run.events.extend(events);
    }};
}

impl Run<'_> {
    fn operation(&mut self, operation: &Operation) {
        let call = match operation {
            Operation::Repeat { back } => match self.calls.iter().rev().nth(*back) {
                Some(call) => call.clone(),
                None => return,
            },
            Operation::RevokeEverybody => return self.revoke_everybody(),
            Operation::Create { slot, state } => self.creation(*slot, state),
            Operation::Touch { slot, interval } => Call::Touch(self.slot(*slot).touch(*interval)),
            Operation::Revoke { slot } => Call::Revoke(self.slot(*slot).revoke()),
            Operation::Report { slot } => Call::Report(self.slot(*slot).report()),
            Operation::Rotate(rotation) => Call::Rotate(self.rotation(rotation)),
            Operation::Regenerate { slot, is_reauthentication, is_unfit } => {
                self.regeneration(*slot, *is_reauthentication, *is_unfit)
            }
            Operation::RevokeAll { slot, is_kept: true } => {
                Call::RevokeAll(self.slot(*slot).revoke_others())
            }
            Operation::RevokeAll { slot, is_kept: false } => {
                Call::RevokeAll(self.slot(*slot).revoke_all())
            }
            Operation::Update { slot, change } => Call::Update(self.update(*slot, change)),
        };
        self.call(&call);
        self.calls.push(call);
        self.compare();
    }

    fn slot(&self, slot: u8) -> &Sample {
        &self.slots[usize::from(slot)]
    }

    fn now(&self) -> Millis {
        self.runtime.block_on(time_of(&*self.store))
    }

    fn creation(&mut self, slot: u8, state: &State) -> Call {
        let now = self.now();
        let location = self.slot(slot).place.location;
        let mut sample = Sample::new(location, now).older_by(state.age);
        sample = sample.rotated(state.generation, state.rotated_age);
        let seen = &mut sample.header.common.last_seen;
        *seen = seen.saturating_add_signed(-state.unused);
        if state.expired {
            sample = sample.expired();
        }
        sample.header.grace_used = state.grace_used;
        sample.header.common.version += u8::from(state.newer_version);
        sample.header.common.flags = state.flags;
        self.slots[usize::from(slot)] = sample.clone();
        Call::Create(Create { policy: self.policy, ..sample.create(self.limit) })
    }

    fn rotation(&self, rotation: &Rotation) -> Rotate {
        let mut call = self.slot(rotation.slot).rotate(rotation.generation);
        call.rules.grace = rotation.grace;
        call.rules.rotate = rotation.rotate;
        call.presented.family = rotation.family;
        if let Some(ago) = rotation.made {
            call.presented.made_at = self.now() - ago;
        }
        match rotation.stranger {
            1 => call.presented.client = [8; 16],
            2 => call.presented.ip = Some([8; 16]),
            3 => (call.presented.agent_tag, call.presented.bind_agent) = ([8; 16], true),
            4 => (call.presented.client, call.presented.agent_tag) = ([8; 16], [8; 16]),
            _ => {}
        }
        call
    }

    fn regeneration(&mut self, slot: u8, is_reauthentication: bool, is_unfit: bool) -> Call {
        let now = self.now();
        let old = self.slot(slot).clone();
        let mut new = old.successor();
        if is_reauthentication {
            new.header.common.last_seen = now;
            new.header.common.absolute_deadline = now + 28_800_000;
        }
        new.header.common.created_at += u64::from(is_unfit);
        if !is_unfit {
            self.slots[usize::from(slot)] = new.clone();
        }
        Call::Regenerate(old.regenerate(&new))
    }

    fn update(&self, slot: u8, change: &AttributeChange) -> Update {
        let sample = self.slot(slot);
        let held = self.model.attributes(&sample.place);
        let stands = |stands: bool, version: u64| if stands { version } else { version + 1 };
        let mut update = sample.update(&[]);
        update.clear = change.clear;
        update.expected = change.whole.map(|is_it| stands(is_it, held.version));
        for (&index, value) in &change.names {
            let of_name = held.values.iter().find(|attribute| attribute.name == NAMES[index]);
            let version = of_name.map_or(0, |attribute| attribute.version);
            update.changes.push(watchdog_session::store::Change {
                name: NAMES[index].to_owned(),
                expected: change.each.map(|is_it| stands(is_it, version)),
                value: value.map(|byte| vec![byte; 3]),
            });
        }
        update
    }

    fn revoke_everybody(&mut self) {
        let up_to = self.now();
        let bucket = self.slots[0].place.location.bucket;
        if let Some(store) = self.engine.stamp(self.runtime, bucket, up_to) {
            self.store = store;
            self.model.everybody = self.model.everybody.max(up_to);
            self.compare();
        }
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Touch(request) => same!(self, touch, request),
            Call::Revoke(request) => same!(self, revoke, request),
            Call::Regenerate(request) => same!(self, regenerate, request),
            Call::RevokeAll(request) => same!(self, revoke_all, request),
            Call::Update(request) => same!(self, update, request),
            Call::Report(request) => same!(self, report, request),
            Call::Create(request) => {
                let answer = self.runtime.block_on(self.store.create(request)).unwrap();
                let now = match answer {
                    Created::Stored { now, .. }
                    | Created::Skewed { now, .. }
                    | Created::Refused { now, .. }
                    | Created::Taken { now } => now,
                    other => unreachable!("{other:?}"),
                };
                let (wanted, events) = self.model.create(request, now);
                assert_eq!(answer, wanted);
                self.events.extend(events);
            }
            Call::Rotate(request) => match self.runtime.block_on(self.store.rotate(request)) {
                Ok(answer) => {
                    let (wanted, events) = self.model.rotate(request, answer.now).unwrap();
                    assert_eq!(answer, wanted);
                    self.events.extend(events);
                }
                Err(error) => {
                    let wanted = self.model.rotate(request, self.now()).unwrap_err();
                    assert_eq!(error.kind(), wanted.kind());
                }
            },
        }
    }

    /// Holds all records against the model, and one slot in full.
    fn compare(&mut self) {
        self.compare_slot(self.calls.len() % self.slots.len());
        let location = self.slots[0].place.location;
        let listing = self.runtime.block_on(self.store.list(location)).unwrap();
        assert_eq!(listing, self.model.list(listing.now));
        let mut living = BTreeMap::new();
        for (id, record) in &listing.records {
            let common = Common::decode(record).unwrap();
            if common.created_at > listing.not_before && !common.is_expired(listing.now) {
                living.insert(*id, common.absolute_deadline);
            }
        }
        self.hold_invariants(&living);
    }

    fn compare_slot(&self, slot: usize) {
        let slot = &self.slots[slot];
        let reading = self.runtime.block_on(self.store.read(&slot.place)).unwrap();
        assert_eq!(reading, self.model.read(&slot.place, reading.now));
        let attributes = self.runtime.block_on(self.store.attributes(&slot.place)).unwrap();
        assert_eq!(attributes, self.model.attributes(&slot.place));
    }

    fn hold_invariants(&mut self, living: &BTreeMap<SessionId, Millis>) {
        assert!(living.len() <= self.limit as usize, "{} living", living.len());
        for (id, deadline) in living {
            assert!(!self.ended.contains(id), "{id} lives again");
            assert_eq!(self.deadlines.entry(*id).or_insert(*deadline), deadline, "{id} moved");
        }
        let ended = self.deadlines.keys().filter(|id| !living.contains_key(id));
        self.ended.extend(ended);
        // What is gone took its attributes along.
        let records: BTreeSet<_> = self.model.records.keys().collect();
        assert!(self.model.attributes.keys().all(|id| records.contains(id)));
    }
}

fn agree(engine: &dyn Engine, runtime: &Runtime, plan: &Plan) {
    let store = engine.store(runtime);
    let location = random_location();
    let now = runtime.block_on(time_of(&*store));
    let slots: Vec<_> = (0..4).map(|_| Sample::new(location, now)).collect();
    let everybody = runtime.block_on(store.read(&slots[0].place)).unwrap().not_before;
    let mut run = Run {
        engine,
        runtime,
        store,
        limit: plan.limit,
        policy: plan.policy,
        model: UserSessions { everybody, ..UserSessions::default() },
        slots,
        calls: Vec::new(),
        events: Vec::new(),
        deadlines: BTreeMap::new(),
        ended: BTreeSet::new(),
    };
    for operation in &plan.operations {
        run.operation(operation);
    }
    for slot in 0..run.slots.len() {
        run.compare_slot(slot);
    }
    assert_eq!(runtime.block_on(events_of(&*run.store, location)), run.events);
    if let Some(markers) = engine.markers(location) {
        assert_eq!(markers, run.model.markers);
    }
}

fn check(engine: &dyn Engine, cases: u32) {
    let runtime = Runtime::new().unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(plan in plan())| agree(engine, &runtime, &plan));
}

/// 20 times as many with `WD_TEST_LONG=1`.
#[expect(clippy::disallowed_methods, reason = "how long to test is no setting of the SDK")]
fn cases(few: u32) -> u32 {
    if std::env::var_os("WD_TEST_LONG").is_some() { 20 * few } else { few }
}

struct Memory;

impl Engine for Memory {
    fn store(&self, _: &Runtime) -> Arc<dyn SessionStore> {
        Arc::new(MemoryStore::new())
    }

    /// The memory store has one stamp for all, and sets it ahead.
    fn stamp(&self, _: &Runtime, _: u16, _: Millis) -> Option<Arc<dyn SessionStore>> {
        None
    }

    fn markers(&self, _: Location) -> Option<BTreeMap<Marker, Millis>> {
        None
    }
}

struct OnRedis<'a> {
    server: &'a RedisServer,
    redis: Redis,
}

impl OnRedis<'_> {
    fn key(&self, kind: &str, bucket: u16) -> String {
        self.redis.keys().key(kind, &bucket.to_string(), &[]).to_string()
    }
}

impl Engine for OnRedis<'_> {
    fn store(&self, _: &Runtime) -> Arc<dyn SessionStore> {
        Arc::new(RedisStore::new(self.redis.clone()))
    }

    fn stamp(
        &self,
        runtime: &Runtime,
        bucket: u16,
        up_to: Millis,
    ) -> Option<Arc<dyn SessionStore>> {
        self.server.command(&["SET", &self.key("g", bucket), &up_to.to_string()]);
        Some(self.store(runtime))
    }

    fn markers(&self, location: Location) -> Option<BTreeMap<Marker, Millis>> {
        let key = self.key("rv", location.bucket);
        let Reply::List(found) = self.server.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])
        else {
            return None;
        };
        let marks = found.chunks(2).filter_map(|pair| {
            let (user, marker) = Marker::parse(pair[0].text()).unwrap();
            (user == location.user).then(|| (marker, pair[1].text().parse().unwrap()))
        });
        Some(marks.collect())
    }
}

#[test]
fn the_memory_store_does_what_the_model_says() {
    check(&Memory, cases(500));
}

#[test]
fn the_scripts_do_what_the_model_says() {
    let Some(server) = shared() else { return };
    let runtime = Runtime::new().unwrap();
    let mut config = RedisConfig::from_url(&server.url()).unwrap();
    config.key_prefix = format!("model-{}", SessionId::random().unwrap());
    let redis = runtime.block_on(Redis::connect(&config)).unwrap();
    check(&OnRedis { server, redis }, cases(100));
}

/// The memory store revokes everybody in all buckets at once; the model says what that does.
#[test]
fn revoking_everybody_is_one_event_however_often_it_is_repeated() {
    use watchdog_session::model::Everybody;
    use watchdog_session::store::RevokeEverybody;

    let mut everybody = Everybody::default();
    let request = RevokeEverybody {
        reason: "administrator",
        lifetime: 1,
        nonce: [1; 8],
        outbox: Some(outbox()),
    };
    let (_, events) = everybody.revoke(&request, 1000);
    assert_eq!((everybody.not_before, events.len()), (1100, 1));
    let (_, events) = everybody.revoke(&request, 2000);
    assert_eq!((everybody.not_before, events.len()), (1100, 0));
    everybody.revoke(&RevokeEverybody { nonce: [2; 8], ..request.clone() }, 500);
    assert_eq!(everybody.not_before, 1100);
}

/// After a failover to a slower clock there are access tokens issued later than now: the mark that
/// names a time does not reach them.
#[test]
fn all_sessions_end_by_name_too_when_they_are_ahead_of_the_clock() {
    const NOW: Millis = 1_700_000_000_000;
    let location = random_location();
    let [on_time, created_ahead, mut seen_ahead] =
        [NOW, NOW + 100, NOW].map(|created| Sample::new(location, created));
    seen_ahead.header.common.last_seen = NOW + 60_000;
    let mut user = UserSessions::default();
    for sample in [&on_time, &created_ahead, &seen_ahead] {
        let (created, _) = user.create(&sample.create(5), NOW);
        assert!(matches!(created, Created::Stored { .. }), "{created:?}");
    }
    user.revoke_all(&on_time.revoke_all(), NOW);
    let wanted = [
        Marker::Session(created_ahead.place.session),
        Marker::Session(seen_ahead.place.session),
        Marker::User { up_to: NOW },
    ];
    assert_eq!(user.markers, wanted.into_iter().map(|marker| (marker, NOW)).collect());
}
