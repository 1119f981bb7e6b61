//! The same operations on the pure model and on a store: answers, records, attributes, marks and
//! events agree, and the invariants of the model hold.
//!
//! The model decides again with the time that the store's answer carries, so nothing here waits
//! and nothing depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

mod engine;
mod plan;
mod run;

use proptest::prelude::*;
use tokio::runtime::Runtime;
use watchdog_session::SessionId;
use watchdog_session::marker::Marker;
use watchdog_session::model::UserSessions;
use watchdog_session::record::Millis;
use watchdog_session::store::Created;
use watchdog_session::testing::{Sample, outbox, random_location};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared;

use crate::engine::{Engine, Memory, OnRedis};
use crate::plan::plan;
use crate::run::agree;

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
        up_to: None,
        outbox: Some(outbox()),
    };
    let (_, events) = everybody.revoke(&request, 1000);
    assert_eq!((everybody.not_before, events.len()), (1100, 1));
    let (_, events) = everybody.revoke(&request, 2000);
    assert_eq!((everybody.not_before, events.len()), (1100, 0));
    everybody.revoke(&RevokeEverybody { nonce: [2; 8], ..request.clone() }, 500);
    assert_eq!(everybody.not_before, 1100);
    // Asserted again: once where it was lost, and never back.
    let again = |up_to| RevokeEverybody { up_to: Some(up_to), ..request.clone() };
    for (up_to, events, stands) in
        [(1100, 0, 1100), (900, 0, 1100), (1200, 1, 1200), (1200, 0, 1200)]
    {
        let (answer, told) = everybody.revoke(&again(up_to), 9000);
        assert_eq!((everybody.not_before, told.len(), answer.up_to), (stands, events, stands));
    }
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
