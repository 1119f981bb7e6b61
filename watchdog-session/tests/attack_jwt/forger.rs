//! Somebody who signs whatever they like, with our own keys.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use watchdog_core::testing::ManualClock;
use watchdog_core::{KeyRing, RootKeys, Secret};
use watchdog_session::{
    AccessVerifier, Client, Error, ErrorKind, SessionConfig, Sessions, Subject,
};

/// What the clock of the tests shows, in milliseconds.
pub(crate) const NOW: u64 = 1_767_225_600_000;
/// The key of RFC 8037, appendix A.
pub(crate) const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
pub(crate) const PUBLIC_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    -----END PUBLIC KEY-----\n";
pub(crate) const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Hs256,
    EdDsa,
}

pub(crate) const WAYS: [Way; 2] = [Way::Hs256, Way::EdDsa];

pub(crate) struct Forger {
    pub(crate) sessions: Sessions,
    verifiers: Vec<(&'static str, AccessVerifier)>,
    secret: Secret<Vec<u8>>,
    secret_id: String,
    pair: Ed25519KeyPair,
}

impl Forger {
    /// Sessions that sign with Ed25519 and still accept HS256.
    pub(crate) fn new() -> Self {
        let config =
            SessionConfig { access_token_key: Some(PEM.into()), ..SessionConfig::default() };
        Self::with(RootKeys::ephemeral().unwrap(), config)
    }

    pub(crate) fn with(jwt: RootKeys, config: SessionConfig) -> Self {
        let (id, secret) = jwt.derive("session/access/v1").unwrap().remove(0);
        let by_secret = AccessVerifier::from_secret(&jwt, "issuer", "audience").unwrap();
        let ring = KeyRing { jwt, ..KeyRing::ephemeral().unwrap() };
        let sessions = Sessions::builder(&ring)
            .config(config)
            .clock(Arc::new(ManualClock::default()))
            .issuer("issuer")
            .audience("audience")
            .build()
            .unwrap();
        let published = sessions.jwks().to_string();
        let mut verifiers = vec![("secret", by_secret), ("sessions", sessions.verifier())];
        let by_set = AccessVerifier::from_jwks(&published, "issuer", "audience");
        verifiers.extend(by_set.ok().map(|verifier| ("published", verifier)));
        let pair = Ed25519KeyPair::from_seed_and_public_key(&decode(D), &decode(X)).unwrap();
        Self { sessions, verifiers, secret, secret_id: id.to_string(), pair }
    }

    /// Every way to check a token.
    pub(crate) fn verifiers(&self) -> &[(&'static str, AccessVerifier)] {
        &self.verifiers
    }

    /// A genuine token.
    pub(crate) fn issue(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let client = Client::unknown();
        let issue = self.sessions.issue(Subject::user("alice"), &client);
        runtime.block_on(issue).unwrap().access_token.expose().to_owned()
    }

    pub(crate) fn claims(&self) -> Value {
        let seconds = NOW / 1000;
        json!({
            "iss": "issuer", "aud": "audience", "sub": "alice", "roles": ["admin"], "jti": "1",
            "sid": "000102030405060708090a0b0c0d0e0f", "iat": seconds, "nbf": seconds,
            "exp": seconds + 300, "auth_time": seconds, "iat_ms": NOW,
            "loc": "7.000102030405060708090a0b0c0d0e0f",
        })
    }

    /// The right header for a way to sign.
    pub(crate) fn header_of(&self, way: Way) -> Value {
        match way {
            Way::Hs256 => json!({ "alg": "HS256", "typ": "at+jwt", "kid": self.secret_id }),
            Way::EdDsa => json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": THUMBPRINT }),
        }
    }

    pub(crate) fn sign(&self, way: Way, header: &Value, claims: &Value) -> String {
        self.sign_text(way, &header.to_string(), &claims.to_string())
    }

    /// Any text as claims, under the right header.
    pub(crate) fn sign_claims(&self, way: Way, claims: &str) -> String {
        self.sign_text(way, &self.header_of(way).to_string(), claims)
    }

    pub(crate) fn sign_text(&self, way: Way, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        match way {
            Way::Hs256 => tagged(self.secret.expose(), &message),
            Way::EdDsa => {
                let signature = self.pair.sign(message.as_bytes());
                format!("{message}.{}", encode(signature.as_ref()))
            }
        }
    }
}

pub(crate) fn hs256_under(secret: &[u8], header: &Value, claims: &Value) -> String {
    tagged(secret, &message(&header.to_string(), &claims.to_string()))
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()))
}

fn tagged(secret: &[u8], message: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encode(tag.as_ref()))
}

/// The header of a token.
pub(crate) fn header(token: &str) -> Value {
    serde_json::from_slice(&decode(token.split('.').next().unwrap())).unwrap()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn kind_of<T>(result: &Result<T, Error>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

/// A new private key.
pub(crate) fn pem() -> String {
    let der = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let body = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

/// Its public key.
pub(crate) fn public_pem(private: &str) -> String {
    let body = private.lines().nth(1).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
    let body = STANDARD.encode(spki(pair.public_key().as_ref()));
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

pub(crate) fn public_der() -> Vec<u8> {
    spki(&decode(X))
}

/// `SubjectPublicKeyInfo` (RFC 8410, section 4).
fn spki(public: &[u8]) -> Vec<u8> {
    let start = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    [&start, public].concat()
}

/// Other texts that a lax decoder reads as the same bytes.
pub(crate) fn same_bytes(part: &str) -> Vec<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = part.split_at(part.len() - 1);
    let value = ALPHABET.iter().position(|&byte| byte == last.as_bytes()[0]).unwrap();
    let unused = if part.len() % 4 == 2 { 16 } else { 4 };
    let spelt = |bits: usize| format!("{start}{}", char::from(ALPHABET[value + bits]));
    (1..unused).map(spelt).collect()
}

/// A signature with the order of the group added to its second half: equal for a lax verifier.
pub(crate) fn plus_order(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut sum = signature.to_vec();
    let mut carry = 0;
    for (byte, order) in sum[32..].iter_mut().zip(ORDER) {
        let total = u16::from(*byte) + u16::from(order) + carry;
        *byte = total.to_le_bytes()[0];
        carry = total >> 8;
    }
    sum
}
