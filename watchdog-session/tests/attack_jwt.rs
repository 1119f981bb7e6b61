//! Attacks on access tokens through the public interface. The names carry the numbers of the
//! catalogue of attacks.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

#[path = "attack_jwt/forger.rs"]
mod forger;

use forger::{Forger, NOW, PEM, WAYS, Way, X, kind_of};
use serde_json::{Value, json};
use watchdog_core::{KeyRing, RootKeys, Secret};
use watchdog_session::{AccessVerifier, Client, ErrorKind, SessionConfig, Sessions, Subject};

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

#[test]
fn t31_a_token_has_one_spelling() {
    let forger = Forger::new();
    for way in WAYS {
        let token = forger.sign(way, &forger.header_of(way), &forger.claims());
        let parts: Vec<_> = token.split('.').collect();
        for at in 0..3 {
            let spelt = |part: String| {
                let mut parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                parts[at] = part;
                parts.join(".")
            };
            let part = parts[at];
            for wrong in [
                format!("{part}="),
                format!("{part}=="),
                format!(" {part}"),
                format!("{part} "),
                format!("{part}\n"),
                format!("{part}\t"),
                format!("{part}\0"),
                format!("{part}?"),
                format!("{part}A"),
                format!("{part}%3D"),
                format!("\u{feff}{part}"),
                String::new(),
            ] {
                refused(&forger, &spelt(wrong.clone()), &wrong);
            }
            // Unused bits of the last character: other spellings of the same bytes.
            if part.len() % 4 != 0 {
                for other in forger::same_bytes(part) {
                    refused(&forger, &spelt(other), "unused bits");
                }
            }
        }
        let standard = token.replace('-', "+").replace('_', "/");
        if standard != token {
            refused(&forger, &standard, "the other alphabet");
        }
        for odd in [
            format!("{token}."),
            format!(".{token}"),
            format!("{token}.{}", parts[2]),
            format!("Bearer {token}"),
            token.replacen('.', "..", 1),
            token.replace('.', " "),
            ".".into(),
            "..".into(),
            "...".into(),
            String::new(),
        ] {
            refused(&forger, &odd, &odd);
        }
        // The JSON serialisation of RFC 7515, section 7.2.
        let [header, payload, signature] = [parts[0], parts[1], parts[2]];
        let json = json!({ "protected": header, "payload": payload, "signature": signature });
        refused(&forger, &json.to_string(), "JSON serialisation");
        refused(&forger, &"a.".repeat(5_000_000), "10 MB");
    }
}

#[test]
fn t31_no_member_stands_twice_and_nothing_stands_around_the_object() {
    let forger = Forger::new();
    for way in WAYS {
        let header = forger.header_of(way);
        let claims = forger.claims();
        let (header_text, claims_text) = (header.to_string(), claims.to_string());
        let wrap = |text: &str| {
            [
                format!("\u{feff}{text}"),
                format!(" {text}"),
                format!("{text}\n"),
                format!("{text}{text}"),
                format!("{text}\0"),
                format!("[{text}]"),
                text[1..].to_owned(),
                text[..text.len() - 1].to_owned(),
                text.replacen('{', "{,", 1),
                text.replace('}', ",}"),
                text.replace('"', "'"),
                text.replacen('{', "{/**/", 1),
            ]
        };
        for text in wrap(&header_text) {
            refused(&forger, &forger.sign_text(way, &text, &claims_text), &text);
        }
        for text in wrap(&claims_text) {
            refused(&forger, &forger.sign_text(way, &header_text, &text), &text);
        }
        for name in ["alg", "typ", "kid"] {
            let first = format!("{{\"{name}\":{},", header[name]);
            let text = header_text.replacen('{', &first, 1);
            refused(&forger, &forger.sign_text(way, &text, &claims_text), &text);
        }
        for name in ["sub", "aud", "exp", "roles", "loc", "of_a_later_release"] {
            let text = claims_text.replacen('{', &format!("{{\"{name}\":1,\"{name}\":1,"), 1);
            refused(&forger, &forger.sign_claims(way, &text), &text);
            let value = &claims[name];
            let escaped = format!("{{\"\\u00{:02x}{}\":{value},", name.as_bytes()[0], &name[1..]);
            let text = claims_text.replacen('{', &escaped, 1);
            if !value.is_null() {
                refused(&forger, &forger.sign_claims(way, &text), &text);
            }
        }
        // Once is fine: a later release may say more.
        let text = claims_text.replacen('{', "{\"of_a_later_release\":[1],", 1);
        let token = forger.sign_claims(way, &text);
        assert_eq!(kind_of(&forger.sessions.verifier().check(&token, NOW)), None);
        // Deep nesting ends before the stack does.
        let deep = format!("{{\"x\":{}1{},", "[".repeat(2500), "]".repeat(2500));
        let _ = forger
            .sessions
            .verifier()
            .check(&forger.sign_claims(way, &claims_text.replacen('{', &deep, 1)), NOW);
    }
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
