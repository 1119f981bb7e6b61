//! Separation of purposes, rotation, and values that other implementations computed.

use super::*;

const A: &str = "0123456789abcdef0123456789abcdef";
const B: &str = "fedcba9876543210fedcba9876543210";

fn roots(current: &str, previous: &[&str]) -> RootKeys {
    let previous: Vec<_> = previous.iter().map(|&secret| Secret::from(secret)).collect();
    RootKeys::new(&Secret::from(current), &previous).unwrap()
}

#[test]
fn a_short_secret_is_refused_without_being_shown() {
    let error = RootKeys::new(&Secret::from("hunter2"), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_doubled_secret_is_refused() {
    let error = RootKeys::new(&Secret::from(A), &[Secret::from(A)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
}

#[test]
fn purposes_are_separate() {
    let keys = roots(A, &[]);
    let (one, two) = (keys.mac("one").unwrap(), keys.mac("two").unwrap());
    assert_ne!(one.current(), two.current());
    assert_ne!(one.tag(b"message"), two.tag(b"message"));
}

#[test]
fn a_tag_of_a_retired_key_verifies_until_it_leaves_the_list() {
    let old = roots(A, &[]).mac("p").unwrap();
    let tag = old.tag(b"message");
    let id = old.current();
    assert!(roots(B, &[A]).mac("p").unwrap().verify(id, b"message", &tag));
    assert!(!roots(B, &[]).mac("p").unwrap().verify(id, b"message", &tag));
}

#[test]
fn a_cut_tag_verifies_down_to_sixteen_bytes() {
    let keys = roots(A, &[]).mac("p").unwrap();
    let tag = keys.tag(b"message");
    assert!(keys.verify(keys.current(), b"message", &tag[..16]));
    assert!(!keys.verify(keys.current(), b"message", &tag[..15]));
    assert!(!keys.verify(keys.current(), b"message", &[]));
}

#[test]
fn every_flipped_bit_of_a_sealed_value_is_noticed() {
    let keys = roots(A, &[]).cipher("p").unwrap();
    let sealed = keys.seal(b"here", b"value").unwrap();
    assert_eq!(keys.open(b"here", &sealed).unwrap(), b"value");
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(keys.open(b"here", &altered).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(keys.open(b"here", &sealed[..length]).is_err(), "length {length}");
    }
}

#[test]
fn a_sealed_value_opens_only_in_its_place() {
    let keys = roots(A, &[]).cipher("p").unwrap();
    let sealed = keys.seal(b"here", b"value").unwrap();
    assert_eq!(keys.open(b"there", &sealed).unwrap_err().kind(), ErrorKind::Unverified);
}

#[test]
fn a_context_of_any_length_is_bound_to_its_last_byte() {
    let keys = RootKeys::ephemeral().unwrap().cipher("test/v1").unwrap();
    for length in [0, 1, 58, 59, 60, 64, 1000] {
        let mut context = vec![7; length];
        let sealed = keys.seal(&context, b"value").unwrap();
        assert_eq!(keys.open(&context, &sealed).unwrap(), b"value", "{length}");
        if let Some(last) = context.last_mut() {
            *last ^= 1;
            keys.open(&context, &sealed).unwrap_err();
        }
        context.push(0);
        keys.open(&context, &sealed).unwrap_err();
    }
}

#[test]
fn equal_values_seal_differently() {
    let keys = roots(A, &[]).cipher("p").unwrap();
    assert_ne!(keys.seal(b"", b"value").unwrap(), keys.seal(b"", b"value").unwrap());
}

/// Computed with another implementation of RFC 5869, itself checked against its appendix A.1.
/// Whoever changes a derivation makes every stored token and sealed value worthless.
#[test]
fn derived_keys_are_what_they_always_were() {
    let derived = roots(A, &[]).derive("session/token/v1").unwrap();
    let (id, key) = &derived[0];
    assert_eq!(id.to_string(), "95f25561");
    assert_eq!(
        hex(key.expose()),
        "30796b7861075472394251da9439ce8f979ffe23fefafc0840d3e0f89f10f2a4"
    );
    assert_eq!(
        hex(&roots(A, &[]).mac("session/token/v1").unwrap().tag(b"message")),
        "8c0865a2fc6bc32a10d411ad19de15ca14532713b84d98fd2cdc95e7f3c6d510"
    );
}

/// Sealed by another implementation of AES-256-GCM.
#[test]
fn a_value_sealed_long_ago_opens() {
    let sealed = "0195f25561000102030405060708090a0b41886f2691542ba7aaf91966ecc42070615276bc71";
    let sealed: Vec<u8> = (0..sealed.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap())
        .collect();
    let keys = roots(A, &[]).cipher("session/token/v1").unwrap();
    assert_eq!(keys.open(b"here", &sealed).unwrap(), b"value");
    assert_eq!(sealed.len(), SEAL_OVERHEAD + b"value".len());
}

#[test]
fn a_new_secret_seals_and_a_retired_one_still_opens() {
    let old = roots(A, &[]).cipher("p").unwrap();
    let new = roots(B, &[A]).cipher("p").unwrap();
    let sealed = old.seal(b"", b"value").unwrap();
    assert_eq!(new.open(b"", &sealed).unwrap(), b"value");
    assert_ne!(new.current(), old.current());
    assert!(old.open(b"", &new.seal(b"", b"value").unwrap()).is_err());
    assert!(roots(B, &[]).cipher("p").unwrap().open(b"", &sealed).is_err());
}

#[test]
fn ephemeral_rings_differ() {
    let (one, two) = (KeyRing::ephemeral().unwrap(), KeyRing::ephemeral().unwrap());
    let tag = |keys: &RootKeys| keys.mac("p").unwrap().tag(b"message");
    assert_ne!(tag(&one.secret), tag(&two.secret));
    assert_ne!(tag(&one.secret), tag(&one.jwt));
    assert_ne!(tag(&one.jwt), tag(&one.encryption));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
