//! The local cache on a real Redis: what it saves, and that it never serves what is over.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![expect(clippy::print_stdout, reason = "the measured times are worth reading")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use watchdog_core::KeyRing;
use watchdog_session::{
    Client, ErrorKind, Issued, RedisStore, RevokeReason, SessionConfig, SessionId, Sessions,
    Subject,
};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, is_available, shared, shared_cluster};

const SOON: Duration = Duration::from_secs(8);

fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some("curl/8".into()))
}

/// Two processes of one deployment.
struct Pair {
    keys: KeyRing,
    prefix: String,
}

impl Pair {
    fn new() -> Self {
        let prefix = format!("t{}", SessionId::random().unwrap());
        Self { keys: KeyRing::ephemeral().unwrap(), prefix }
    }

    async fn process(&self, url: &str, config: SessionConfig) -> Sessions {
        let mut redis = RedisConfig::from_url(url).unwrap();
        redis.key_prefix.clone_from(&self.prefix);
        redis.reconnect_max = Duration::from_millis(500);
        let redis = Redis::connect(&redis).await.unwrap();
        let store = Arc::new(RedisStore::new(redis));
        Sessions::builder(&self.keys).config(config).store(store).build().unwrap()
    }

    async fn plain(&self, url: &str) -> Sessions {
        self.process(url, SessionConfig::default()).await
    }

    async fn caching(&self, url: &str) -> Sessions {
        self.process(url, SessionConfig { local_cache: 10_000, ..SessionConfig::default() }).await
    }
}

async fn issue(sessions: &Sessions) -> Issued {
    let user = SessionId::random().unwrap().to_string();
    sessions.issue(Subject::user(user), &client()).await.unwrap()
}

async fn check(sessions: &Sessions, issued: &Issued) -> Result<(), ErrorKind> {
    let token = issued.session_token.expose();
    sessions.authenticate(token, &client()).await.map(drop).map_err(|error| error.kind())
}

/// Until checks are answered without the server.
async fn until_cached(sessions: &Sessions, issued: &Issued, server: &RedisServer) {
    eventually("it is answered from the cache", SOON, async || {
        let before = server.calls().get("hmget").copied();
        check(sessions, issued).await.unwrap();
        server.calls().get("hmget").copied() == before
    })
    .await;
}

#[tokio::test]
async fn a_session_checked_again_costs_no_command_until_it_changes() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let pair = Pair::new();
    let (ours, theirs) = (pair.caching(&server.url()).await, pair.plain(&server.url()).await);
    let issued = issue(&theirs).await;
    until_cached(&ours, &issued, &server).await;
    let before = server.calls()["hmget"];
    for _ in 0..1000 {
        check(&ours, &issued).await.unwrap();
    }
    assert_eq!(server.calls()["hmget"], before);
    let staleness = ours.staleness().unwrap();
    assert!(staleness < Duration::from_secs(1), "{staleness:?}");
    assert_eq!(theirs.staleness(), None);
    // Another token of the same place is none, and costs nothing either.
    let mut forged = issued.session_token.expose().to_owned();
    // In the secret; the place before it is the same.
    let other = if &forged[60..61] == "A" { "B" } else { "A" };
    forged.replace_range(60..61, other);
    let error = ours.authenticate(&forged, &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(server.calls()["hmget"], before);
    // A rotation changes the record: it is read once more.
    theirs.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    eventually("it is read again", SOON, async || {
        check(&ours, &issued).await.unwrap();
        server.calls()["hmget"] > before
    })
    .await;
    // The client is compared at each hit.
    until_cached(&ours, &issued, &server).await;
    let other = Client::new(None, Some("Mozilla/5.0 Firefox/142.0".into()));
    let refused = ours.authenticate(issued.session_token.expose(), &other).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ClientMismatch);
}

/// Attributes and reports of a living session leave its record as it was.
#[tokio::test]
async fn an_attribute_does_not_make_the_cache_forget_its_session() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let sessions = Pair::new().caching(&server.url()).await;
    let issued = issue(&sessions).await;
    until_cached(&sessions, &issued, &server).await;
    sessions.insert(&issued.session, "cart", &1).await.unwrap();
    let before = server.calls()["hmget"];
    check(&sessions, &issued).await.unwrap();
    assert_eq!(server.calls()["hmget"], before);
    sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap();
    let late = sessions.insert(&issued.session, "cart", &2).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(check(&sessions, &issued).await, Err(ErrorKind::Gone));
}

