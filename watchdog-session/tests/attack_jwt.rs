//! Attacks on access tokens through the public interface. The names carry the numbers of the
//! catalogue of attacks.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

#[path = "attack_jwt/forger.rs"]
mod forger;
#[path = "attack_jwt/rotation.rs"]
mod rotation;
#[path = "attack_jwt/spelling.rs"]
mod spelling;

use forger::{Forger, NOW, WAYS, Way, X, kind_of};
use serde_json::{Value, json};
use watchdog_session::{AccessVerifier, Client, ErrorKind, Sessions, Subject};

const INVALID: Option<ErrorKind> = Some(ErrorKind::Invalid);

/// Every verifier must refuse the token as one that was never issued.
fn refused(forger: &Forger, token: &str, what: &str) {
    for (name, verifier) in forger.verifiers() {
        assert_eq!(kind_of(&verifier.check(token, NOW)), INVALID, "{name}: {what}");
    }
    assert_eq!(kind_of(&forger.sessions.authenticate_access(token)), INVALID, "{what}");
}

/// What the others rest on: an unaltered token of the forger is accepted, so what an attack
/// changes is what it is refused for.
#[test]
fn the_forgers_unaltered_tokens_are_accepted() {
    let forger = Forger::new();
    for way in WAYS {
        let token = forger.sign(way, &forger.header_of(way), &forger.claims());
        assert_eq!(kind_of(&forger.sessions.verifier().check(&token, NOW)), None);
        let session = forger.sessions.authenticate_access(&token).unwrap();
        assert_eq!((session.user(), session.has_role("admin")), ("alice", true));
    }
}

/// T20, as far as it concerns access tokens: random, cut, bit-flipped, of another session, user or
/// environment. Nothing is asked of a store, so nothing can be revoked by guessing.
#[tokio::test]
async fn t20_altered_access_tokens_are_refused() {
    let (forger, other) = (Forger::new(), Forger::new());
    let issue = |sessions: Sessions, user: &'static str| async move {
        sessions.issue(Subject::user(user), &Client::unknown()).await.unwrap()
    };
    let alice = issue(forger.sessions.clone(), "alice").await;
    let bob = issue(forger.sessions.clone(), "bob").await;
    let text = alice.access_token.expose();
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut altered = text.as_bytes().to_vec();
            altered[at] ^= 1 << bit;
            refused(&forger, std::str::from_utf8(&altered).unwrap(), "a flipped bit");
        }
        refused(&forger, &text[..at], "a cut token");
    }
    // Parts of two genuine tokens do not make a third.
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (one, two) = (parts(text), parts(bob.access_token.expose()));
    for mixed in 1..7_usize {
        let part = |at: usize| if mixed >> at & 1 == 0 { &*one[at] } else { &*two[at] };
        let token = [part(0), part(1), part(2)].join(".");
        if token != text && token != bob.access_token.expose() {
            refused(&forger, &token, "a mixture");
        }
    }
    // The other environment has other secrets and the same Ed25519 key: its HS256 tokens are
    // strangers here, and so are those of a stranger's key.
    let strange = other.sign(Way::Hs256, &other.header_of(Way::Hs256), &other.claims());
    refused(&forger, &strange, "another environment");
    assert_eq!(forger.sessions.authenticate_access(text).unwrap().user(), "alice");
    let location = forger.sessions.verifier().check(text, NOW).unwrap().location();
    assert!(location.is_some());
}

/// T24: the published examples and vectors run on the layer below, `access::jws::vectors`. Here:
/// none of the RFCs' own tokens passes for an access token.
#[test]
fn t24_tokens_of_the_rfcs_are_no_access_tokens() {
    let forger = Forger::new();
    for token in [
        // RFC 7515, A.1.
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogI\
         mh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        // RFC 8037, A.4: by the very key that the verifiers hold.
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGc\
         vMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ] {
        refused(&forger, token, token);
    }
}

