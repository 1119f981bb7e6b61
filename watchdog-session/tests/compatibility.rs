//! The release before beside this one, on one Redis: its scripts and its records, interleaved at
//! random with ours. And bytes of that release that must decode for good.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::runtime::Runtime;
use watchdog_core::testing::ManualClock;
use watchdog_core::{KeyRing, RootKeys, Secret, Timestamp};
use watchdog_session::record::Header;
use watchdog_session::store::{Create, Created, Revoke, Rotate, Touch};
use watchdog_session::testing::{Sample, random_location, time_of};
use watchdog_session::{
    Client, LimitPolicy, MemoryStore, RedisStore, SessionId, SessionStore, Sessions, TokenKeys,
};
use watchdog_storage::redis::{Arg, Redis, RedisConfig, Script};
use watchdog_storage::testing::redis::shared;

macro_rules! before {
    ($name:literal, $file:literal, $flags:literal) => {
        Script::new(
            $name,
            concat!(
                "#!lua",
                $flags,
                "\n",
                include_str!("data/scripts-v1/prelude.lua"),
                include_str!(concat!("data/scripts-v1/", $file))
            ),
        )
    };
}

static CREATE: Script = before!("session.create.v1", "create.lua", "");
static TOUCH: Script = before!("session.touch.v1", "touch.lua", " flags=allow-oom");
static ROTATE: Script = before!("session.rotate.v1", "rotate.lua", " flags=allow-oom");
static REVOKE: Script = before!("session.revoke.v1", "revoke.lua", " flags=allow-oom");

/// The store of the release before, as far as it is needed: it answers with the word of a script.
struct Before(Redis);

impl Before {
    async fn call(&self, script: &Script, sample: &Sample, more: &[Arg<'_>]) -> String {
        let (location, keys) = (sample.place.location, self.0.keys());
        let bucket = location.bucket.to_string();
        let user = location.user_text();
        let (users, stream) = (keys.key("u", &bucket, &[&user]), keys.key("ev", &bucket, &[]));
        let session = sample.place.session.to_string();
        let mut args = vec![Arg::from(""), "".into(), (&*user).into(), (&*session).into()];
        args.extend_from_slice(more);
        let answer = self.0.call(script, &[&users, &stream], &args).await.unwrap();
        let word = answer.into_array().unwrap().swap_remove(0).into_bytes().unwrap();
        String::from_utf8(word.to_vec()).unwrap()
    }

    async fn create(&self, sample: &Sample, request: &Create) -> String {
        let more = [
            Arg::Bytes(&request.record),
            Arg::Integer(request.limit.into()),
            Arg::Integer(request.tolerance.try_into().unwrap()),
        ];
        self.call(&CREATE, sample, &more).await
    }

    async fn touch(&self, sample: &Sample, request: &Touch) -> String {
        let interval = Arg::Integer(request.interval.try_into().unwrap());
        self.call(&TOUCH, sample, &[interval]).await
    }

    async fn rotate(&self, sample: &Sample, request: &Rotate) -> String {
        let (presented, rules) = (&request.presented, &request.rules);
        let more = [
            Arg::Integer(presented.generation.into()),
            Arg::Bytes(&presented.digest),
            Arg::Bytes(&presented.successor),
            Arg::Bytes(&presented.client),
            Arg::Bytes(&presented.nonce),
            "".into(),
            Arg::Bytes(&presented.agent_tag),
            Arg::Integer(rules.rotate.into()),
            Arg::Integer(rules.grace.try_into().unwrap()),
            Arg::Integer(rules.grace_limit.into()),
            Arg::Integer(i64::MAX),
        ];
        self.call(&ROTATE, sample, &more).await
    }

    async fn revoke(&self, sample: &Sample, request: &Revoke) -> String {
        self.call(&REVOKE, sample, &[request.reason.into()]).await
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Create,
    Repeat { slot: usize },
    Touch { slot: usize },
    Rotate { slot: usize, family: u8 },
    Refresh { slot: usize },
    Revoke { slot: usize },
    Regenerate { slot: usize },
    RevokeAll,
    Update { slot: usize },
}

fn operations() -> impl Strategy<Value = Vec<(bool, Operation)>> {
    let slot = || 0..6_usize;
    let family = prop::sample::select(vec![0_u8, 4, 6]);
    let one = prop_oneof![
        4 => Just(Operation::Create),
        2 => slot().prop_map(|slot| Operation::Repeat { slot }),
        1 => slot().prop_map(|slot| Operation::Touch { slot }),
        6 => (slot(), family).prop_map(|(slot, family)| Operation::Rotate { slot, family }),
        3 => slot().prop_map(|slot| Operation::Refresh { slot }),
        1 => slot().prop_map(|slot| Operation::Revoke { slot }),
        1 => slot().prop_map(|slot| Operation::Regenerate { slot }),
        1 => Just(Operation::RevokeAll),
        1 => slot().prop_map(|slot| Operation::Update { slot }),
    ];
    prop::collection::vec((any::<bool>(), one), 1..40)
}

const LIMIT: u32 = 3;

struct Session {
    sample: Sample,
    login: Create,
    generation: u32,
}

struct Mixed<'a> {
    before: &'a Before,
    now: &'a RedisStore,
    sessions: Vec<Session>,
    /// Those that were seen dead.
    dead: BTreeSet<SessionId>,
}

impl Mixed<'_> {
    /// One of the latest six.
    fn session(&self, slot: usize) -> Option<usize> {
        (slot < self.sessions.len()).then(|| self.sessions.len() - 1 - slot)
    }

