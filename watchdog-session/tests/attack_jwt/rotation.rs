//! T33: keys come and go, and tokens with them.

use serde_json::json;
use watchdog_core::{KeyRing, RootKeys, Secret};
use watchdog_session::{AccessVerifier, ErrorKind, SessionConfig, Sessions};

use super::INVALID;
use super::forger::{self, Forger, NOW, PEM, kind_of};

/// Two secrets one after the other: tokens of the first are accepted until it is dropped.
#[test]
fn t33_a_retired_secret_is_accepted_until_it_is_dropped() {
    let [old, new] = ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"];
    let ring = |current: &str, previous: &[&str]| {
        let previous: Vec<_> = previous.iter().map(|&secret| Secret::from(secret)).collect();
        RootKeys::new(&Secret::from(current), &previous).unwrap()
    };
    let verifier =
        |roots: &RootKeys| AccessVerifier::from_secret(roots, "issuer", "audience").unwrap();
    let before = Forger::with(ring(old, &[]), SessionConfig::default());
    let during = Forger::with(ring(new, &[old]), SessionConfig::default());
    let after = Forger::with(ring(new, &[]), SessionConfig::default());
    let made_before = before.issue();
    let made_during = during.issue();
    assert_eq!(kind_of(&during.sessions.authenticate_access(&made_before)), None);
    assert_eq!(kind_of(&verifier(&ring(new, &[old])).check(&made_before, NOW)), None);
    assert_eq!(kind_of(&after.sessions.authenticate_access(&made_before)), INVALID);
    assert_eq!(kind_of(&verifier(&ring(new, &[])).check(&made_before, NOW)), INVALID);
    // The new one signs as soon as it is there, so it has to be known before.
    assert_eq!(kind_of(&before.sessions.authenticate_access(&made_during)), INVALID);
    assert_eq!(kind_of(&after.sessions.authenticate_access(&made_during)), None);
}

/// Ed25519 keys one after the other, with a verifier that follows the published set.
#[test]
fn t33_a_retired_ed25519_key_is_accepted_until_it_is_dropped() {
    let (old, new) = (forger::pem(), forger::pem());
    let config = |current: &str, previous: &[&str]| SessionConfig {
        access_token_key: Some(current.into()),
        access_token_key_previous: previous.iter().map(|&pem| pem.into()).collect(),
        ..SessionConfig::default()
    };
    let build = |config| Forger::with(RootKeys::ephemeral().unwrap(), config);
    let before = build(config(&old, &[]));
    let known = build(config(&old, &[&forger::public_pem(&new)]));
    let during = build(config(&new, &[&forger::public_pem(&old)]));
    let after = build(config(&new, &[]));
    let (made_before, made_during) = (before.issue(), during.issue());

    let set = |forger: &Forger| forger.sessions.jwks().to_string();
    let verifier = AccessVerifier::from_jwks(&set(&before), "issuer", "audience").unwrap();
    let clone = verifier.clone();
    let check = |token: &str| kind_of(&clone.check(token, NOW));
    assert_eq!((check(&made_before), check(&made_during)), (None, INVALID));
    verifier.replace_keys(&set(&known)).unwrap();
    assert_eq!((check(&made_before), check(&made_during)), (None, None));
    verifier.replace_keys(&set(&during)).unwrap();
    assert_eq!((check(&made_before), check(&made_during)), (None, None));
    // What cannot be read changes nothing.
    for broken in ["", "{}", r#"{"keys":[]}"#] {
        assert_eq!(kind_of(&verifier.replace_keys(broken)), Some(ErrorKind::Config));
    }
    assert_eq!((check(&made_before), check(&made_during)), (None, None));
    verifier.replace_keys(&set(&after)).unwrap();
    assert_eq!((check(&made_before), check(&made_during)), (INVALID, None));

    let at = |forger: &Forger| kind_of(&forger.sessions.authenticate_access(&made_before));
    assert_eq!((at(&during), at(&after)), (None, INVALID));
}

/// From HS256 to Ed25519 and back, without refusing anybody.
#[test]
fn t33_a_change_of_algorithm_ends_no_token() {
    let roots = || RootKeys::new(&Secret::from("0123456789abcdef0123456789abcdef"), &[]).unwrap();
    let with_key = |key: Option<&str>, previous: &[&str]| SessionConfig {
        access_token_key: key.map(Into::into),
        access_token_key_previous: previous.iter().map(|&pem| pem.into()).collect(),
        ..SessionConfig::default()
    };
    let symmetric = Forger::with(roots(), SessionConfig::default());
    let asymmetric = Forger::with(roots(), with_key(Some(PEM), &[]));
    let back = Forger::with(roots(), with_key(None, &[PEM]));
    let [first, second, third] = [symmetric.issue(), asymmetric.issue(), back.issue()];
    let algorithm = |token: &str| forger::header(token)["alg"].clone();
    assert_eq!(
        [&first, &second, &third].map(|token| algorithm(token)),
        ["HS256", "EdDSA", "HS256"]
    );
    let accepts = |forger: &Forger, token: &str| forger.sessions.authenticate_access(token).is_ok();
    assert!(accepts(&asymmetric, &first));
    assert!(accepts(&back, &second) && accepts(&asymmetric, &third));
    assert!(!accepts(&symmetric, &second));
    // A verifier from the published set never takes a symmetric token.
    assert_eq!(symmetric.sessions.jwks(), json!({ "keys": [] }));
    for forger in [&asymmetric, &back] {
        let set = forger.sessions.jwks();
        assert_eq!(set["keys"].as_array().unwrap().len(), 1);
        let members = "alg crv kid kty use x";
        let names: Vec<_> = set["keys"][0].as_object().unwrap().keys().cloned().collect();
        let mut names = names;
        names.sort();
        assert_eq!(names.join(" "), members);
        let verifier = AccessVerifier::from_jwks(&set.to_string(), "issuer", "audience").unwrap();
        assert_eq!(kind_of(&verifier.check(&second, NOW)), None);
        assert_eq!(kind_of(&verifier.check(&first, NOW)), INVALID);
    }
    // Public keys are replaced, the secret stays.
    let mixed = asymmetric.sessions.verifier();
    let other = Forger::with(roots(), with_key(Some(&forger::pem()), &[]));
    mixed.replace_keys(&other.sessions.jwks().to_string()).unwrap();
    assert_eq!(kind_of(&mixed.check(&first, NOW)), None);
    assert_eq!(kind_of(&mixed.check(&second, NOW)), INVALID);
    assert!(accepts(&asymmetric, &second), "the sessions' own keys are untouched");
}

#[test]
fn t33_a_key_that_cannot_work_is_named_with_its_remedy() {
    let build = |config| {
        let keys = KeyRing::ephemeral().unwrap();
        let error = Sessions::builder(&keys).config(config).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let key = |pem: &str| SessionConfig {
        access_token_key: Some(pem.into()),
        ..SessionConfig::default()
    };
    for wrong in ["", "secret", &PEM.replace("BQYDK2Vw", "BQYDK2Vu"), forger::PUBLIC_PEM] {
        let error = build(key(wrong));
        assert!(error.contains("access_token_key:"), "{error}");
        assert!(error.contains("openssl genpkey -algorithm ed25519"), "{error}");
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
    for previous in [vec!["secret"], vec![PEM], vec![forger::PUBLIC_PEM]] {
        let previous = previous.into_iter().map(Into::into).collect();
        let error = build(SessionConfig { access_token_key_previous: previous, ..key(PEM) });
        assert!(error.contains("access_token_key_previous:"), "{error}");
    }
}