#[test]
fn t25_unsigned_tokens_are_refused() {
    let forger = Forger::new();
    for name in ["none", "NONE", "nOnE", "None", "", "null"] {
        for way in WAYS {
            let mut header = forger.header_of(way);
            header["alg"] = json!(name);
            let token = forger.sign(way, &header, &forger.claims());
            let unsigned = token.rsplit_once('.').unwrap().0;
            refused(&forger, &token, name);
            refused(&forger, &format!("{unsigned}."), name);
            refused(&forger, unsigned, name);
        }
    }
    // A genuine header over no signature, or one of zeros.
    for way in WAYS {
        let token = forger.sign(way, &forger.header_of(way), &forger.claims());
        let unsigned = token.rsplit_once('.').unwrap().0;
        for signature in ["", "AA", &"A".repeat(43), &"A".repeat(86)] {
            refused(&forger, &format!("{unsigned}.{signature}"), signature);
        }
    }
}

/// CVE-2015-9235 and its kin: the public key taken for a symmetric one.
#[test]
fn t26_a_public_key_is_no_secret() {
    let forger = Forger::new();
    let jwks = forger.sessions.jwks();
    let raw = forger::decode(X);
    let secrets: [&[u8]; 7] = [
        forger::PUBLIC_PEM.as_bytes(),
        forger::PUBLIC_PEM.trim_end().as_bytes(),
        &forger::public_der(),
        &raw,
        X.as_bytes(),
        &serde_json::to_vec(&jwks["keys"][0]).unwrap(),
        &serde_json::to_vec(&jwks).unwrap(),
    ];
    for secret in secrets {
        for mut header in [forger.header_of(Way::Hs256), forger.header_of(Way::EdDsa)] {
            for name in ["HS256", "EdDSA"] {
                header["alg"] = json!(name);
                let token = forger::hs256_under(secret, &header, &forger.claims());
                refused(&forger, &token, name);
            }
        }
    }
}

#[test]
fn t27_a_key_id_names_one_of_our_keys_or_nothing() {
    let forger = Forger::new();
    let long = "k".repeat(10_240);
    for id in [
        "",
        "0",
        "00000000",
        "../../../../dev/null",
        "/dev/null",
        "' UNION SELECT 'AAAA",
        "\u{0}",
        "\n\r\u{1b}[31m",
        "\u{202e}",
        "| id",
        "https://attacker.example/key",
        &long,
    ] {
        for way in WAYS {
            let mut header = forger.header_of(way);
            header["kid"] = json!(id);
            refused(&forger, &forger.sign(way, &header, &forger.claims()), id);
            header["kid"] = json!([id]);
            refused(&forger, &forger.sign(way, &header, &forger.claims()), id);
        }
    }
    // The name of a key of the other algorithm: with its own algorithm's name or the other's.
    let (hs, ed) = (forger.header_of(Way::Hs256), forger.header_of(Way::EdDsa));
    for (way, own, other) in [(Way::Hs256, &hs, &ed), (Way::EdDsa, &ed, &hs)] {
        for name in [&own["alg"], &other["alg"]] {
            let header = json!({ "alg": name, "typ": "at+jwt", "kid": other["kid"] });
            refused(&forger, &forger.sign(way, &header, &forger.claims()), "a key of another kind");
        }
    }
}

/// What asks a verifier to fetch a key, to bring one along, or to heed an extension.
#[test]
fn t28_a_header_brings_no_key_and_no_extension() {
    let forger = Forger::new();
    let members = [
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": X })),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("p2c", json!(2_000_000_000)),
        ("anything", Value::Null),
    ];
    for (name, value) in members {
        for way in WAYS {
            let mut header = forger.header_of(way);
            header[name] = value.clone();
            refused(&forger, &forger.sign(way, &header, &forger.claims()), name);
        }
    }
}

