//! Session ids and tokens: fixed by an attacker, guessed, forged, malformed.

use std::collections::HashSet;

use watchdog_session::testing::{random_location, time_of};
use watchdog_session::{
    ErrorKind, Place, RefreshParts, SessionConfig, SessionId, SessionParts, Sessions, TokenKeys,
};
use watchdog_storage::testing::redis::{RedisServer, is_available, shared};

use crate::rig::{Dice, Rig, client, is_long, sessions_in};

/// A cookie that the attacker chose, even one that our own key signed, is never adopted.
#[tokio::test]
async fn t01_an_unknown_session_id_is_never_adopted() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let issued = rig.issue("victim").await;
    let place = Place { session: SessionId::random().unwrap(), ..rig.place(&issued) };
    let planted = rig.tokens.session_token(&SessionParts { place, secret: [7; 16] });
    let answer = rig.sessions.authenticate(planted.expose(), &client()).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Gone);
    let refresh = rig.tokens.first_refresh(place).unwrap();
    let refresh = rig.tokens.refresh_token(&refresh).unwrap();
    let answer = rig.sessions.rotate(refresh.expose(), &client()).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Gone);
    let held = sessions_in(&mut server.control(), &rig.users_key(place));
    assert_eq!(held, [issued.session.id().to_string()].into());
    // The right id with another secret.
    let place = rig.place(&issued);
    let planted = rig.tokens.session_token(&SessionParts { place, secret: [7; 16] });
    let answer = rig.sessions.authenticate(planted.expose(), &client()).await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Invalid);
    // A place where nobody lives yet.
    let place = Place { location: random_location(), session: place.session };
    let planted = rig.tokens.session_token(&SessionParts { place, secret: [7; 16] });
    assert!(rig.sessions.authenticate(planted.expose(), &client()).await.is_err());
    assert!(sessions_in(&mut server.control(), &rig.users_key(place)).is_empty());
}

/// A login never takes over what the browser already holds: id and secrets are new, also for the
/// same user again and for another one.
#[tokio::test]
async fn t02_every_login_makes_a_new_id_and_new_tokens() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let mut seen = HashSet::new();
    for user in ["alice", "alice", "mallory", "alice"] {
        let issued = rig.issue(user).await;
        assert!(seen.insert(issued.session.id().to_string()));
        assert!(seen.insert(issued.session_token.expose().to_owned()));
        assert!(seen.insert(issued.refresh_token.expose().to_owned()));
        assert!(seen.insert(issued.access_token.expose().to_owned()));
    }
}

/// 100 000 ids and secrets, 10^6 with `WD_TEST_LONG=1`: no duplicate, each bit as often 0 as 1, as
/// many runs as chance makes, each byte equally often (NIST SP 800-22, tests 2.1 and 2.3). 128 bits
/// of them are secret.
#[test]
fn t03_ids_and_secrets_are_random() {
    let count: u32 = if is_long() { 1_000_000 } else { 100_000 };
    let mut seen = HashSet::new();
    let (mut ones, mut bytes, mut runs) = ([0_u32; 128], [0_u64; 256], 0_u64);
    let mut last = None;
    for _ in 0..count {
        let id = SessionId::random().unwrap();
        assert!(seen.insert(id), "a duplicate");
        for (at, byte) in id.as_bytes().iter().enumerate() {
            bytes[usize::from(*byte)] += 1;
            for bit in 0..8 {
                let is_one = byte >> bit & 1 == 1;
                ones[at * 8 + bit] += u32::from(is_one);
                runs += u64::from(last != Some(is_one));
                last = Some(is_one);
            }
        }
    }
    // Six standard deviations: one false alarm in 500 million for each figure.
    let total = f64::from(count) * 128.0;
    let close = |found: f64, wanted: f64, deviation: f64| (found - wanted).abs() < 6.0 * deviation;
    for (bit, ones) in ones.iter().enumerate() {
        let half = f64::from(count) / 2.0;
        assert!(
            close(f64::from(*ones), half, (f64::from(count) / 4.0).sqrt()),
            "bit {bit}: {ones}"
        );
    }
    let (runs, expected) = (runs as f64, f64::from(count) * 16.0 / 256.0);
    assert!(close(runs, total / 2.0, (total / 4.0).sqrt()), "{runs} runs in {total} bits");
    let chi: f64 = bytes.iter().map(|&found| (found as f64 - expected).powi(2) / expected).sum();
    assert!(close(chi, 255.0, (2.0_f64 * 255.0).sqrt()), "chi square {chi}");
}

