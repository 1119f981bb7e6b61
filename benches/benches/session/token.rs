//! Tokens made and checked without asking anybody.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use tokio::runtime::Runtime;
use watchdog_core::KeyRing;
use watchdog_session::{
    ErrorKind, Location, Place, SessionId, SessionParts, Sessions, Subject, TokenKeys,
};

use crate::bed::{Bed, client};

pub(crate) fn bench(criterion: &mut Criterion) {
    keys(criterion);
    access(criterion);
    forged(criterion);
    cached(criterion);
}

fn keys(criterion: &mut Criterion) {
    let ring = KeyRing::ephemeral().unwrap();
    let keys = TokenKeys::new(&ring.secret).unwrap();
    let location = Location { bucket: 7, user: [1; 16] };
    let place = Place { location, session: SessionId::from_bytes([2; 16]) };
    let parts = SessionParts { place, secret: [3; 16] };
    let token = keys.session_token(&parts);
    let refresh = keys.first_refresh(place).unwrap();
    let mut group = criterion.benchmark_group("session/token");
    group.bench_function("mint", |b| b.iter(|| keys.session_token(black_box(&parts))));
    group.bench_function("check", |b| b.iter(|| keys.session_parts(black_box(token.expose()))));
    group.bench_function("successor", |b| b.iter(|| keys.successor(black_box(&refresh))));
    group.finish();
}

fn access(criterion: &mut Criterion) {
    let ring = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&ring).build().unwrap();
    let runtime = Runtime::new().unwrap();
    let issued = runtime.block_on(sessions.issue(Subject::user("alice"), &client())).unwrap();
    let access = issued.access_token.expose();
    let mut group = criterion.benchmark_group("session/access token");
    group.bench_function("check", |b| b.iter(|| sessions.authenticate_access(black_box(access))));
    group.finish();
}

/// A token that was never issued, refused by the whole façade: in 2 µs at most, with no command.
fn forged(criterion: &mut Criterion) {
    let Some(bed) = Bed::make() else { return };
    let genuine = bed.issued[0].session_token.expose();
    // One bit of the secret is another, so that all but the tag is right.
    let at = genuine.len() / 2;
    let other = if genuine.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{other}{}", &genuine[..at], &genuine[at + 1..]);
    let client = client();
    bed.server.command(&["CONFIG", "RESETSTAT"]);
    let mut group = criterion.benchmark_group("session/forged token");
    group.bench_function("authenticate", |b| {
        b.to_async(&bed.runtime).iter(|| bed.sessions.authenticate(black_box(&forged), &client));
    });
    group.finish();
    let refused = bed.runtime.block_on(bed.sessions.authenticate(&forged, &client));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    let calls = bed.server.calls();
    let commands: Vec<_> = calls.keys().filter(|name| !is_of_the_bench(name)).collect();
    assert!(commands.is_empty(), "a forged token made the server do {commands:?}");
}

/// What this bench asks the server itself, and what a client's connection does unasked.
fn is_of_the_bench(command: &str) -> bool {
    ["config", "info", "ping", "client"].iter().any(|own| command.starts_with(own))
}

/// A session that the local cache knows.
fn cached(criterion: &mut Criterion) {
    let Some(bed) = Bed::with_local_cache(1024) else { return };
    let (token, client) = (bed.issued[0].session_token.expose(), client());
    let authenticate = || bed.sessions.authenticate(black_box(token), &client);
    // The first ones ask the store, until every change is sure to be told.
    let started = Instant::now();
    while bed.sessions.staleness().is_none() {
        assert!(started.elapsed() < Duration::from_secs(10), "the server tells no changes");
        bed.runtime.block_on(tokio::time::sleep(Duration::from_millis(10)));
    }
    bed.runtime.block_on(authenticate()).unwrap();
    let mut group = criterion.benchmark_group("session/local cache");
    bed.server.command(&["CONFIG", "RESETSTAT"]);
    group.bench_function("hit", |b| b.to_async(&bed.runtime).iter(authenticate));
    group.finish();
    // An entry lives for 30 s, and while the server's word is late every check asks it.
    let reads = bed.server.calls().get("hmget").copied().unwrap_or_default();
    println!("{reads} reads beside the hits");
}