/// CVE-2026-25537 among others: a time that is not understood must not count as absent.
#[test]
fn t29_times_are_whole_numbers_and_all_there() {
    let forger = Forger::new();
    let seconds = NOW / 1000 + 60;
    let wrong = [
        format!("\"{seconds}\""),
        format!("{seconds}.0"),
        format!("{seconds}.5"),
        format!("[{seconds}]"),
        format!("{{\"a\":{seconds}}}"),
        "-1".into(),
        "-0".into(),
        "1e3".into(),
        "1e400".into(),
        "-1e400".into(),
        "9007199254740993".into(),
        "9223372036854775808".into(),
        "18446744073709551615".into(),
        "18446744073709551616".into(),
        "null".into(),
        "true".into(),
        "\"\"".into(),
        "[]".into(),
        "{}".into(),
        "NaN".into(),
        "Infinity".into(),
        "0x10".into(),
    ];
    for way in WAYS {
        for name in ["exp", "nbf", "iat", "auth_time", "iat_ms"] {
            for value in &wrong {
                let mut claims = forger.claims();
                claims[name] = json!("@");
                let claims = claims.to_string().replace("\"@\"", value);
                let token = forger.sign_claims(way, &claims);
                refused(&forger, &token, &format!("{name}: {value}"));
            }
            let mut claims = forger.claims();
            claims.as_object_mut().unwrap().remove(name);
            refused(&forger, &forger.sign(way, &forger.header_of(way), &claims), name);
        }
    }
}

/// A leeway is for clocks that differ. It never lengthens a life.
#[test]
fn t29_times_are_kept_to_the_millisecond() {
    let forger = Forger::new();
    let verifier = forger.sessions.verifier();
    let token = forger.sign(Way::EdDsa, &forger.header_of(Way::EdDsa), &forger.claims());
    let at = |now: u64| kind_of(&verifier.check(&token, now));
    assert_eq!(at(NOW - 5_000), None);
    assert_eq!(at(NOW - 5_001), INVALID);
    assert_eq!(at(NOW + 299_999), None);
    assert_eq!(at(NOW + 300_000), Some(ErrorKind::Expired));
    assert_eq!(at(0), INVALID);
    assert_eq!(at(u64::MAX), Some(ErrorKind::Expired));
    // Longer than any access token lives: revocations are not remembered for as long.
    let mut claims = forger.claims();
    claims["exp"] = json!(NOW / 1000 + 3600);
    let longest = forger.sign(Way::EdDsa, &forger.header_of(Way::EdDsa), &claims);
    assert_eq!(kind_of(&verifier.check(&longest, NOW)), None);
    claims["exp"] = json!(NOW / 1000 + 3601);
    refused(&forger, &forger.sign(Way::EdDsa, &forger.header_of(Way::EdDsa), &claims), "long life");
}

#[test]
fn t30_tokens_for_others_or_of_another_kind_are_refused() {
    let forger = Forger::new();
    let wrong = [
        ("iss", json!("issuer ")),
        ("iss", json!("ISSUER")),
        ("iss", json!(["issuer"])),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!("")),
        ("aud", json!(["audience"])),
        ("aud", json!(["audience", "other"])),
        ("aud", Value::Null),
        ("sub", json!(7)),
        ("sub", Value::Null),
        ("sid", json!("not an id")),
        ("sid", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("roles", json!("admin")),
        ("roles", json!([["admin"]])),
        ("jti", json!(1)),
        ("loc", json!("1024.00000000000000000000000000000000")),
        ("loc", json!(7)),
    ];
    for way in WAYS {
        for (name, value) in &wrong {
            let mut claims = forger.claims();
            claims[*name] = value.clone();
            refused(&forger, &forger.sign(way, &forger.header_of(way), &claims), name);
        }
        for name in ["iss", "aud", "sub", "sid", "roles", "jti"] {
            let mut claims = forger.claims();
            claims.as_object_mut().unwrap().remove(name);
            refused(&forger, &forger.sign(way, &forger.header_of(way), &claims), name);
        }
        // An ID token (OpenID Connect), a logout token, a DPoP proof; and spellings of ours.
        for typ in
            ["JWT", "jwt", "id_token+jwt", "logout+jwt", "dpop+jwt", "AT+JWT", "application/at+jwt"]
        {
            let mut header = forger.header_of(way);
            header["typ"] = json!(typ);
            refused(&forger, &forger.sign(way, &header, &forger.claims()), typ);
        }
        let mut header = forger.header_of(way);
        for name in ["typ", "kid", "alg"] {
            header.as_object_mut().unwrap().remove(name);
            refused(&forger, &forger.sign(way, &header, &forger.claims()), name);
        }
    }
}

