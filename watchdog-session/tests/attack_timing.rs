//! T34: how long a refusal takes tells nothing about the secret it was held against.
//!
//! A Welch t-test as in *Dude, is my code constant time?* (Reparaz, Balasch, Verbauwhede, 2017):
//! two classes of input, in random order, both wrong; when their times differ in the mean, |t|
//! grows with the number of measurements. It is statistical and wants a quiet machine, so the
//! measurements run with `WD_TEST_LONG=1` only, best in a release build:
//!
//! ```text
//! WD_TEST_LONG=1 cargo test --release -p watchdog-session --all-features --test attack_timing
//! ```
//!
//! Each measurement has three tries: chance and noise differ from try to try, a leak does not.
//! The short form tries the statistics themselves on a comparison that leaks.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use watchdog_core::KeyRing;
use watchdog_session::{
    Client, ErrorKind, Issued, SessionConfig, SessionId, SessionParts, Sessions, Subject, TokenKeys,
};

/// What a sound comparison stays below; the paper takes 4.5 for a suspicion and 10 for a proof.
const PROOF: f64 = 10.0;
const MEASUREMENTS: usize = 200_000;

#[expect(clippy::disallowed_methods, reason = "a switch of the test bench, not of the product")]
fn is_long() -> bool {
    std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1")
}

/// Past the capture of the harness.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Welch's t of two samples, without the slowest tenth of both together: interrupts are not us.
fn welch(samples: &[(bool, u64)]) -> f64 {
    let mut times: Vec<_> = samples.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    let limit = times[times.len() * 9 / 10];
    let of = |class: bool| -> (f64, f64, f64) {
        let kept = || {
            let kept = samples.iter().filter(move |(is, time)| *is == class && *time <= limit);
            kept.map(|(_, time)| *time as f64)
        };
        let count = kept().count() as f64;
        let mean = kept().sum::<f64>() / count;
        let variance = kept().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (count, mean, variance)
    };
    let ((n1, m1, v1), (n2, m2, v2)) = (of(false), of(true));
    (m1 - m2) / (v1 / n1 + v2 / n2).sqrt().max(f64::MIN_POSITIVE)
}

/// `SplitMix64`: any order without a pattern will do, and the same in every run.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn measure(count: usize, seed: u64, mut run: impl FnMut(bool)) -> f64 {
    let mut random = Shuffle(seed);
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let class = random.next() & 1 == 1;
        let started = Instant::now();
        run(class);
        samples.push((class, u64::try_from(started.elapsed().as_nanos()).unwrap()));
    }
    welch(&samples)
}

fn assert_even(what: &str, mut run: impl FnMut(bool)) {
    let tries: Vec<f64> = (0..3).map(|seed| measure(MEASUREMENTS, seed, &mut run)).collect();
    say(&format!("T34 {what}: t = {tries:.1?} over {MEASUREMENTS} measurements each"));
    assert!(tries.iter().any(|t| t.abs() < PROOF), "{what} leaks: t = {tries:?}");
}

/// A comparison that stops at the first difference, slow enough to be seen on any machine.
fn leaky(one: &[u8], two: &[u8]) -> bool {
    one.iter().zip(two).all(|(one, two)| {
        for _ in 0..50 {
            black_box(one);
        }
        one == two
    })
}

#[test]
fn t34_the_statistics_find_a_leak_and_only_a_leak() {
    let (secret, early, late) = ([7; 32], [0; 32], {
        let mut late = [7; 32];
        late[31] = 0;
        late
    });
    let t = measure(5_000, 1, |class| {
        black_box(leaky(black_box(&secret), if class { &late } else { &early }));
    });
    assert!(t.abs() > PROOF, "{t}");
    let mut random = Shuffle(1);
    let mut sample = || (random.next() & 1 == 1, 1000 + random.next() % 50);
    let samples: Vec<_> = (0..5_000).map(|_| sample()).collect();
    assert!(welch(&samples).abs() < 6.0);
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    keys: TokenKeys,
    sessions: Sessions,
    issued: Issued,
}

fn bench() -> Bench {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ring = KeyRing::ephemeral().unwrap();
    let config = SessionConfig { enforce_same_agent: false, ..SessionConfig::default() };
    let sessions = Sessions::builder(&ring).config(config).build().unwrap();
    let client = Client::unknown();
    let issued = runtime.block_on(sessions.issue(Subject::user("alice"), &client)).unwrap();
    Bench { runtime, keys: TokenKeys::new(&ring.secret).unwrap(), sessions, issued }
}

/// The same token with one bit of its decoded bytes changed.
fn altered(token: &str, at: usize) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    bytes[at] ^= 1;
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn t34_where_a_tag_differs_does_not_show() {
    if !is_long() {
        return;
    }
    let bench = bench();
    let session = bench.issued.session_token.expose();
    // The tag is the last 16 bytes: 55..71 of a session token, 75..91 of a refresh token.
    let tokens = [altered(session, 55), altered(session, 70)];
    assert_even("tag of a session token", |class| {
        assert!(bench.keys.session_parts(black_box(&tokens[usize::from(class)])).is_err());
    });
    let refresh = bench.issued.refresh_token.expose();
    let tokens = [altered(refresh, 75), altered(refresh, 90)];
    assert_even("tag of a refresh token", |class| {
        assert!(bench.keys.refresh_parts(black_box(&tokens[usize::from(class)])).is_err());
    });
    let (signed, tag) = bench.issued.access_token.expose().rsplit_once('.').unwrap();
    let tokens = [0, 31].map(|at| format!("{signed}.{}", altered(tag, at)));
    assert_even("tag of an access token", |class| {
        let token = black_box(&tokens[usize::from(class)]);
        assert!(bench.sessions.authenticate_access(token).is_err());
    });
}

/// The stored digest is held against one that shares its first two bytes, or none. Only who holds
/// the token keys can ask this question at all.
#[test]
fn t34_where_a_digest_differs_does_not_show() {
    if !is_long() {
        return;
    }
    let bench = bench();
    let parts = bench.keys.session_parts(bench.issued.session_token.expose()).unwrap();
    let digest = |secret: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
        <[u8; 2]>::try_from(&digest.as_ref()[..2]).unwrap()
    };
    let genuine = digest(&parts.secret);
    let secrets = || (0_u128..).map(u128::to_be_bytes);
    let near = secrets().find(|secret| digest(secret) == genuine).unwrap();
    let far = secrets().find(|secret| digest(secret)[0] != genuine[0]).unwrap();
    let tokens =
        [near, far].map(|secret| bench.keys.session_token(&SessionParts { secret, ..parts }));
    let client = Client::unknown();
    assert_even("digest of a secret", |class| {
        let token = tokens[usize::from(class)].expose();
        let result = bench.runtime.block_on(bench.sessions.authenticate(token, &client));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
    });
}

/// CVE-2019-16782 (Rack): what the look-up of a guessed id takes. A guess never gets that far:
/// without the keys its tag is wrong, be the id of a session or of none.
#[test]
fn t34_whether_a_session_exists_does_not_show() {
    if !is_long() {
        return;
    }
    let bench = bench();
    let parts = bench.keys.session_parts(bench.issued.session_token.expose()).unwrap();
    let mut unknown = parts;
    unknown.place.session = SessionId::random().unwrap();
    let tokens =
        [parts, unknown].map(|parts| altered(bench.keys.session_token(&parts).expose(), 60));
    let client = Client::unknown();
    assert_even("known and unknown session", |class| {
        let token = black_box(&tokens[usize::from(class)]);
        let result = bench.runtime.block_on(bench.sessions.authenticate(token, &client));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
    });
}
