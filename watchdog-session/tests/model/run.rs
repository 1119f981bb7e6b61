//! One run of a plan, on a store and on the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::runtime::Runtime;
use watchdog_session::model::UserSessions;
use watchdog_session::record::{Common, Header, Millis};
use watchdog_session::store::{
    Create, Created, Event, Regenerate, Report, Revoke, RevokeAll, Rotate, Touch, Update,
};
use watchdog_session::testing::{Sample, events_of, random_location, time_of};
use watchdog_session::{LimitPolicy, SessionId, SessionStore, Verdict};

use crate::engine::Engine;
use crate::plan::{AttributeChange, NAMES, Operation, Plan, Rotation, State};

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
            Operation::RevokeAll { slot, is_kept, back } => {
                let slot = self.slot(*slot);
                let call = if *is_kept { slot.revoke_others() } else { slot.revoke_all() };
                let up_to = back.map(|back| self.now() - back);
                Call::RevokeAll(RevokeAll { up_to, ..call })
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
                    let before = self.model.clone();
                    let (wanted, events) = self.model.rotate(request, answer.now).unwrap();
                    assert_eq!(answer, wanted);
                    if answer.verdict == Verdict::Late {
                        assert_eq!((&before, 0), (&self.model, events.len()));
                        let header = Header::decode(&before.records[&request.place.session]);
                        assert!(request.presented.made_at < header.unwrap().rotated_at);
                    }
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

pub(crate) fn agree(engine: &dyn Engine, runtime: &Runtime, plan: &Plan) {
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