#[tokio::test]
async fn t30_no_token_of_a_session_is_taken_for_another() {
    let forger = Forger::new();
    let client = Client::unknown();
    let issued = forger.sessions.issue(Subject::user("alice"), &client).await.unwrap();
    refused(&forger, issued.session_token.expose(), "a session token as access token");
    refused(&forger, issued.refresh_token.expose(), "a refresh token as access token");
    let access = issued.access_token.expose();
    assert_eq!(kind_of(&forger.sessions.authenticate(access, &client).await), INVALID);
    assert_eq!(kind_of(&forger.sessions.rotate(access, &client).await), INVALID);
    // None of it ended the session.
    let session = issued.session_token.expose();
    assert_eq!(kind_of(&forger.sessions.authenticate(session, &client).await), None);
}

/// CVE-2022-21449 is about ECDSA, which is not spoken here; Ed25519 has its own ways to be lax.
#[test]
fn t32_a_signature_has_one_form() {
    let forger = Forger::new();
    let token = forger.sign(Way::EdDsa, &forger.header_of(Way::EdDsa), &forger.claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = forger::decode(signature);
    let with = |bytes: &[u8]| format!("{signed}.{}", forger::encode(bytes));
    assert_eq!(with(&signature), token);
    refused(&forger, &with(&[0; 64]), "R = S = 0");
    refused(&forger, &with(&forger::plus_order(&signature)), "S + L");
    refused(&forger, &with(&signature[..63]), "63 bytes");
    refused(&forger, &with(&[&signature[..], &[0]].concat()), "65 bytes");
    let swapped = [&signature[32..], &signature[..32]].concat();
    refused(&forger, &with(&swapped), "S before R");
    let der = [&[0x30, 0x44, 2, 0x20], &signature[..32], &[2, 0x20], &signature[32..]].concat();
    refused(&forger, &with(&der), "DER");
    for name in ["ES256", "Ed448", "Ed25519", "PS256"] {
        let mut header = forger.header_of(Way::EdDsa);
        header["alg"] = json!(name);
        refused(&forger, &forger.sign(Way::EdDsa, &header, &forger.claims()), name);
    }
}

/// Under a key of small order anybody can sign. Such a key never becomes one of ours.
#[test]
fn t32_keys_of_small_order_are_refused() {
    for first in [0, 1, 0xec, 0xed, 0xee] {
        let rest = if first > 1 { 0xff } else { 0 };
        for last in [rest & 0x7f, rest | 0x80] {
            let mut point = [rest; 32];
            (point[0], point[31]) = (first, last);
            let x = forger::encode(&point);
            let set = json!({ "keys": [
                { "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "weak", "x": x },
            ]});
            let refused = AccessVerifier::from_jwks(&set.to_string(), "issuer", "audience");
            assert_eq!(kind_of(&refused), Some(ErrorKind::Config), "{point:?}");
        }
    }
}

/// The location in the token spares the search for the session: revoking takes one step, and it
/// is that session which ends.
#[tokio::test]
async fn a_session_known_by_its_access_token_is_revoked_by_it() {
    let forger = Forger::new();
    let client = Client::unknown();
    let issue = || forger.sessions.issue(Subject::user("alice"), &client);
    let (one, two) = (issue().await.unwrap(), issue().await.unwrap());
    let session = forger.sessions.authenticate_access(one.access_token.expose()).unwrap();
    let reason = watchdog_session::RevokeReason::Logout;
    assert!(forger.sessions.revoke(&session, reason).await.unwrap());
    assert!(!forger.sessions.revoke(&session, reason).await.unwrap());
    let state = |token: &str| {
        let token = token.to_owned();
        let sessions = forger.sessions.clone();
        async move { kind_of(&sessions.authenticate(&token, &Client::unknown()).await) }
    };
    assert_eq!(state(one.session_token.expose()).await, Some(ErrorKind::Gone));
    assert_eq!(state(two.session_token.expose()).await, None);
}
