use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::place::{Location, SessionId};

const A: &str = "0123456789abcdef0123456789abcdef";
const B: &str = "fedcba9876543210fedcba9876543210";

fn keys(current: &str, previous: &[&str]) -> TokenKeys {
    let previous: Vec<_> = previous.iter().map(|&secret| Secret::from(secret)).collect();
    TokenKeys::new(&RootKeys::new(&Secret::from(current), &previous).unwrap()).unwrap()
}

fn place() -> Place {
    let location = Location { bucket: 513, user: [7; 16] };
    Place { location, session: SessionId::from_bytes([9; 16]) }
}

fn session() -> SessionParts {
    SessionParts { place: place(), secret: [3; 16] }
}

#[test]
fn a_session_token_says_what_was_put_into_it() {
    let keys = keys(A, &[]);
    let token = keys.session_token(&session());
    assert_eq!(token.expose().len(), SESSION_TOKEN_CHARS);
    assert_eq!(keys.session_parts(token.expose()).unwrap(), session());
}

#[test]
fn a_refresh_token_says_what_was_put_into_it() {
    let keys = keys(A, &[]);
    let parts = keys.first_refresh(place()).unwrap();
    let token = keys.refresh_token(&parts).unwrap();
    assert_eq!(token.expose().len(), REFRESH_TOKEN_CHARS);
    assert_eq!(keys.refresh_parts(token.expose()).unwrap(), parts);
}

#[test]
fn every_flipped_bit_of_a_token_is_noticed() {
    let keys = keys(A, &[]);
    let session = keys.session_token(&session());
    let refresh = keys.refresh_token(&keys.first_refresh(place()).unwrap()).unwrap();
    for text in [session.expose(), refresh.expose()] {
        for bit in 0..text.len() * 8 {
            let mut altered = text.as_bytes().to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            let Ok(altered) = String::from_utf8(altered) else { continue };
            assert!(keys.session_parts(&altered).is_err(), "bit {bit}");
            assert!(keys.refresh_parts(&altered).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn one_kind_of_token_is_never_taken_for_the_other() {
    let keys = keys(A, &[]);
    let session = keys.session_token(&session());
    let refresh = keys.refresh_token(&keys.first_refresh(place()).unwrap()).unwrap();
    assert_eq!(keys.session_parts(refresh.expose()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(keys.refresh_parts(session.expose()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn only_the_one_canonical_spelling_is_accepted() {
    let keys = keys(A, &[]);
    let token = keys.session_token(&session());
    let text = token.expose();
    for wrong in
        [format!("{text}="), format!(" {text}"), text.replace(['-', '_'], "+"), format!("{text}A")]
    {
        if wrong != text {
            assert!(keys.session_parts(&wrong).is_err());
        }
    }
    // 71 bytes leave four unused bits in the last character: they must be zero.
    let mut last = text.as_bytes().to_vec();
    let end = last.len() - 1;
    last[end] += 1;
    assert!(keys.session_parts(std::str::from_utf8(&last).unwrap()).is_err());
}

#[test]
fn tokens_of_a_retired_key_live_until_the_key_leaves_the_list() {
    let old = keys(A, &[]);
    let token = old.session_token(&session());
    let refresh = old.refresh_token(&old.first_refresh(place()).unwrap()).unwrap();
    let during = keys(B, &[A]);
    assert!(during.session_parts(token.expose()).is_ok());
    let parts = during.refresh_parts(refresh.expose()).unwrap();
    // A chain stays with its key, so processes on both sides of a rotation agree.
    assert_eq!(during.successor(&parts).unwrap(), old.successor(&parts).unwrap());
    let after = keys(B, &[]);
    assert!(after.session_parts(token.expose()).is_err());
    assert!(after.refresh_parts(refresh.expose()).is_err());
}

#[test]
fn a_chain_is_one_sequence_without_repeats() {
    let keys = keys(A, &[]);
    let mut parts = keys.first_refresh(place()).unwrap();
    let mut seen = std::collections::HashSet::new();
    for generation in 0..1000 {
        assert_eq!(parts.generation, generation);
        assert!(seen.insert(parts.value));
        let next = keys.successor(&parts).unwrap();
        assert_eq!(next, keys.successor(&parts).unwrap());
        parts = next;
    }
    parts.generation = u32::MAX;
    assert_eq!(keys.successor(&parts).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn another_session_of_the_same_value_has_another_successor() {
    let keys = keys(A, &[]);
    let parts = keys.first_refresh(place()).unwrap();
    let mut other = parts;
    other.place.session = SessionId::from_bytes([10; 16]);
    assert_ne!(keys.successor(&parts).unwrap().value, keys.successor(&other).unwrap().value);
}

#[test]
fn no_token_and_no_part_shows_in_debug() {
    let keys = keys(A, &[]);
    let token = keys.session_token(&session());
    let refresh = keys.first_refresh(place()).unwrap();
    let shown = format!("{token:?} {:?} {refresh:?} {keys:?}", session());
    assert!(!shown.contains(token.expose()));
    assert!(!shown.contains("3, 3, 3"));
    assert!(!shown.contains(&format!("{:?}", refresh.value)));
}

proptest! {
    #[test]
    fn arbitrary_text_is_invalid_and_never_panics(text in ".{0,300}") {
        let keys = keys(A, &[]);
        prop_assert!(keys.session_parts(&text).is_err());
        prop_assert!(keys.refresh_parts(&text).is_err());
    }

    #[test]
    fn arbitrary_bytes_of_the_right_length_are_invalid(bytes: [u8; 32], more in prop::collection::vec(any::<u8>(), 64)) {
        let keys = keys(A, &[]);
        let all: Vec<u8> = std::iter::once(VERSION).chain(bytes).chain(more).collect();
        prop_assert!(keys.session_parts(&URL_SAFE_NO_PAD.encode(&all[..SESSION_BYTES])).is_err());
        prop_assert!(keys.refresh_parts(&URL_SAFE_NO_PAD.encode(&all[..REFRESH_BYTES])).is_err());
    }
}

#[test]
fn a_long_message_is_labelled_as_a_short_one_is() {
    for length in [0, 1, 100, 126, 127, 128, 129, 300] {
        let (one, other) = (vec![1; length], vec![2; 7]);
        let wanted = [b"label\0".as_slice(), &one, &other].concat();
        assert_eq!(*labelled(b"label", &[&one, &other]), *wanted, "{length}");
        let wanted = [b"label\0".as_slice(), &other, &one].concat();
        assert_eq!(*labelled(b"label", &[&other, &one]), *wanted, "{length}");
    }
}