/// The secret of a session token and the first value of a refresh chain, as issued.
#[tokio::test]
async fn t03_issued_tokens_hold_128_and_256_bits_that_nobody_else_has() {
    let keys = watchdog_core::KeyRing::ephemeral().unwrap();
    let (sessions, tokens) =
        (Sessions::builder(&keys).build().unwrap(), TokenKeys::new(&keys.secret).unwrap());
    let (mut secrets, mut values, mut ones) = (HashSet::new(), HashSet::new(), [0_u32; 384]);
    let count = 4_000;
    for user in 0..count {
        let user = watchdog_session::Subject::user(format!("user-{user}"));
        let issued = sessions.issue(user, &client()).await.unwrap();
        let SessionParts { secret, .. } =
            tokens.session_parts(issued.session_token.expose()).unwrap();
        let RefreshParts { value, .. } =
            tokens.refresh_parts(issued.refresh_token.expose()).unwrap();
        for (at, byte) in secret.iter().chain(&value).enumerate() {
            (0..8).for_each(|bit| ones[at * 8 + bit] += u32::from(byte >> bit & 1));
        }
        assert!(secrets.insert(secret) && values.insert(value));
    }
    let deviation = (f64::from(count) / 4.0).sqrt();
    for (bit, ones) in ones.iter().enumerate() {
        let off = (f64::from(*ones) - f64::from(count) / 2.0).abs();
        assert!(off < 6.0 * deviation, "bit {bit}: {ones}");
    }
}

/// Everything somebody can do to a token without the key: refused without a command, nothing is
/// changed, nobody is logged out by it.
#[tokio::test]
async fn t20_no_forged_token_reaches_redis_or_ends_a_session() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let quiet = rig.peer(&server.url(), |_| ()).await;
    let (alice, bob) = (rig.issue("alice").await, rig.issue("bob").await);
    rig.sessions.deliver_events().await.unwrap();
    let elsewhere = Rig::start(&server.url(), SessionConfig::default()).await;
    let foreign = elsewhere.issue("alice").await;
    elsewhere.sessions.deliver_events().await.unwrap();
    let mut forged = Vec::new();
    let pairs = [
        (alice.session_token.expose(), bob.session_token.expose()),
        (alice.refresh_token.expose(), bob.refresh_token.expose()),
    ];
    for (own, other) in pairs {
        // Cut, lengthened, each character exchanged, spliced with another user's at each place.
        forged.extend((0..own.len()).map(|length| own[..length].to_owned()));
        forged.extend(["A", "=", " ", "\0", "\n"].map(|more| format!("{own}{more}")));
        forged.extend((0..own.len()).map(|at| {
            let new = if own.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{new}{}", &own[..at], &own[at + 1..])
        }));
        let spliced = (1..own.len()).map(|at| format!("{}{}", &own[..at], &other[at..]));
        forged.extend(spliced.filter(|spliced| spliced != own && spliced != other));
    }
    forged.push(foreign.session_token.expose().to_owned());
    forged.push(foreign.refresh_token.expose().to_owned());
    let mut dice = Dice::new(20);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for length in [95, 122, 95, 122] {
        let any = |_| char::from(alphabet[usize::try_from(dice.roll(64)).unwrap()]);
        forged.push((0..length).map(any).collect());
    }
    // The process has heard the server's time, so that only the tokens themselves can cost.
    quiet.rotate(bob.refresh_token.expose(), &client()).await.unwrap();
    let before = server.calls();
    for token in &forged {
        let errors = [
            quiet.authenticate(token, &client()).await.err(),
            quiet.rotate(token, &client()).await.err(),
        ];
        let kinds = errors.map(|error| error.map(|error| error.kind()));
        assert_eq!(kinds, [Some(ErrorKind::Invalid); 2], "{token}");
    }
    let mut after = server.calls();
    after.retain(|name, calls| name != "info" && before.get(name) != Some(calls));
    assert!(after.is_empty(), "{} tokens cost {after:?}", forged.len());
    for issued in [&alice, &bob] {
        let token = issued.session_token.expose();
        assert!(rig.sessions.authenticate(token, &client()).await.is_ok());
    }
    assert_eq!(rig.actions_of(alice.session.id()).await, ["session.issued"]);
    assert!(time_of(&*rig.store).await > 0);
}

/// Session tokens are no refresh tokens and no access tokens, and the other way round.
#[tokio::test]
async fn t20_a_token_of_one_kind_is_none_of_another() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let issued = rig.issue("alice").await;
    let (session, refresh) = (issued.session_token.expose(), issued.refresh_token.expose());
    let access = issued.access_token.expose();
    for token in [refresh, access] {
        assert!(rig.sessions.authenticate(token, &client()).await.is_err());
    }
    for token in [session, access] {
        assert!(rig.sessions.rotate(token, &client()).await.is_err());
    }
    for token in [session, refresh] {
        assert!(rig.sessions.authenticate_access(token).is_err());
    }
    assert!(rig.sessions.authenticate(session, &client()).await.is_ok());
}
