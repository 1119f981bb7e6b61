//! Sessions through the façade, on a real Redis.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use support::{Bench, FIREFOX, bench, client};
use tokio::sync::Barrier;
use watchdog_core::testing::ManualClock;
use watchdog_core::{HealthCheck as _, SystemClock};
use watchdog_session::{
    ErrorKind, MAX_LIFETIME, Regeneration, RevokeReason, SessionConfig, Subject, Verdict,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{Control, RedisServer, Reply, is_available, shared};

/// Without audit sink, so that only the operations themselves count.
async fn silent(server: &RedisServer) -> watchdog_session::Sessions {
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let keys = watchdog_core::KeyRing::ephemeral().unwrap();
    let store = Arc::new(watchdog_session::RedisStore::new(redis));
    watchdog_session::Sessions::builder(&keys).store(store).build().unwrap()
}

/// Commands that a piece of work costs, by the server's own statistics.
async fn cost(server: &RedisServer, work: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let before = server.calls();
    work.await;
    let mut after = server.calls();
    for (name, calls) in &mut after {
        *calls -= before.get(name).copied().unwrap_or(0);
    }
    // The statistics themselves.
    after.remove("info");
    after.retain(|_, calls| *calls > 0);
    after
}

#[tokio::test]
async fn a_forged_token_costs_no_command_and_changes_nothing() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let (ours, theirs) = (silent(&server).await, silent(&server).await);
    let issued = ours.issue(Subject::user("alice"), &client()).await.unwrap();
    let foreign = theirs.issue(Subject::user("alice"), &client()).await.unwrap();
    let session = issued.session_token.expose();
    let refresh = issued.refresh_token.expose();
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut forged: Vec<String> =
        ["", "x", "\0", "é", "AAAA", &"A".repeat(95), &"A".repeat(122), &"A".repeat(10_000_000)]
            .map(str::to_owned)
            .to_vec();
    forged.extend((0..95).map(|at| flipped(session, at)));
    forged.extend((0..122).map(|at| flipped(refresh, at)));
    forged.push(foreign.session_token.expose().to_owned());
    forged.push(foreign.refresh_token.expose().to_owned());
    forged.push(issued.access_token.expose().to_owned());
    forged.push(session[..94].to_owned());
    let calls = cost(&server, async {
        for token in &forged {
            let error = ours.authenticate(token, &client()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let error = ours.rotate(token, &client()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let _ = ours.authenticate_access(token);
        }
    })
    .await;
    assert!(calls.is_empty(), "{calls:?}");
    assert!(ours.authenticate(session, &client()).await.is_ok());
    assert_eq!(ours.rotate(refresh, &client()).await.unwrap().verdict, Verdict::Rotated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_refreshes_get_one_successor_that_works() {
    let Some(server) = shared() else { return };
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let issued = bench.issue("parallel").await;
    let barrier = Arc::new(Barrier::new(50));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (sessions, barrier) = (bench.sessions.clone(), Arc::clone(&barrier));
            let token = issued.refresh_token.clone();
            tokio::spawn(async move {
                barrier.wait().await;
                sessions.rotate(token.expose(), &client()).await.unwrap()
            })
        })
        .collect();
    let mut successors = BTreeSet::new();
    let mut rotated = 0;
    for task in tasks {
        let reply = task.await.unwrap();
        rotated += u32::from(reply.verdict == Verdict::Rotated);
        successors.insert(reply.refresh_token.expose().to_owned());
        assert!(bench.sessions.authenticate_access(reply.access_token.expose()).is_ok());
    }
    assert_eq!((rotated, successors.len()), (1, 1));
    let next = successors.pop_first().unwrap();
    assert_eq!(bench.sessions.rotate(&next, &client()).await.unwrap().verdict, Verdict::Rotated);
    let count =
        |actions: &[String], wanted: &str| actions.iter().filter(|it| *it == wanted).count();
    let actions = bench.actions_of(issued.session.id()).await;
    assert_eq!(count(&actions, "session.rotated"), 2);
    assert_eq!(count(&actions, "session.grace_used"), 49);
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_session_with_exactly_one_event() {
    let Some(server) = shared() else { return };
    let config = SessionConfig { grace: Duration::ZERO, ..SessionConfig::default() };
    let bench = bench(&server.url(), config).await;
    let issued = bench.issue("victim").await;
    let stolen = issued.refresh_token.expose();
    let next = bench.sessions.rotate(stolen, &client()).await.unwrap();
    let kind =
        async |token: &str| bench.sessions.rotate(token, &client()).await.unwrap_err().kind();
    assert_eq!(kind(stolen).await, ErrorKind::Reused);
    assert_eq!(kind(stolen).await, ErrorKind::Gone);
    assert_eq!(kind(next.refresh_token.expose()).await, ErrorKind::Gone);
    let session = bench.sessions.authenticate(issued.session_token.expose(), &client()).await;
    assert_eq!(session.unwrap_err().kind(), ErrorKind::Gone);
    let wanted = ["session.issued", "session.rotated", "session.refresh_token_reused"];
    assert_eq!(bench.actions_of(issued.session.id()).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_logins_never_exceed_the_limit() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let bench = bench(&server.url(), SessionConfig::default()).await;
    bench.issue("crowd").await;
    let keys = keys(&server, "*:u:*");
    assert_eq!(keys.len(), 1);
    let logins = tokio::spawn({
        let sessions = bench.sessions.clone();
        async move {
            let tasks: Vec<_> = (0..200)
                .map(|_| {
                    let sessions = sessions.clone();
                    tokio::spawn(async move {
                        sessions.issue(Subject::user("crowd"), &client()).await.unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
    });
    let mut control = server.control();
    let (mut samples, mut most) = (0, 0);
    while !logins.is_finished() || samples == 0 {
        most = most.max(sessions_in(&mut control, &keys[0]));
        samples += 1;
        tokio::task::yield_now().await;
    }
    logins.await.unwrap();
    assert!(most <= 5, "{most} sessions at once");
    assert_eq!(sessions_in(&mut control, &keys[0]), 5);
}

fn sessions_in(control: &mut Control, key: &str) -> usize {
    let Reply::List(fields) = control.command(&["HKEYS", key]).unwrap() else { return 0 };
    fields.iter().filter(|field| field.text().starts_with("s:")).count()
}

fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    let Reply::List(keys) = server.command(&["KEYS", pattern]) else { return Vec::new() };
    keys.iter().map(|key| key.text().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_of_life_in_flight_never_brings_back_a_revoked_session() {
    let Some(server) = shared() else { return };
    // A timeout this short makes every other check note its use.
    let config = SessionConfig {
        timeout: Duration::from_secs(2),
        access_token_lifetime: Duration::from_secs(1),
        grace: Duration::from_secs(1),
        ..SessionConfig::default()
    };
    let bench = bench(&server.url(), config).await;
    for round in 0..20 {
        let issued = bench.issue(&format!("user-{round}")).await;
        let barrier = Arc::new(Barrier::new(9));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (sessions, barrier) = (bench.sessions.clone(), Arc::clone(&barrier));
                let (token, refresh) = (issued.session_token.clone(), issued.refresh_token.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    for _ in 0..10 {
                        let _ = sessions.authenticate(token.expose(), &client()).await;
                        let _ = sessions.rotate(refresh.expose(), &client()).await;
                    }
                })
            })
            .collect();
        barrier.wait().await;
        assert!(bench.sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
        for task in tasks {
            task.await.unwrap();
        }
        let error = bench.sessions.authenticate(issued.session_token.expose(), &client()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Gone);
    }
}

#[tokio::test]
async fn use_is_noted_and_an_idle_session_ends_by_the_servers_clock() {
    let Some(server) = shared() else { return };
    let config = SessionConfig {
        timeout: Duration::from_secs(1),
        access_token_lifetime: Duration::from_secs(1),
        grace: Duration::ZERO,
        ..SessionConfig::default()
    };
    let bench = bench(&server.url(), config).await;
    let issued = bench.issue("idle").await;
    let token = issued.session_token.expose();
    // Busy for longer than the idle timeout.
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        bench.sessions.authenticate(token, &client()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("the idle session ends", Duration::from_secs(10), async || {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let answer = bench.sessions.authenticate(token, &client()).await;
        answer.is_err_and(|error| error.kind() == ErrorKind::Expired)
    })
    .await;
    assert_eq!(bench.actions_of(issued.session.id()).await, ["session.issued", "session.expired"]);
}

#[tokio::test]
async fn redis_down_is_unavailable_and_redis_back_works_without_a_restart() {
    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let issued = bench.issue("alice").await;
    server.kill();
    let token = issued.session_token.expose();
    let down = bench.sessions.authenticate(token, &client()).await.unwrap_err();
    assert_eq!((down.kind(), down.is_retryable()), (ErrorKind::Unavailable, true));
    let down = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap_err();
    assert_eq!(down.kind(), ErrorKind::Unavailable);
    assert_eq!(bench.sessions.health().check().await.status.as_str(), "fail");
    // What needs no store goes on.
    assert!(bench.sessions.authenticate_access(issued.access_token.expose()).is_ok());
    server.restart();
    eventually("sessions work again", Duration::from_secs(30), async || {
        bench.sessions.issue(Subject::user("alice"), &client()).await.is_ok()
    })
    .await;
    // The server came back empty, without scripts: the old session is gone, not in doubt.
    let gone = bench.sessions.authenticate(token, &client()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_costs_one_trip_more() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let issued = bench.issue("alice").await;
    server.command(&["SCRIPT", "FLUSH"]);
    let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    assert_eq!(rotated.verdict, Verdict::Rotated);
    assert!(bench.sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
}

#[tokio::test]
async fn a_dump_of_redis_holds_no_token_user_address_or_agent() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&["--rdbcompression", "no"]);
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let user = "carol-the-user@example.org";
    let issued = bench.issue(user).await;
    let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    server.command(&["SAVE"]);
    let Reply::List(directory) = server.command(&["CONFIG", "GET", "dir"]) else { return };
    let dump = std::fs::read(format!("{}/dump.rdb", directory[1].text())).unwrap();
    let contains = |needle: &[u8]| dump.windows(needle.len()).any(|window| window == needle);
    assert!(contains(issued.session.id().to_string().as_bytes()), "the dump holds the session");
    let mut secrets =
        vec![user.to_owned(), FIREFOX.to_owned(), "192.0.2.77".to_owned(), "admin".into()];
    for token in [
        issued.session_token.expose(),
        issued.refresh_token.expose(),
        issued.access_token.expose(),
        rotated.refresh_token.expose(),
    ] {
        secrets.push(token.to_owned());
    }
    for secret in &secrets {
        assert!(!contains(secret.as_bytes()), "{secret}");
    }
    // Nor the secret parts of tokens as bytes: the last 48 and 32 before and with their tags.
    let raw = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    assert!(!contains(&raw(issued.session_token.expose())[39..55]));
    assert!(!contains(&raw(rotated.refresh_token.expose())[43..75]));
    assert!(!contains(&raw(issued.refresh_token.expose())[43..75]));
}

#[tokio::test]
async fn whoever_writes_to_redis_cannot_lengthen_move_or_make_a_session() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let (alice, mallory) = (bench.issue("alice").await, bench.issue("mallory").await);
    let kind = async |bench: &Bench, issued: &watchdog_session::Issued| {
        let token = issued.session_token.expose();
        bench.sessions.authenticate(token, &client()).await.err().map(|error| error.kind())
    };
    let key_of = |issued: &watchdog_session::Issued| {
        let field = format!("s:{}", issued.session.id());
        let all = keys(&server, "*:u:*");
        let has = |key: &String| server.command(&["HEXISTS", key, &field]).text() == "1";
        (all.into_iter().find(has).unwrap(), field)
    };
    let ((victim, victim_field), (own, own_field)) = (key_of(&alice), key_of(&mallory));
    let edit = |key: &str, field: &str, lua: &str| {
        let script = format!(
            "local r = redis.call('HGET', KEYS[1], ARGV[1]); {lua}; \
             redis.call('HSET', KEYS[1], ARGV[1], r)"
        );
        server.command(&["EVAL", &script, "2", key, &victim, field, &victim_field]);
    };
    let original = "redis.call('SET', 'keep', r)";
    edit(&own, &own_field, original);
    let restore = "r = redis.call('GET', 'keep')";
    assert_eq!(kind(&bench, &mallory).await, None);
    let attacks = [
        // Her own header before the sealed part of the victim: becoming alice.
        "r = string.sub(r, 1, 202) .. string.sub(redis.call('HGET', KEYS[2], ARGV[2]), 203)",
        // A later absolute deadline, an earlier birth, a longer idle timeout.
        "r = string.sub(r, 1, 12) .. struct.pack('>I8', 9e12) .. string.sub(r, 21)",
        "r = string.sub(r, 1, 4) .. struct.pack('>I8', 1) .. string.sub(r, 13)",
        "r = string.sub(r, 1, 28) .. struct.pack('>I8', 9e12) .. string.sub(r, 37)",
        // One byte of the sealed part.
        "r = string.sub(r, 1, -2) .. string.char((string.byte(r, -1) + 1) % 256)",
    ];
    for attack in attacks {
        edit(&own, &own_field, attack);
        assert_eq!(kind(&bench, &mallory).await, Some(ErrorKind::Invalid), "{attack}");
        edit(&own, &own_field, restore);
    }
    edit(&own, &own_field, "r = redis.call('HGET', KEYS[2], ARGV[2])");
    assert_eq!(kind(&bench, &mallory).await, Some(ErrorKind::Invalid));
    edit(&own, &own_field, "r = 'short'");
    assert_eq!(kind(&bench, &mallory).await, Some(ErrorKind::Internal));
    edit(&own, &own_field, restore);
    assert_eq!(kind(&bench, &mallory).await, None);
    // What the documentation says remains possible: moving on the last use.
    edit(
        &own,
        &own_field,
        "r = string.sub(r, 1, 20) .. struct.pack('>I8', 9e12) .. string.sub(r, 29)",
    );
    assert_eq!(kind(&bench, &mallory).await, None);
    assert_eq!(kind(&bench, &alice).await, None);
}

/// The stamp that a revocation of all sessions of a user leaves: a newer release may write it.
#[tokio::test]
async fn a_not_before_stamp_revokes_what_is_older_and_nothing_newer() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let old = bench.issue("alice").await;
    let key = keys(&server, "*:u:*").remove(0);
    let stamp = "local t = redis.call('TIME') redis.call('HSET', KEYS[1], 'e', \
                 string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)))";
    server.command(&["EVAL", stamp, "1", &key]);
    let error = bench.sessions.authenticate(old.session_token.expose(), &client()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Gone);
    let error = bench.sessions.rotate(old.refresh_token.expose(), &client()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Gone);
    assert!(!bench.sessions.revoke(&old.session, RevokeReason::Logout).await.unwrap());
    let new = bench.issue("alice").await;
    assert!(bench.sessions.authenticate(new.session_token.expose(), &client()).await.is_ok());
    assert_eq!(sessions_in(&mut server.control(), &key), 1);
}

/// A setting may have been longer once: whatever any process issued has to stay revoked.
#[tokio::test]
async fn the_stamp_for_everybody_outlives_sessions_of_every_lifetime() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let keyring = watchdog_core::KeyRing::ephemeral().unwrap();
    let living = |max_lifetime| {
        let store = Arc::new(watchdog_session::RedisStore::new(redis.clone()));
        let config = SessionConfig { max_lifetime, ..SessionConfig::default() };
        watchdog_session::Sessions::builder(&keyring).config(config).store(store).build().unwrap()
    };
    let (before, now) = (living(hours(30 * 24)), living(hours(1)));
    let old = before.issue(Subject::user("alice"), &client()).await.unwrap();
    now.revoke_everybody(RevokeReason::Administrator, &client()).await.unwrap();
    let key = keys(&server, "*:u:*").remove(0);
    let bucket = &key[key.find('{').unwrap()..=key.find('}').unwrap()];
    let stamp = keys(&server, "*:g:*").into_iter().find(|key| key.ends_with(bucket)).unwrap();
    let life = u128::from(server.command(&["PTTL", &stamp]).text().parse::<u64>().unwrap());
    let least = MAX_LIFETIME.as_millis();
    assert!((least..=least + 60_000).contains(&life), "{life} ms");
    let refused = before.authenticate(old.session_token.expose(), &client()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Gone);
}

/// The first call of a process is by its own clock; Redis' own decides how long a session lives.
#[tokio::test]
async fn a_clock_that_is_ahead_does_not_lengthen_a_regenerated_session() {
    let Some(server) = shared() else { return };
    let redis = Redis::connect(&RedisConfig::from_url(&server.url()).unwrap()).await.unwrap();
    let keyring = watchdog_core::KeyRing::ephemeral().unwrap();
    let with = |clock: Arc<dyn watchdog_core::Clock>| {
        let store = Arc::new(watchdog_session::RedisStore::new(redis.clone()));
        let builder = watchdog_session::Sessions::builder(&keyring).clock(clock);
        builder.store(store).build().unwrap()
    };
    let ahead = watchdog_core::Clock::now(&SystemClock).checked_add(Duration::from_secs(3600));
    let (right, wrong) =
        (with(Arc::new(SystemClock)), with(Arc::new(ManualClock::new(ahead.unwrap()))));
    let issued = right.issue(Subject::user("alice"), &client()).await.unwrap();
    let login = Regeneration::reauthenticated();
    let again = wrong.regenerate(&issued.session, login, &client()).await.unwrap();
    let latest = issued.session.expires_at().checked_add(Duration::from_secs(60)).unwrap();
    assert!(again.session.expires_at() < latest, "{:?}", again.session);
    let token = again.session_token.expose();
    assert!(right.authenticate(token, &client()).await.is_ok());
}

#[tokio::test]
async fn every_user_key_has_a_time_to_live_and_events_leave() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let bench = bench(&server.url(), SessionConfig::default()).await;
    for user in 0..20 {
        let issued = bench.issue(&format!("user-{user}")).await;
        bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
        if user % 2 == 0 {
            bench.sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap();
        }
    }
    let all = keys(&server, "*:u:*");
    assert_eq!(all.len(), 20);
    for key in all {
        let ttl: u64 = server.command(&["PTTL", &key]).text().parse().unwrap();
        assert!((28_000_000..=28_860_000).contains(&ttl), "{ttl}");
    }
    bench.sessions.deliver_events().await.unwrap();
    assert_eq!(bench.sink.entries().len(), 50);
    for stream in keys(&server, "*:ev:*") {
        assert_eq!(server.command(&["XLEN", &stream]).text(), "0");
    }
}

#[tokio::test]
async fn an_evicting_server_is_a_warning() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let bench = bench(&server.url(), SessionConfig::default()).await;
    let report = bench.sessions.health().check().await;
    assert_eq!(report.status.as_str(), "warn");
    assert!(report.output.unwrap().contains("allkeys-lru"));
}