    async fn step(&mut self, is_old: bool, operation: &Operation) {
        match *operation {
            Operation::Create => self.create(is_old).await,
            Operation::Repeat { slot } => self.repeat(is_old, slot).await,
            Operation::Touch { slot } => self.touch(is_old, slot).await,
            Operation::Rotate { slot, family } => self.rotate(is_old, slot, family).await,
            Operation::Refresh { slot } => self.refresh(is_old, slot).await,
            Operation::Revoke { slot } => self.revoke(is_old, slot).await,
            Operation::Regenerate { slot } => self.regenerate(slot).await,
            Operation::RevokeAll => {
                let Some(session) = self.sessions.last() else { return };
                self.now.revoke_all(&session.sample.revoke_all()).await.unwrap();
                assert_eq!(self.living().await.len(), 0);
            }
            Operation::Update { slot } => {
                let Some(at) = self.session(slot) else { return };
                let sample = &self.sessions[at].sample;
                self.now.update(&sample.update(&[("a", Some(b"1"))])).await.unwrap();
            }
        }
        let living = self.living().await;
        assert!(living.len() <= LIMIT as usize);
        for session in &self.sessions {
            let id = session.sample.place.session;
            match living.get(&id) {
                Some(_) => assert!(!self.dead.contains(&id), "{id} lives again"),
                None => {
                    self.dead.insert(id);
                }
            }
        }
    }

    async fn living(&self) -> BTreeSet<SessionId> {
        let Some(session) = self.sessions.first() else { return BTreeSet::new() };
        let listing = self.now.list(session.sample.place.location).await.unwrap();
        let alive = listing.records.into_iter().filter(|(_, record)| {
            let common = Header::decode(record).unwrap().common;
            common.created_at > listing.not_before && !common.is_expired(listing.now)
        });
        alive.map(|(id, _)| id).collect()
    }

    async fn create(&mut self, is_old: bool) {
        let location = match self.sessions.first() {
            Some(session) => session.sample.place.location,
            None => random_location(),
        };
        let mut created_at = time_of(self.now).await;
        // As a login does: later than what was revoked.
        loop {
            let sample = Sample::new(location, created_at);
            let policy = LimitPolicy::EvictOldest;
            let login = Create { policy, outbox: None, ..sample.create(LIMIT) };
            let stored = if is_old {
                self.before.create(&sample, &login).await == "stored"
            } else {
                matches!(self.now.create(&login).await.unwrap(), Created::Stored { .. })
            };
            if stored {
                self.sessions.push(Session { sample, login, generation: 0 });
                return;
            }
            created_at += 1;
        }
    }

