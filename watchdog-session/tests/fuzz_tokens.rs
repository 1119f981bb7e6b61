//! Whatever comes in from outside, as property tests: tokens, key sets, keys, records. Nothing
//! panics, work is bounded, and a mutated genuine token is never accepted, as itself or another.
//!
//! `WD_TEST_LONG=1` runs a hundred thousand cases of each instead of 256.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use proptest::sample::Index;
use watchdog_core::testing::ManualClock;
use watchdog_core::{KeyRing, Secret};
use watchdog_session::record::{Common, Header};
use watchdog_session::{
    AccessVerifier, Client, ErrorKind, SessionConfig, SessionId, Sessions, Subject, TokenKeys,
};

const NOW: u64 = 1_767_225_600_000;
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
fn cases() -> u32 {
    if std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1") { 100_000 } else { 256 }
}

/// Two kinds of access tokens, and everything that reads a token.
struct Bench {
    keys: TokenKeys,
    verifier: AccessVerifier,
    secret: hmac::Key,
    secret_id: String,
    /// Genuine tokens of every kind, of several sessions.
    genuine: Vec<String>,
}

static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);

impl Bench {
    fn new() -> Self {
        let ring = KeyRing::ephemeral().unwrap();
        let (id, secret) = ring.jwt.derive("session/access/v1").unwrap().remove(0);
        let build = |key: Option<&str>| {
            let config =
                SessionConfig { access_token_key: key.map(Secret::from), ..Default::default() };
            let clock = Arc::new(ManualClock::default());
            Sessions::builder(&ring).config(config).clock(clock).build().unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (symmetric, asymmetric) = (build(None), build(Some(PEM)));
        let mut genuine = Vec::new();
        for sessions in [&symmetric, &asymmetric] {
            for user in ["alice", "bob"] {
                let client = Client::unknown();
                let issue = sessions.issue(Subject::user(user).with_roles(["viewer"]), &client);
                let issued = runtime.block_on(issue).unwrap();
                genuine.extend([
                    issued.session_token.expose().to_owned(),
                    issued.refresh_token.expose().to_owned(),
                    issued.access_token.expose().to_owned(),
                ]);
            }
        }
        Self {
            keys: TokenKeys::new(&ring.secret).unwrap(),
            verifier: asymmetric.verifier(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()),
            secret_id: id.to_string(),
            genuine,
        }
    }

    /// How many of the readers accept a text; a refusal is always of one kind.
    fn accepted(&self, text: &str) -> usize {
        let kinds = [
            self.keys.session_parts(text).err(),
            self.keys.refresh_parts(text).err(),
            self.verifier.check(text, NOW).err(),
        ];
        for error in kinds.iter().flatten() {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(text.len() < 16 || !error.to_string().contains(text), "the error tells it");
        }
        kinds.iter().filter(|error| error.is_none()).count()
    }

    /// Any bytes as claims, properly signed.
    fn signed(&self, claims: &[u8]) -> String {
        let header = format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{}"}}"#, self.secret_id);
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims));
        let tag = hmac::sign(&self.secret, message.as_bytes());
        format!("{message}.{}", encode(tag.as_ref()))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a hand or a line can do to a token.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, char),
    Insert(Index, String),
    Remove(Index, Index),
    Repeat(Index, Index),
    Swap(Index, Index),
    Splice(Index, Index, Index),
    Reverse,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let character =
        || prop_oneof![any::<char>(), prop::sample::select(ALPHABET.chars().collect::<Vec<_>>())];
    prop_oneof![
        (at(), character()).prop_map(|(at, with)| Mutation::Replace(at, with)),
        (at(), "[A-Za-z0-9_.=-]{1,20}").prop_map(|(at, with)| Mutation::Insert(at, with)),
        (at(), at()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        (at(), at()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        (at(), at()).prop_map(|(one, two)| Mutation::Swap(one, two)),
        (at(), at(), at()).prop_map(|(other, from, to)| Mutation::Splice(other, from, to)),
        Just(Mutation::Reverse),
    ]
}

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/";

fn mutated(text: &str, mutation: &Mutation) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let length = characters.len();
    if length == 0 {
        return String::new();
    }
    let range = |from: &Index, to: &Index| {
        let (from, to) = (from.index(length), to.index(length));
        from.min(to)..from.max(to)
    };
    match mutation {
        Mutation::Replace(at, with) => characters[at.index(length)] = *with,
        Mutation::Insert(at, with) => {
            let at = at.index(length + 1);
            characters.splice(at..at, with.chars());
        }
        Mutation::Remove(from, to) => drop(characters.drain(range(from, to))),
        Mutation::Repeat(from, to) => {
            let piece = characters[range(from, to)].to_vec();
            let end = range(from, to).end;
            characters.splice(end..end, piece);
        }
        Mutation::Swap(one, two) => characters.swap(one.index(length), two.index(length)),
        Mutation::Splice(other, from, to) => {
            let other: Vec<char> = other.get(&BENCH.genuine).chars().collect();
            let mut range = range(from, to);
            range = range.start.min(other.len())..range.end.min(other.len());
            characters.splice(range.clone(), other[range].to_vec());
        }
        Mutation::Reverse => characters.reverse(),
    }
    characters.into_iter().collect()
}

