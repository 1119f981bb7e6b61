//! Against another implementation: what it makes is accepted here, what is made here it accepts.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use watchdog_core::Secret;

use super::*;
use crate::place::{Location, SessionId};

const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const NOW: u64 = 1_767_225_600_000;

fn roots() -> RootKeys {
    RootKeys::new(&Secret::from("0123456789abcdef0123456789abcdef"), &[]).unwrap()
}

fn keys(pem: Option<&str>) -> AccessKeys {
    let config =
        SessionConfig { access_token_key: pem.map(Secret::from), ..SessionConfig::default() };
    AccessKeys::new(&roots(), &config, "issuer", "audience").unwrap()
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
        loc: Some(Locus(Location { bucket: 5, user: [2; 16] })),
        acr: Some("urn:example:strong".into()),
    }
}

#[test]
fn another_implementation_agrees_in_both_directions() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let (id, secret) = roots().derive(PURPOSE).unwrap().remove(0);
    let pair = ed25519::pair_from_pem(&Secret::from(PEM)).unwrap();
    let der = pair.to_pkcs8().unwrap();
    let hs = (
        keys(None),
        Algorithm::HS256,
        id.to_string(),
        EncodingKey::from_secret(secret.expose()),
        DecodingKey::from_secret(secret.expose()),
    );
    let ed = (
        keys(Some(PEM)),
        Algorithm::EdDSA,
        PublicKey::of(&pair).unwrap().thumbprint(),
        EncodingKey::from_ed_der(der.as_ref()),
        DecodingKey::from_ed_components(X).unwrap(),
    );
    for (ours, algorithm, id, encoding, decoding) in [hs, ed] {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&["audience"]);
        let made = ours.mint(&claims()).unwrap();
        let read = jsonwebtoken::decode::<Claims>(made.expose(), &decoding, &validation).unwrap();
        assert_eq!(read.claims, claims());
        assert_eq!((read.header.kid, read.header.typ), (Some(id.clone()), Some(TYPE.into())));

        let mut header = Header::new(algorithm);
        (header.typ, header.kid) = (Some(TYPE.into()), Some(id));
        let made = jsonwebtoken::encode(&header, &claims(), &encoding).unwrap();
        assert_eq!(ours.check(&made, NOW).unwrap().claims, claims());
    }
}

#[test]
fn claims_come_out_as_they_went_in() {
    let keys = keys(Some(PEM));
    let checked = keys.check(keys.mint(&claims()).unwrap().expose(), NOW).unwrap();
    assert_eq!((checked.user(), checked.roles()), ("alice", &["admin".to_owned()][..]));
    assert!(checked.has_role("admin") && !checked.has_role("viewer"));
    assert_eq!(checked.session(), SessionId::from_bytes([1; 16]));
    assert_eq!(checked.location(), Some(Location { bucket: 5, user: [2; 16] }));
    assert_eq!(checked.issued_at().as_millisecond(), NOW as i64);
    assert_eq!((checked.issued_at_ms(), checked.token_id()), (NOW, "1"));
    assert_eq!(checked.expires_at().as_millisecond(), NOW as i64 + 300_000);
    assert_eq!(checked.auth_time().as_millisecond(), NOW as i64);
    assert_eq!(checked.level(), Some("urn:example:strong"));
}

/// What the release before this one made: no location, no level.
#[test]
fn tokens_of_the_release_before_are_accepted() {
    let keys = keys(Some(PEM));
    let (id, secret) = roots().derive(PURPOSE).unwrap().remove(0);
    let signer = SigningKey::hs256(secret.expose());
    let old = Claims { loc: None, acr: None, ..claims() };
    let payload = serde_json::to_string(&old).unwrap();
    assert!(!payload.contains("loc") && !payload.contains("acr"));
    let prefix = jws::prefix(&signer, TYPE, &id.to_string()).unwrap();
    let token = jws::seal(&signer, &prefix, payload.as_bytes()).unwrap();
    assert_eq!(keys.check(&token, NOW).unwrap().location(), None);
}

#[test]
fn no_key_shows_in_debug() {
    let keys = keys(Some(PEM));
    let shown = format!("{keys:?} {:?}", keys.verifier());
    assert!(shown.contains("EdDSA") && shown.contains("HS256"), "{shown}");
    assert!(!shown.contains("nWGx") && !shown.contains("9d61") && !shown.contains("157, 97"));
}

/// Nanoseconds a call; `cargo test --release … -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement, not a test; wants a release build"]
fn speed_of_access_tokens() {
    let time = |what: &str, run: &dyn Fn()| {
        let started = std::time::Instant::now();
        (0..20_000).for_each(|_| run());
        let line = format!("{what}: {} ns\n", started.elapsed().as_nanos() / 20_000);
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    };
    for (name, keys) in [("HS256", keys(None)), ("EdDSA", keys(Some(PEM)))] {
        let token = keys.mint(&claims()).unwrap();
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", "A".repeat(signature.len()));
        time(&format!("{name} mint"), &|| drop(keys.mint(&claims()).unwrap()));
        time(&format!("{name} check"), &|| drop(keys.check(token.expose(), NOW).unwrap()));
        time(&format!("{name} refuse"), &|| drop(keys.check(&forged, NOW).unwrap_err()));
    }
}