#[tokio::test]
async fn a_process_reads_what_it_wrote() {
    let Some(server) = shared() else { return };
    let sessions = Pair::new().caching(&server.url()).await;
    let warm = issue(&sessions).await;
    until_cached(&sessions, &warm, server).await;
    for _ in 0..200 {
        let issued = issue(&sessions).await;
        check(&sessions, &issued).await.unwrap();
        check(&sessions, &issued).await.unwrap();
        assert!(sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
        assert_eq!(check(&sessions, &issued).await, Err(ErrorKind::Gone));
    }
}

/// A revocation in one process is known to the other one within the time of a push, however busy
/// it is with that very session.
async fn revoked_elsewhere(url: &str) -> Duration {
    let pair = Pair::new();
    let (ours, theirs) = (pair.caching(url).await, pair.plain(url).await);
    eventually("changes are told", SOON, async || ours.staleness().is_some()).await;
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let issued = Arc::new(issue(&theirs).await);
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..4)
            .map(|_| {
                let (ours, issued, stop) = (ours.clone(), Arc::clone(&issued), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut last = Instant::now();
                    while !stop.load(Ordering::Acquire) {
                        if check(&ours, &issued).await.is_ok() {
                            last = Instant::now();
                        }
                        tokio::task::yield_now().await;
                    }
                    last
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        theirs.revoke(&issued.session, RevokeReason::Administrator).await.unwrap();
        let revoked = Instant::now();
        eventually("it is refused", SOON, async || check(&ours, &issued).await.is_err()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.store(true, Ordering::Release);
        for task in busy {
            worst = worst.max(task.await.unwrap().saturating_duration_since(revoked));
        }
    }
    assert!(worst < Duration::from_secs(1), "accepted for {worst:?}");
    worst
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_in_another_process_is_refused_within_a_push() {
    let Some(server) = shared() else { return };
    println!("standalone: accepted for at most {:?}", revoked_elsewhere(&server.url()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_in_another_process_on_a_cluster() {
    let Some(cluster) = shared_cluster() else { return };
    println!("cluster: accepted for at most {:?}", revoked_elsewhere(&cluster.url()).await);
}

/// T51: the connection that tells of changes is cut. The cache is empty before the next hit.
#[tokio::test]
async fn t51_a_cut_empties_the_cache() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let pair = Pair::new();
    let ours = pair.caching(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    let theirs = pair.plain(&server.url()).await;
    let (revoked, living) = (issue(&theirs).await, issue(&theirs).await);
    for issued in [&revoked, &living] {
        until_cached(&ours, issued, &server).await;
    }
    proxy.set(Fault::Cut);
    theirs.revoke(&revoked.session, RevokeReason::Administrator).await.unwrap();
    eventually("the cut is noticed", SOON, async || ours.staleness().is_none()).await;
    for issued in [&revoked, &living] {
        assert_eq!(check(&ours, issued).await, Err(ErrorKind::Unavailable));
    }
    proxy.set(Fault::Forward);
    eventually("the store answers", SOON, async || check(&ours, &living).await.is_ok()).await;
    assert_eq!(check(&ours, &revoked).await, Err(ErrorKind::Gone));
    until_cached(&ours, &living, &server).await;
}

/// A server that hangs tells nothing: soon nothing is answered from the cache.
#[tokio::test]
async fn t51_silence_empties_the_cache() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let ours = Pair::new().caching(&server.url()).await;
    let issued = issue(&ours).await;
    until_cached(&ours, &issued, &server).await;
    let paused = Instant::now();
    server.pause();
    let mut last = Duration::ZERO;
    while check(&ours, &issued).await.is_ok() {
        last = paused.elapsed();
        assert!(last < Duration::from_millis(1500), "answered {last:?} into the silence");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("answered until {last:?} into the silence");
    server.resume();
    until_cached(&ours, &issued, &server).await;
}

/// When it says that everybody is out, no process lets anybody in, however well it remembers them.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_forgotten() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let pair = Pair::new();
    let (ours, theirs) = (pair.caching(&server.url()).await, pair.caching(&server.url()).await);
    let issued = issue(&theirs).await;
    for sessions in [&ours, &theirs] {
        until_cached(sessions, &issued, &server).await;
    }
    theirs.revoke_everybody(RevokeReason::Administrator, &client()).await.unwrap();
    for sessions in [&ours, &theirs] {
        assert_eq!(check(sessions, &issued).await, Err(ErrorKind::Gone));
    }
    let after = issue(&theirs).await;
    until_cached(&ours, &after, &server).await;
}

#[tokio::test]
async fn use_is_noted_and_expiry_counts_on_hits_too() {
    let Some(server) = shared() else { return };
    let config = SessionConfig {
        timeout: Duration::from_secs(2),
        grace: Duration::from_secs(1),
        access_token_lifetime: Duration::from_secs(1),
        local_cache: 100,
        ..SessionConfig::default()
    };
    let sessions = Pair::new().process(&server.url(), config).await;
    eventually("changes are told", SOON, async || sessions.staleness().is_some()).await;
    let (used, unused) = (issue(&sessions).await, issue(&sessions).await);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(3_500) {
        check(&sessions, &used).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(check(&sessions, &unused).await, Err(ErrorKind::Expired));
}

#[tokio::test]
async fn sessions_in_memory_need_no_cache() {
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys).local_cache(1000).build().unwrap();
    let issued = issue(&sessions).await;
    check(&sessions, &issued).await.unwrap();
    assert_eq!(sessions.staleness(), None);
    sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap();
    assert_eq!(check(&sessions, &issued).await, Err(ErrorKind::Gone));
}
