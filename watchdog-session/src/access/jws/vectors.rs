//! Published examples and vectors, on the layer below claims: bytes, a key, a signature.
//!
//! The examples of the RFCs stand here. Project Wycheproof's files (`testvectors_v1` of its
//! repository, Apache-2.0) are read from the directory that `WD_TEST_WYCHEPROOF` names, and left
//! out without it.

use std::io::Write as _;

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use serde_json::Value;

use super::*;
use crate::access::ed25519::PublicKey;
use crate::access::key_set::KeySet;

fn bytes(base64url: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

fn hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn eddsa(public: &[u8]) -> VerifyingKey {
    VerifyingKey::EdDsa(ParsedPublicKey::new(&ED25519, public).unwrap())
}

fn opens(token: &str, key: &VerifyingKey) -> bool {
    open(token, |_| Ok(key)).is_ok()
}

/// RFC 7515, appendix A.1: HS256, with white space within header and claims.
const RFC7515_A1: (&str, &str) = (
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0\
     dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
);

/// RFC 7515, appendix A.5: the same claims, unsigned.
const RFC7515_A5: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0d\
     HA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

/// RFC 7520, section 4.4: HS256 with a key id.
const RFC7520_4_4: (&str, &str) = (
    "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9.SXTigJlzIGE\
     gZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9\
     hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1\
     pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
);

/// RFC 8037, appendix A: `d`, `x`, thumbprint, token.
const RFC8037_A: [&str; 4] = [
    "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvM\
     g3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
];

#[test]
fn the_examples_of_the_rfcs_verify_and_altered_ones_do_not() {
    let [_, x, _, signed] = RFC8037_A;
    let examples = [
        (RFC7515_A1.1, VerifyingKey::hs256(&bytes(RFC7515_A1.0))),
        (RFC7520_4_4.1, VerifyingKey::hs256(&bytes(RFC7520_4_4.0))),
        (signed, eddsa(&bytes(x))),
    ];
    for (at, (token, key)) in examples.iter().enumerate() {
        assert!(opens(token, key), "{token}");
        for (other, (_, key)) in examples.iter().enumerate() {
            assert_eq!(opens(token, key), at == other);
        }
        for position in 0..token.len() {
            let mut altered = token.as_bytes().to_vec();
            altered[position] ^= 1;
            assert!(!opens(&String::from_utf8(altered).unwrap(), key), "byte {position}");
        }
        assert!(!opens(RFC7515_A5, key));
    }
}

#[test]
fn the_rfc_8037_key_signs_the_published_token_and_has_the_published_thumbprint() {
    let [d, x, thumbprint, token] = RFC8037_A;
    let pair = Ed25519KeyPair::from_seed_and_public_key(&bytes(d), &bytes(x)).unwrap();
    assert_eq!(PublicKey::of(&pair).unwrap().thumbprint(), thumbprint);
    assert_eq!(PublicKey::of(&pair).unwrap().x(), x);
    let start = format!("{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#));
    let made = seal(&SigningKey::EdDsa(pair), &start, b"Example of Ed25519 signing").unwrap();
    assert_eq!(made, token);
}

/// RFC 8032, section 7.1, tests 1 and 2: public key, message, signature.
const RFC8032: [[&str; 3]; 2] = [
    [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b\
         46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11\
         d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
];

/// The order of the group, least significant byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_signature_has_one_value_of_s_and_the_second_one_modulo_the_order_is_refused() {
    for [public, message, signature] in RFC8032 {
        let (key, message, mut signature) = (eddsa(&hex(public)), hex(message), hex(signature));
        assert!(key.verifies(&message, &signature));
        assert!(!key.verifies(b"another", &signature));
        let mut carry = 0;
        for (s, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*s) + u16::from(order) + carry;
            *s = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!key.verifies(&message, &signature), "S + L");
        signature.push(0);
        assert!(!key.verifies(&message, &signature), "65 bytes");
        assert!(!key.verifies(&message, &[0; 64]), "R = S = 0 (CVE-2022-21449 is this in ECDSA)");
        assert!(!key.verifies(&message, &[]));
    }
}

/// RFC 4231, cases 1 and 2.
#[test]
fn hmac_takes_the_published_tags_and_none_that_is_cut() {
    let cases: [(&[u8], &[u8], &str); 2] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ];
    for (key, message, tag) in cases {
        let (key, tag) = (VerifyingKey::hs256(key), hex(tag));
        assert!(key.verifies(message, &tag));
        for length in 0..tag.len() {
            assert!(!key.verifies(message, &tag[..length]), "{length} bytes");
        }
    }
}

/// A file of Project Wycheproof, when it is at hand.
#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
fn wycheproof(name: &str) -> Option<Value> {
    let Some(directory) = std::env::var_os("WD_TEST_WYCHEPROOF") else {
        say(&format!("left out: {name} (WD_TEST_WYCHEPROOF names no directory)"));
        return None;
    };
    let path = std::path::Path::new(&directory).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    Some(serde_json::from_str(&text).unwrap())
}

/// Past the capture of the harness.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Calls back with every group and every test in it.
fn each(file: &Value, mut run: impl FnMut(&Value, &Value)) {
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            run(group, test);
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    valid: u32,
    invalid: u32,
    /// Of another algorithm or form, and refused whatever the file says.
    other: u32,
    /// [`EXCEPTIONS`].
    disputed: u32,
}

