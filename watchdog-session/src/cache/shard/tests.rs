use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::audit::Client;

use super::*;
use crate::place::SessionId;
use crate::record::{HEADER_BYTES, VERSION};

pub(in crate::cache) fn place(user: u8, session: u8) -> Place {
    let location = Location { bucket: u16::from(user), user: [user; 16] };
    Place { location, session: SessionId::from_bytes([session; 16]) }
}

pub(in crate::cache) fn known(place: Place) -> Known {
    let facts = Facts {
        id: place.session,
        user: "alice".into(),
        roles: Vec::new(),
        created_at: Timestamp::UNIX_EPOCH,
        auth_time: Timestamp::UNIX_EPOCH,
        idle_timeout: 1_000_000,
        label: None,
        level: None,
        origin: None,
        expires_at: Timestamp::UNIX_EPOCH,
        location: Some(place.location),
        issued_to: Client::unknown(),
    };
    let common = Common {
        version: VERSION,
        flags: 0,
        header_bytes: u16::try_from(HEADER_BYTES).unwrap(),
        created_at: 1,
        absolute_deadline: 1_000_000,
        last_seen: 1,
        idle_timeout: 1_000_000,
    };
    Known { place, facts: Arc::new(facts), common }
}

pub(in crate::cache) fn token(mark: u8) -> TokenText {
    [mark; SESSION_TOKEN_CHARS]
}

fn keep(shard: &mut Shard, user: u8, session: u8, until: Millis) {
    let place = place(user, session);
    let version = shard.begin(Instant::now()).unwrap();
    shard.keep(version, token(session), &known(place), until, 0);
}

fn has(shard: &mut Shard, user: u8, session: u8) -> bool {
    shard.find(place(user, session), &token(session), 0).is_some()
}

#[test]
fn exactly_the_token_finds_its_session_until_its_end() {
    let mut shard = Shard::new(8);
    keep(&mut shard, 1, 1, 100);
    let here = place(1, 1);
    assert_eq!(shard.find(here, &token(1), 99).unwrap().place, here);
    for bit in [0, 8 * SESSION_TOKEN_CHARS - 1] {
        let mut other = token(1);
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(shard.find(here, &other, 0).is_none());
    }
    assert!(shard.find(here, &token(1)[1..], 0).is_none());
    assert!(shard.find(place(1, 2), &token(1), 0).is_none());
    assert!(shard.find(place(2, 1), &token(1), 0).is_none());
    assert!(shard.find(here, &token(1), 100).is_none());
    assert_eq!(shard.len(), 0, "what is over is removed by whoever finds it");
}

#[test]
fn a_user_is_forgotten_with_all_sessions_and_nobody_else_is() {
    let mut shard = Shard::new(8);
    for (user, session) in [(1, 1), (1, 2), (2, 3)] {
        keep(&mut shard, user, session, 100);
    }
    shard.forget(place(1, 0).location);
    assert!(!has(&mut shard, 1, 1) && !has(&mut shard, 1, 2) && has(&mut shard, 2, 3));
    keep(&mut shard, 1, 1, 100);
    assert!(has(&mut shard, 1, 1));
    assert_eq!(shard.len(), 2);
    shard.clear(None);
    assert_eq!(shard.len(), 0);
    assert!(!has(&mut shard, 2, 3));
}

#[test]
fn an_answer_is_not_kept_when_anything_changed_meanwhile() {
    let mut shard = Shard::new(8);
    let changes: [fn(&mut Shard); 3] = [
        |shard| shard.forget(place(1, 1).location),
        |shard| shard.forget(place(9, 9).location),
        |shard| shard.clear(None),
    ];
    for change in changes {
        let version = shard.begin(Instant::now()).unwrap();
        change(&mut shard);
        shard.keep(version, token(1), &known(place(1, 1)), 100, 0);
        assert_eq!(shard.len(), 0);
    }
}

#[test]
fn a_closed_shard_keeps_nothing_until_it_opens() {
    let mut shard = Shard::new(8);
    let opens = Instant::now() + Duration::from_secs(60);
    shard.clear(Some(opens));
    // A shorter closing does not open it.
    shard.clear(Some(opens - Duration::from_secs(30)));
    shard.clear(None);
    assert_eq!(shard.begin(opens - Duration::from_millis(1)), None);
    assert!(shard.begin(opens).is_some());
}

#[test]
fn the_same_session_read_again_takes_no_second_place() {
    let mut shard = Shard::new(2);
    for until in 1..10 {
        keep(&mut shard, 1, 1, until);
    }
    assert_eq!(shard.len(), 1);
    assert!(shard.find(place(1, 1), &token(1), 8).is_some());
}

#[test]
fn a_full_shard_gives_up_what_was_not_found_lately() {
    let mut shard = Shard::new(4);
    for user in 1..=4 {
        keep(&mut shard, user, user, 100);
    }
    assert!(has(&mut shard, 1, 1) && has(&mut shard, 3, 3));
    keep(&mut shard, 5, 5, 100);
    keep(&mut shard, 6, 6, 100);
    assert_eq!(shard.len(), 4);
    let left: Vec<u8> = (1..=6).filter(|&user| has(&mut shard, user, user)).collect();
    assert_eq!(left, [1, 3, 5, 6]);
    // All were found: one goes all the same.
    keep(&mut shard, 7, 7, 100);
    assert_eq!(shard.len(), 4);
    assert!(has(&mut shard, 7, 7));
}

#[test]
fn it_never_holds_more_than_its_capacity() {
    let mut none = Shard::new(0);
    keep(&mut none, 1, 1, 100);
    assert_eq!(none.len(), 0);
    let mut shard = Shard::new(7);
    let mut random = 1_u32;
    for _ in 0..20_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = random.to_be_bytes();
        let (user, session) = (a % 20, b % 3);
        match c % 8 {
            0 => shard.forget(place(user, 0).location),
            1 => drop(shard.find(place(user, session), &token(session), 200)),
            2..=4 => drop(shard.find(place(user, session), &token(session), 0)),
            _ => keep(&mut shard, user, session, 100),
        }
        assert!(shard.len() <= 7);
        let indexed: usize = shard.users.values().map(Vec::len).sum();
        assert_eq!(indexed, shard.len());
    }
}
