//! Clocks that are wrong, and deadlines to the tenth of a second.

use std::sync::Arc;
use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::testing::ManualClock;
use watchdog_session::record::{Header, Millis};
use watchdog_session::store::Life;
use watchdog_session::testing::{Sample, random_location, time_of};
use watchdog_session::{
    ErrorKind, RedisStore, RevokeReason, SessionConfig, SessionStore, Sessions, Subject, Verdict,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::{RedisServer, shared};

use crate::rig::{Rig, client, connect};

const DAY: Millis = 86_400_000;

/// A store, and how to put records into it past its back.
async fn store() -> Option<(RedisStore, impl Fn(&Sample))> {
    let prefix = format!("t{}", watchdog_session::SessionId::random().unwrap());
    let server = shared()?;
    let store = connect(&server.url(), &prefix, |_| ()).await;
    Some((store, move |sample: &Sample| put(server, &prefix, sample)))
}

/// Puts a record of any age to where it belongs, which no login would do.
fn put(server: &RedisServer, prefix: &str, sample: &Sample) {
    let (location, digits) = (sample.place.location, hex(&sample.record()));
    let key = format!("{prefix}:u:{{{}}}:{}", location.bucket, location.user_text());
    let script = "local r = string.gsub(ARGV[2], '..', function(two) \
                  return string.char(tonumber(two, 16)) end) \
                  redis.call('HSET', KEYS[1], ARGV[1], r) redis.call('PEXPIRE', KEYS[1], 60000)";
    let field = format!("s:{}", sample.place.session);
    server.command(&["EVAL", script, "1", &key, &field, &digits]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn header(store: &RedisStore, sample: &Sample) -> Header {
    let record = store.read(&sample.place).await.unwrap().record.unwrap();
    Header::decode(&record).unwrap()
}

/// A process whose clock is a day slow or a day fast issues, accepts and ends sessions as one whose
/// clock is right, also when it is set anew in the middle.
#[tokio::test]
async fn t43_a_process_whose_clock_is_a_day_off_expires_nothing_early_or_late() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let now = time_of(&*rig.store).await;
    for (off, short) in [(-1, false), (1, false), (-1, true), (1, true)] {
        let set = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        let there = i64::try_from(now).unwrap() + off * i64::try_from(DAY).unwrap();
        let clock = ManualClock::new(set(there));
        let mut redis = RedisConfig::from_url(&server.url()).unwrap();
        redis.key_prefix.clone_from(&rig.prefix);
        let redis = Redis::connect(&redis).await.unwrap();
        let config = SessionConfig {
            timeout: Duration::from_secs(if short { 1 } else { 1800 }),
            access_token_lifetime: Duration::from_secs(if short { 1 } else { 300 }),
            grace: Duration::ZERO,
            ..SessionConfig::default()
        };
        let sessions = Sessions::builder(&rig.keys)
            .config(config)
            .clock(Arc::new(clock.clone()))
            .store(Arc::new(RedisStore::with_clock(redis, Arc::new(clock.clone()))))
            .build()
            .unwrap();
        let issued = sessions.issue(Subject::user("alice"), &client()).await.unwrap();
        let token = issued.session_token.expose();
        let created = u64::try_from(issued.session.created_at().as_millisecond()).unwrap();
        assert!((now..now + 60_000).contains(&created), "{off}: {created}, {now}");
        let right = rig.sessions.authenticate(token, &client()).await;
        assert!(right.is_ok(), "a process whose clock is right agrees");
        if short {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let error = sessions.authenticate(token, &client()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Expired, "{off}");
            continue;
        }
        assert!(sessions.authenticate_access(issued.access_token.expose()).is_ok());
        // Somebody sets the clock right, and wrong again.
        for step in [0, DAY, 0] {
            clock.set(set(i64::try_from(now + step).unwrap()));
            assert!(sessions.authenticate(token, &client()).await.is_ok(), "{off}, {step}");
        }
        let rotated = sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
        assert_eq!(rotated.verdict, Verdict::Rotated);
        assert!(sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
    }
}

/// A tenth of a second before and after the idle timeout of 1800 s.
#[tokio::test]
async fn t44_the_idle_timeout_is_exact() {
    let Some((store, put)) = store().await else { return };
    for (idle, touched) in
        [(1_799_900, true), (1_800_100, true), (1_799_900, false), (1_800_100, false)]
    {
        let mut sample = Sample::new(random_location(), time_of(&store).await);
        sample.header.common.created_at -= 2 * idle;
        sample.header.common.absolute_deadline -= 2 * idle;
        sample.header.common.last_seen -= idle;
        let over = sample.header.common.last_seen + 1_800_000;
        put(&sample);
        // The server's own time decides on which side of the line the call came in.
        let (now, is_alive) = if touched {
            let answer = store.touch(&sample.touch(0)).await.unwrap();
            (answer.now, answer.life == Life::Alive)
        } else {
            let answer = store.rotate(&sample.rotate(0)).await.unwrap();
            (answer.now, answer.verdict == Verdict::Rotated)
        };
        assert_eq!(is_alive, now < over, "{idle}");
        let rest = store.read(&sample.place).await.unwrap().record;
        assert_eq!(rest.is_some(), is_alive);
    }
}

/// Somebody is busy without pause: touches and refreshes move everything but the deadline.
#[tokio::test]
async fn t44_constant_activity_dies_at_the_absolute_deadline() {
    let Some((store, put)) = store().await else { return };
    let mut sample = Sample::new(random_location(), time_of(&store).await);
    sample.header.common.created_at -= 28_800_000 - 700;
    sample.header.common.absolute_deadline -= 28_800_000 - 700;
    let deadline = sample.header.common.absolute_deadline;
    put(&sample);
    let (mut generation, mut last_alive) = (0, 0);
    let over = loop {
        let touched = store.touch(&sample.touch(0)).await.unwrap();
        if touched.life != Life::Alive {
            assert_eq!(touched.life, Life::Expired);
            break touched.now;
        }
        let rotated = store.rotate(&sample.rotate(generation)).await.unwrap();
        if rotated.verdict == Verdict::Expired {
            break rotated.now;
        }
        assert_eq!(rotated.verdict, Verdict::Rotated);
        (generation, last_alive) = (generation + 1, rotated.now);
        let after = Header::decode(&rotated.record.unwrap()).unwrap();
        assert_eq!(after.common.absolute_deadline, deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(generation > 5, "it was hardly busy");
    assert!(last_alive < deadline && deadline <= over, "{last_alive} {deadline} {over}");
    assert_eq!(store.read(&sample.place).await.unwrap().record, None);
}

/// After a failover the new primary's clock is an hour behind: what it holds seems to come from the
/// future. (A clock cannot be set here; a record moved the other way is the same to every script.)
#[tokio::test]
async fn t45_a_clock_that_went_back_lengthens_no_absolute_lifetime() {
    let Some((store, put)) = store().await else { return };
    let mut sample = Sample::new(random_location(), time_of(&store).await + 3_600_000);
    sample.header.rotated_at = sample.header.common.created_at;
    let before = sample.header;
    put(&sample);
    assert_eq!(store.touch(&sample.touch(0)).await.unwrap().life, Life::Alive);
    assert_eq!(header(&store, &sample).await, before, "a touch moves nothing back");
    let mut last = before;
    for generation in 0..3 {
        let rotated = store.rotate(&sample.rotate(generation)).await.unwrap();
        assert_eq!(rotated.verdict, Verdict::Rotated);
        let after = header(&store, &sample).await;
        assert_eq!(after.common, last.common, "deadline, birth and last use stay");
        last = after;
    }
    assert_eq!(last.common.absolute_deadline, before.common.absolute_deadline);
    // The other way round the clock went on: it is over by the deadline that it always had.
    let mut old = Sample::new(random_location(), time_of(&store).await - 28_800_001);
    old.header.common.last_seen += 28_800_001;
    put(&old);
    assert_eq!(store.touch(&old.touch(0)).await.unwrap().life, Life::Expired);
}

/// Logged out just before the clock went back by a few seconds: the next login works at once.
#[tokio::test]
async fn t45_a_login_after_the_clock_went_back_works() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let issued = rig.issue("alice").await;
    let location = rig.place(&issued).location;
    let now = time_of(&*rig.store).await;
    let mut future = Sample::new(location, now + 5_000);
    future.header.rotated_at = now;
    put(server, &rig.prefix, &future);
    rig.store.revoke(&future.revoke()).await.unwrap();
    let again = rig.issue("alice").await;
    let token = again.session_token.expose();
    assert!(rig.sessions.authenticate(token, &client()).await.is_ok());
}
