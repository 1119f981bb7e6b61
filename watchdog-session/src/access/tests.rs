use aws_lc_rs::hmac;
use serde_json::{Value, json};
use watchdog_core::Secret;

use super::*;

const A: &str = "0123456789abcdef0123456789abcdef";
const B: &str = "fedcba9876543210fedcba9876543210";
const NOW: u64 = 1_767_225_600_000;

fn roots(current: &str, previous: &[&str]) -> RootKeys {
    let previous: Vec<_> = previous.iter().map(|&secret| Secret::from(secret)).collect();
    RootKeys::new(&Secret::from(current), &previous).unwrap()
}

fn keys() -> AccessKeys {
    AccessKeys::new(&roots(A, &[]), "issuer", "audience").unwrap()
}

fn claims() -> Claims {
    let seconds = NOW / 1000;
    Claims {
        iss: "issuer".into(),
        aud: "audience".into(),
        sub: "alice".into(),
        sid: SessionId::from_bytes([1; 16]),
        roles: vec!["admin".into()],
        iat: seconds,
        nbf: seconds,
        exp: seconds + 300,
        jti: "1".into(),
        auth_time: seconds,
        iat_ms: NOW,
    }
}

/// A token with any header and claims, properly signed with our key.
fn signed(header: &str, claims: &str) -> String {
    let key = roots(A, &[]).derive(PURPOSE).unwrap().remove(0).1;
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn header() -> Value {
    let kid = roots(A, &[]).derive(PURPOSE).unwrap()[0].0.to_string();
    json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid })
}

fn claims_json() -> Value {
    serde_json::to_value(claims()).unwrap()
}

fn kind(token: &str) -> Option<ErrorKind> {
    keys().check(token, NOW).err().map(|error| error.kind())
}

#[test]
fn what_was_minted_is_accepted_until_it_expires() {
    let token = keys().mint(&claims()).unwrap();
    assert_eq!(keys().check(token.expose(), NOW).unwrap(), claims());
    assert!(keys().check(token.expose(), NOW + 299_999).is_ok());
    let late = keys().check(token.expose(), NOW + 300_000).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Expired);
    assert!(keys().check(token.expose(), NOW - 5_000).is_ok());
    let early = keys().check(token.expose(), NOW - 6_000).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Invalid);
    // The hand-made token of the other tests is accepted as such: what they change is what counts.
    assert_eq!(kind(&signed(&header().to_string(), &claims_json().to_string())), None);
}

#[test]
fn headers_that_are_not_exactly_ours_are_refused() {
    let mutations: [(&str, Value); 15] = [
        ("alg", json!("none")),
        ("alg", json!("nOnE")),
        ("alg", json!("HS384")),
        ("alg", json!("RS256")),
        ("alg", json!("EdDSA")),
        ("typ", json!("JWT")),
        ("typ", json!("dpop+jwt")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("00000000")),
        ("kid", json!("x".repeat(5000))),
        ("kid", Value::Null),
        ("jku", json!("https://attacker.example/keys")),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("crit", json!(["b64"])),
    ];
    for (name, value) in mutations {
        let mut header = header();
        header[name] = value;
        let token = signed(&header.to_string(), &claims_json().to_string());
        assert_eq!(kind(&token), Some(ErrorKind::Invalid), "{header}");
    }
    let doubled = header().to_string().replace('{', r#"{"alg":"none","#);
    assert_eq!(kind(&signed(&doubled, &claims_json().to_string())), Some(ErrorKind::Invalid));
    for missing in ["alg", "typ", "kid"] {
        let mut header = header();
        header.as_object_mut().unwrap().remove(missing);
        let token = signed(&header.to_string(), &claims_json().to_string());
        assert_eq!(kind(&token), Some(ErrorKind::Invalid), "without {missing}");
    }
}

#[test]
fn times_that_are_not_whole_seconds_are_refused() {
    let wrong = [
        json!("1767225900"),
        json!(1_767_225_900.5),
        json!(-1),
        Value::Null,
        json!([1]),
        json!({}),
        json!(true),
        json!(1e300),
    ];
    for name in ["exp", "nbf", "iat"] {
        for value in &wrong {
            let mut claims = claims_json();
            claims[name] = value.clone();
            let token = signed(&header().to_string(), &claims.to_string());
            assert_eq!(kind(&token), Some(ErrorKind::Invalid), "{name} {value}");
        }
        let mut claims = claims_json();
        claims.as_object_mut().unwrap().remove(name);
        let token = signed(&header().to_string(), &claims.to_string());
        assert_eq!(kind(&token), Some(ErrorKind::Invalid), "without {name}");
    }
}

#[test]
fn another_issuer_audience_or_a_doubled_claim_is_refused() {
    for (name, value) in [
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("aud", json!(["audience"])),
        ("sub", json!(7)),
        ("sid", json!("not an id")),
        ("roles", json!("admin")),
    ] {
        let mut claims = claims_json();
        claims[name] = value;
        let token = signed(&header().to_string(), &claims.to_string());
        assert_eq!(kind(&token), Some(ErrorKind::Invalid), "{name}");
    }
    let doubled = claims_json().to_string().replacen('{', r#"{"sub":"mallory","#, 1);
    assert_eq!(kind(&signed(&header().to_string(), &doubled)), Some(ErrorKind::Invalid));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let token = keys().mint(&claims()).unwrap();
    let text = token.expose();
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut altered = text.as_bytes().to_vec();
            altered[at] ^= 1 << bit;
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(kind(&altered), Some(ErrorKind::Invalid), "byte {at} bit {bit}");
        }
        assert_eq!(kind(&text[..at]), Some(ErrorKind::Invalid), "length {at}");
    }
    for odd in ["", ".", "..", "...", &format!("{text}."), &format!("{text}="), &"a.".repeat(9000)]
    {
        assert_eq!(kind(odd), Some(ErrorKind::Invalid));
    }
    let unsigned = format!("{}.", text.rsplit_once('.').unwrap().0);
    assert_eq!(kind(&unsigned), Some(ErrorKind::Invalid));
}

#[test]
fn tokens_of_a_retired_key_live_until_the_key_leaves_the_list() {
    let token = keys().mint(&claims()).unwrap();
    let during = AccessKeys::new(&roots(B, &[A]), "issuer", "audience").unwrap();
    assert!(during.check(token.expose(), NOW).is_ok());
    let fresh = during.mint(&claims()).unwrap();
    assert_eq!(kind(fresh.expose()), Some(ErrorKind::Invalid));
    let after = AccessKeys::new(&roots(B, &[]), "issuer", "audience").unwrap();
    assert!(after.check(token.expose(), NOW).is_err());
    assert!(!format!("{after:?} {token:?}").contains(token.expose()));
}