    /// A login whose answer was lost comes in once more, with the release that made it or another.
    async fn repeat(&self, is_old: bool, slot: usize) {
        let Some(at) = self.session(slot) else { return };
        let Session { sample, login, .. } = &self.sessions[at];
        if is_old {
            self.before.create(sample, login).await;
        } else {
            self.now.create(login).await.unwrap();
        }
    }

    async fn touch(&self, is_old: bool, slot: usize) {
        let Some(at) = self.session(slot) else { return };
        let sample = &self.sessions[at].sample;
        let life = if is_old {
            self.before.touch(sample, &sample.touch(0)).await
        } else {
            let life = self.now.touch(&sample.touch(0)).await.unwrap().life;
            format!("{life:?}").to_lowercase()
        };
        let is_dead = self.dead.contains(&sample.place.session);
        assert_eq!(life, if is_dead { "gone" } else { "alive" });
    }

    async fn verdict(&self, is_old: bool, at: usize, generation: u32, family: u8) -> String {
        let sample = &self.sessions[at].sample;
        let mut request = sample.rotate(generation);
        request.presented.family = family;
        if is_old {
            self.before.rotate(sample, &request).await
        } else {
            self.now.rotate(&request).await.unwrap().verdict.as_str().to_owned()
        }
    }

    /// The live token is never taken for a stolen one.
    async fn rotate(&mut self, is_old: bool, slot: usize, family: u8) {
        let Some(at) = self.session(slot) else { return };
        let verdict = self.verdict(is_old, at, self.sessions[at].generation, family).await;
        if self.dead.contains(&self.sessions[at].sample.place.session) {
            assert_eq!(verdict, "gone");
        } else {
            assert_eq!(verdict, "rotated");
            self.sessions[at].generation += 1;
        }
    }

    /// A second tab, with the token just replaced, by whichever release.
    async fn refresh(&self, is_old: bool, slot: usize) {
        let Some(at) = self.session(slot) else { return };
        let Some(previous) = self.sessions[at].generation.checked_sub(1) else { return };
        let verdict = self.verdict(is_old, at, previous, 0).await;
        let is_dead = self.dead.contains(&self.sessions[at].sample.place.session);
        assert_eq!(verdict, if is_dead { "gone" } else { "grace" });
    }

    async fn revoke(&self, is_old: bool, slot: usize) {
        let Some(at) = self.session(slot) else { return };
        let sample = &self.sessions[at].sample;
        if is_old {
            self.before.revoke(sample, &sample.revoke()).await;
        } else {
            self.now.revoke(&sample.revoke()).await.unwrap();
        }
        assert!(!self.living().await.contains(&sample.place.session));
    }

    async fn regenerate(&mut self, slot: usize) {
        let Some(at) = self.session(slot) else { return };
        let old = self.sessions[at].sample.clone();
        let new = old.successor();
        self.now.regenerate(&old.regenerate(&new)).await.unwrap();
        if self.living().await.contains(&new.place.session) {
            let login = Create { outbox: None, ..new.create(LIMIT) };
            self.sessions.push(Session { sample: new, login, generation: 0 });
        }
    }
}

/// Many more with `WD_TEST_LONG=1`.
#[expect(clippy::disallowed_methods, reason = "how long to test is no setting of the SDK")]
fn cases() -> u32 {
    if std::env::var_os("WD_TEST_LONG").is_some() { 2000 } else { 60 }
}

