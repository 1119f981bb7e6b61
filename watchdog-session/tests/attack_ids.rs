//! T3: what makes a session hard to guess is random, all of it.

use std::collections::HashSet;

use watchdog_core::KeyRing;
use watchdog_session::{Client, SessionId, Sessions, Subject, TokenKeys};

#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
fn how_many() -> usize {
    let is_long = std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1");
    if is_long { 1_000_000 } else { 100_000 }
}

/// All distinct; every bit as often set as not, and independent of its neighbour and of the same
/// bit in the value before. Six standard deviations: a sound generator fails once in a million
/// runs.
fn assert_random(values: &[[u8; 16]]) {
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len(), "a value stands twice");
    let bit = |value: &[u8; 16], at: usize| value[at / 8] >> (at % 8) & 1 == 1;
    let bound = 3.0 * (values.len() as f64).sqrt();
    let check = |what: &str, at: usize, count: usize| {
        let off = (count as f64 - values.len() as f64 / 2.0).abs();
        assert!(off < bound, "{what} {at}: {count} of {}", values.len());
    };
    for at in 0..128 {
        let next = (at + 1) % 128;
        check("bit", at, values.iter().filter(|value| bit(value, at)).count());
        let differs = |value: &&[u8; 16]| bit(value, at) != bit(value, next);
        check("neighbours", at, values.iter().filter(differs).count());
        let pairs = values.windows(2).filter(|pair| bit(&pair[0], at) != bit(&pair[1], at));
        check("successors", at, pairs.count());
    }
}

#[test]
fn t3_session_ids_are_random() {
    let ids: Vec<_> = (0..how_many()).map(|_| *SessionId::random().unwrap().as_bytes()).collect();
    assert_random(&ids);
}

/// 128 bits of secret in the session token, 256 in the refresh token: counted as bytes before
/// their encoding.
#[tokio::test]
async fn t3_the_secrets_of_tokens_are_random() {
    let ring = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&ring).build().unwrap();
    let keys = TokenKeys::new(&ring.secret).unwrap();
    let (mut secrets, mut ids) = (Vec::new(), Vec::new());
    let (mut first_halves, mut second_halves) = (Vec::new(), Vec::new());
    for at in 0..how_many() / 50 {
        let subject = Subject::user(format!("user-{}", at / 4));
        let issued = sessions.issue(subject, &Client::unknown()).await.unwrap();
        let session = keys.session_parts(issued.session_token.expose()).unwrap();
        let refresh = keys.refresh_parts(issued.refresh_token.expose()).unwrap();
        secrets.push(session.secret);
        ids.push(*issued.session.id().as_bytes());
        first_halves.push(*refresh.value.first_chunk::<16>().unwrap());
        second_halves.push(*refresh.value.last_chunk::<16>().unwrap());
    }
    for values in [&secrets, &ids, &first_halves, &second_halves] {
        assert_random(values);
    }
    // They are made apart: none of them is another's.
    let all: HashSet<_> =
        [secrets, ids, first_halves, second_halves].concat().into_iter().collect();
    assert_eq!(all.len(), how_many() / 50 * 4);
}

#[test]
fn t3_a_biased_source_would_be_noticed() {
    let biased = |change: fn(usize, &mut [u8; 16])| {
        let mut values: Vec<_> =
            (0..20_000).map(|_| *SessionId::random().unwrap().as_bytes()).collect();
        for (at, value) in values.iter_mut().enumerate() {
            change(at, value);
        }
        std::panic::catch_unwind(|| assert_random(&values)).is_err()
    };
    assert!(!biased(|_, _| {}));
    assert!(biased(|_, value| value[6] = value[6] & 0x0f | 0x40), "a UUID of version 4");
    assert!(biased(|at, value| value[15] = at as u8), "a counter");
    assert!(biased(|at, value| value[..8].copy_from_slice(&at.to_be_bytes())), "a clock");
    assert!(biased(|at, value| value[..at % 2 * 16].fill(at as u8)), "one in two repeats");
}