/// JSON with the names of real claims and values of every kind.
fn claims() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        "(iss|aud|sub|sid|roles|iat|nbf|exp|jti|auth_time|iat_ms|loc|acr)",
        "[a-z\\\\\"]{0,6}",
    ];
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "\"[ -~]{0,20}\"",
        Just("null".to_owned()),
        Just("[[[[{}]]]]".to_owned()),
        Just(format!("\"{}\"", SessionId::from_bytes([1; 16]))),
        Just((NOW / 1000).to_string()),
        Just("\"watchdog\"".to_owned()),
    ];
    let member = (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    prop::collection::vec(member, 0..14)
        .prop_map(|members| format!("{{{}}}", members.join(",")).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_no_token(text in any::<String>()) {
        prop_assert_eq!(BENCH.accepted(&text), 0);
    }

    #[test]
    fn arbitrary_bytes_in_the_shape_of_a_token_are_none(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..5),
    ) {
        let mut versioned = bytes.clone();
        versioned.insert(0, 1);
        prop_assert_eq!(BENCH.accepted(&encode(&bytes)), 0);
        for length in [71, 91] {
            versioned.resize(length, 7);
            prop_assert_eq!(BENCH.accepted(&encode(&versioned)), 0);
        }
        let parts: Vec<_> = parts.iter().map(|part| encode(part)).collect();
        prop_assert_eq!(BENCH.accepted(&parts.join(".")), 0);
    }

    #[test]
    fn a_mutated_token_is_accepted_only_when_it_is_a_genuine_one(
        token in any::<Index>(),
        mutations in prop::collection::vec(mutation(), 1..5),
    ) {
        let genuine = token.get(&BENCH.genuine);
        prop_assert_eq!(BENCH.accepted(genuine), 1);
        let text = mutations.iter().fold(genuine.clone(), |text, change| mutated(&text, change));
        let is_genuine = BENCH.genuine.contains(&text);
        prop_assert_eq!(BENCH.accepted(&text), usize::from(is_genuine), "{}", text);
    }

    #[test]
    fn signed_claims_that_are_not_ours_are_refused(
        claims in prop_oneof![claims(), prop::collection::vec(any::<u8>(), 0..300)],
    ) {
        prop_assert_eq!(BENCH.accepted(&BENCH.signed(&claims)), 0);
    }

    #[test]
    fn a_key_set_is_read_or_refused(
        text in prop_oneof![
            any::<String>(),
            "\\{\"keys\":\\[(\\{(\"(kty|crv|x|kid|use|alg|d)\":\"[A-Za-z0-9_-]{0,43}\",?){0,7}\\},?){0,3}\\]\\}",
        ],
    ) {
        if let Err(error) = AccessVerifier::from_jwks(&text, "issuer", "audience") {
            prop_assert_eq!(error.kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn a_mutated_key_is_read_or_refused(mutations in prop::collection::vec(mutation(), 1..4)) {
        let pem = mutations.iter().fold(PEM.to_owned(), |text, change| mutated(&text, change));
        let config = SessionConfig { access_token_key: Some(pem.into()), ..Default::default() };
        let ring = KeyRing::ephemeral().unwrap();
        if let Err(error) = Sessions::builder(&ring).config(config).build() {
            prop_assert_eq!(error.kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn a_record_is_read_whole_or_not_at_all(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        is_framed: bool,
    ) {
        let mut bytes = bytes;
        if is_framed && bytes.len() >= 4 {
            // Version and length of a header, so that the rest is looked at.
            bytes[0] = 1;
            bytes[2..4].copy_from_slice(&202_u16.to_be_bytes());
        }
        let common = Common::decode(&bytes);
        prop_assert_eq!(common.is_some(), bytes.len() >= 36);
        if let Some(common) = common {
            let _ = (common.is_expired(0), common.is_expired(u64::MAX));
        }
        match Header::decode(&bytes) {
            Ok(header) => prop_assert_eq!(header.encode(&bytes[202..]), bytes),
            Err(error) => prop_assert!(
                [ErrorKind::Internal, ErrorKind::Unavailable].contains(&error.kind())
            ),
        }
    }

    #[test]
    fn a_session_id_has_one_spelling(text in prop_oneof![any::<String>(), "[0-9a-fA-F]{30,34}"]) {
        if let Ok(id) = text.parse::<SessionId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

/// A long token costs no more than the look at its length: ten thousand of 10 MB each would be
/// 100 GB to read.
#[test]
fn work_is_bounded_whatever_the_length() {
    let started = std::time::Instant::now();
    for piece in ["A", ".", "eyJ.", "\u{1f980}"] {
        let text = piece.repeat(10_000_000 / piece.len());
        for _ in 0..10_000 {
            assert!(BENCH.verifier.check(&text, NOW).is_err());
            assert!(BENCH.keys.session_parts(&text).is_err());
            assert!(BENCH.keys.refresh_parts(&text).is_err());
        }
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