#[test]
fn two_releases_on_one_redis_agree() {
    let Some(server) = shared() else { return };
    let runtime = Runtime::new().unwrap();
    let mut config = RedisConfig::from_url(&server.url()).unwrap();
    config.key_prefix = format!("mixed-{}", SessionId::random().unwrap());
    let redis = runtime.block_on(Redis::connect(&config)).unwrap();
    let (before, now) = (Before(redis.clone()), RedisStore::new(redis));
    let config =
        ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(operations in operations())| {
        runtime.block_on(async {
            let mut mixed =
                Mixed { before: &before, now: &now, sessions: Vec::new(), dead: BTreeSet::new() };
            for (is_old, operation) in &operations {
                mixed.step(*is_old, operation).await;
            }
        });
    });
}

const GOLDEN: &str = include_str!("data/golden/session-v1.txt");

fn golden(name: &str) -> &'static str {
    let mut lines = GOLDEN.lines().filter_map(|line| line.split_once(" = "));
    lines.find(|(found, _)| *found == name).unwrap().1
}

fn golden_keys() -> KeyRing {
    let key = |text: &str| RootKeys::new(&Secret::from(text), &[]).unwrap();
    KeyRing {
        secret: key("golden secret of the session tests"),
        jwt: key("golden JWT secret of the session tests"),
        encryption: key("golden encryption key of the session tests"),
    }
}

fn golden_client() -> Client {
    Client::new("192.0.2.1".parse().ok(), Some("Mozilla/5.0 Firefox/142.0".into()))
}

/// 2026-01-01T00:00:00Z
const GOLDEN_TIME: i64 = 1_767_225_600_000;

/// Writes the golden file anew, by the release that is to be kept: run it there, by hand.
#[tokio::test]
#[ignore = "writes the data of the other test"]
async fn write_the_golden_file() {
    let clock = ManualClock::default();
    clock.set(Timestamp::from_millisecond(GOLDEN_TIME).unwrap());
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let keys = golden_keys();
    let sessions = Sessions::builder(&keys)
        .store(Arc::clone(&store) as Arc<dyn SessionStore>)
        .clock(Arc::new(clock))
        .build()
        .unwrap();
    let subject = watchdog_session::Subject::user("alice").with_roles(["admin"]);
    let issued = sessions.issue(subject, &golden_client()).await.unwrap();
    let token = issued.session_token.expose();
    let place = TokenKeys::new(&keys.secret).unwrap().session_parts(token).unwrap().place;
    let record = store.read(&place).await.unwrap().record.unwrap();
    let record: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    let refresh = issued.refresh_token.expose();
    let text = format!("session token = {token}\nrefresh token = {refresh}\nrecord = {record}\n");
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/session-v1.txt"), text)
        .unwrap();
}

#[tokio::test]
async fn a_record_and_tokens_of_version_one_decode_for_good() {
    let keys = golden_keys();
    let clock = ManualClock::default();
    clock.set(Timestamp::from_millisecond(GOLDEN_TIME).unwrap());
    let store = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let token = golden("session token");
    let place = TokenKeys::new(&keys.secret).unwrap().session_parts(token).unwrap().place;
    let record = golden("record").as_bytes().chunks(2);
    let record: Vec<u8> = record
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let request = Create {
        place,
        record,
        limit: 5,
        policy: LimitPolicy::EvictOldest,
        tolerance: 10_000,
        outbox: None,
    };
    let created = store.create(&request).await.unwrap();
    assert!(matches!(created, Created::Stored { .. }), "{created:?}");
    let sessions = Sessions::builder(&keys).store(store).clock(Arc::new(clock)).build().unwrap();
    let session = sessions.authenticate(token, &golden_client()).await.unwrap();
    assert_eq!((session.user(), session.roles()), ("alice", &["admin".to_owned()][..]));
    assert_eq!(session.created_at().as_millisecond(), GOLDEN_TIME);
    assert_eq!(session.auth_time(), session.created_at());
    assert_eq!(session.expires_at().as_millisecond(), GOLDEN_TIME + 28_800_000);
    assert_eq!(session.issued_to(), &golden_client());
    sessions.insert(&session, "a", &1).await.unwrap();
    let rotated = sessions.rotate(golden("refresh token"), &golden_client()).await.unwrap();
    assert_eq!(rotated.session.id(), session.id());
}