#[test]
fn wycheproof_ed25519() {
    let Some(file) = wycheproof("ed25519_test.json") else { return };
    let mut count = Count::default();
    each(&file, |group, test| {
        let text = |of: &Value, name: &str| hex(of[name].as_str().unwrap());
        let public: [u8; 32] = text(&group["publicKey"], "pk").try_into().unwrap();
        let key =
            PublicKey::from_bytes(public).map(|key| VerifyingKey::EdDsa(key.parsed().clone()));
        let verifies = key.is_ok_and(|key| key.verifies(&text(test, "msg"), &text(test, "sig")));
        assert_eq!(verifies, test["result"] == "valid", "{test}");
        if verifies { count.valid += 1 } else { count.invalid += 1 }
    });
    say(&format!("Wycheproof ed25519: {count:?}"));
    assert_eq!(u64::from(count.valid + count.invalid), file["numberOfTests"]);
}

#[test]
fn wycheproof_hmac_sha256() {
    let Some(file) = wycheproof("hmac_sha256_test.json") else { return };
    let mut count = Count::default();
    each(&file, |group, test| {
        let text = |name: &str| hex(test[name].as_str().unwrap());
        let verifies = VerifyingKey::hs256(&text("key")).verifies(&text("msg"), &text("tag"));
        // A cut tag is valid in HMAC and never in a JWS.
        let is_cut = group["tagSize"] != 256;
        assert_eq!(verifies, test["result"] == "valid" && !is_cut, "{test}");
        match (is_cut, verifies) {
            (true, _) => count.other += 1,
            (false, true) => count.valid += 1,
            (false, false) => count.invalid += 1,
        }
    });
    say(&format!("Wycheproof hmac_sha256: {count:?}"));
    assert_eq!(u64::from(count.valid + count.invalid + count.other), file["numberOfTests"]);
}

/// Where we answer otherwise, and why: the first two are, byte for byte, the token that the file
/// calls valid (`ValidMac`), the padding they are named after is not there; the others hold a `?`
/// in header or payload, which is no character of base64url.
const EXCEPTIONS: [(&str, bool); 4] = [
    ("invalidBase64Padding", false),
    ("invalidBase64PaddingInPayload", false),
    ("InvalidCharacterInsertedInHeader", true),
    ("InvalidCharacterInsertedInPayload", true),
];

/// All signatures of a JOSE file: those of HS256 are judged, those of algorithms that are not
/// spoken here are refused under any key.
fn judge_signatures(file: &Value) -> Count {
    let mut count = Count::default();
    each(file, |group, test| {
        let key = &group["private"];
        // One test presents the JSON serialisation, as an object.
        let token = &match &test["jws"] {
            Value::Null => return,
            Value::String(token) => token.clone(),
            other => other.to_string(),
        };
        if key["alg"] == "HS256" && key["kty"] == "oct" {
            let secret = VerifyingKey::hs256(&bytes(key["k"].as_str().unwrap()));
            let accepted = open(token, |header| {
                let is_named = header.kid.as_deref() == key["kid"].as_str();
                is_named.then_some(&secret).ok_or_else(|| Error::invalid("another key"))
            });
            let says_valid = test["result"] == "valid";
            match EXCEPTIONS
                .iter()
                .find(|(comment, valid)| test["comment"] == *comment && says_valid == *valid)
            {
                Some(_) => {
                    assert_eq!(accepted.is_ok(), !says_valid, "{test}");
                    count.disputed += 1;
                    return;
                }
                None => assert_eq!(accepted.is_ok(), says_valid, "{test}"),
            }
            if says_valid { count.valid += 1 } else { count.invalid += 1 }
        } else {
            // What an attacker has: the public key, to be taken for a symmetric one.
            let public = group.get("public").unwrap_or(key).to_string();
            assert!(!opens(token, &VerifyingKey::hs256(public.as_bytes())), "{test}");
            assert!(!opens(token, &eddsa(&bytes(RFC8037_A[1]))), "{test}");
            count.other += 1;
        }
    });
    count
}

#[test]
fn wycheproof_json_web_signature() {
    let Some(file) = wycheproof("json_web_signature_test.json") else { return };
    let count = judge_signatures(&file);
    say(&format!("Wycheproof json_web_signature: {count:?}"));
    assert_eq!(count, Count { valid: 8, invalid: 28, other: 361, disputed: 4 });
}

#[test]
fn wycheproof_json_web_crypto() {
    let Some(file) = wycheproof("json_web_crypto_test.json") else { return };
    let count = judge_signatures(&file);
    say(&format!("Wycheproof json_web_crypto: {count:?}"));
    assert_eq!(count, Count { valid: 1, invalid: 16, other: 32, disputed: 0 });
}

#[test]
fn wycheproof_json_web_key() {
    let Some(file) = wycheproof("json_web_key_test.json") else { return };
    let mut count = Count::default();
    each(&file, |group, _| {
        for set in ["private", "public"] {
            // None holds a public Ed25519 key, and most publish a private one.
            assert!(KeySet::from_jwks(&group[set].to_string()).is_err(), "{group}");
            count.other += 1;
        }
    });
    say(&format!("Wycheproof json_web_key: {count:?} sets refused"));
    assert_eq!(count.other, 52);
}
