//! Revoked sessions are refused by processes that never ask the store.
//!
//! Each way to end a session is used once through the facade; where only the feed is looked at, its
//! marker is written by hand.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![expect(clippy::print_stdout, reason = "the measured times are worth reading")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use watchdog_core::{KeyRing, SystemClock};
use watchdog_session::{
    Client, ErrorKind, Issued, RedisStore, Regeneration, Revocations, RevokeReason, SessionId,
    Sessions, Subject,
};
use watchdog_storage::redis::{Redis, RedisConfig, Script};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, is_available, shared, shared_cluster};

const SOON: Duration = Duration::from_secs(8);

static MARK: Script = Script::new(
    "test.mark.v1",
    "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000)
     local member = ARGV[1] if ARGV[2] == 'all' then
       member = member .. ':*:' .. string.format('%.0f', now) end
     redis.call('ZADD', KEYS[1], now, member) redis.call('PEXPIRE', KEYS[1], 3600000)",
);
static STAMP: Script = Script::new(
    "test.stamp.v1",
    "local time = redis.call('TIME')
     return redis.call('SET', KEYS[1], string.format('%.0f', time[1] * 1000 + 999), 'PX', 60000)",
);

/// A deployment with an issuer, and what a script of its would do at a revocation.
struct Deployment {
    keys: KeyRing,
    prefix: String,
    redis: Redis,
    issuer: Sessions,
}

fn client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some("curl/8".into()))
}

async fn redis(url: &str, prefix: &str) -> Redis {
    let mut config = RedisConfig::from_url(url).unwrap();
    prefix.clone_into(&mut config.key_prefix);
    config.reconnect_max = Duration::from_millis(500);
    Redis::connect(&config).await.unwrap()
}

fn sessions(keys: &KeyRing, redis: &Redis, revocations: Option<Revocations>) -> Sessions {
    let builder = Sessions::builder(keys).store(Arc::new(RedisStore::new(redis.clone())));
    match revocations {
        Some(revocations) => builder.revocations(revocations).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

impl Deployment {
    async fn new(url: &str) -> Self {
        let prefix = format!("t{}", SessionId::random().unwrap());
        let redis = redis(url, &prefix).await;
        let keys = KeyRing::ephemeral().unwrap();
        let issuer = sessions(&keys, &redis, None);
        Self { keys, prefix, redis, issuer }
    }

    /// Another process, with a connection of its own, that never asks the store.
    async fn verifier(&self, url: &str) -> Sessions {
        let redis = redis(url, &self.prefix).await;
        let revocations = Revocations::connect(&redis).await;
        sessions(&self.keys, &redis, Some(revocations))
    }

    async fn issue(&self) -> Issued {
        let user = SessionId::random().unwrap().to_string();
        self.issuer.issue(Subject::user(user), &client()).await.unwrap()
    }

    /// Bucket and locator of a session's user, out of its session token.
    fn location(issued: &Issued) -> (String, String) {
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            issued.session_token.expose(),
        )
        .unwrap();
        let bucket = u16::from_be_bytes([bytes[5], bytes[6]]);
        let user: String = bytes[7..23].iter().map(|byte| format!("{byte:02x}")).collect();
        (bucket.to_string(), user)
    }

    /// Marks one session as revoked.
    async fn revoke(&self, issued: &Issued) {
        let (bucket, user) = Self::location(issued);
        let key = self.redis.keys().key("rv", &bucket, &[]);
        let member = format!("{user}:{}", issued.session.id());
        self.redis.call(&MARK, &[&key], &[member.as_str().into(), "".into()]).await.unwrap();
    }

    async fn revoke_all(&self, issued: &Issued) {
        let (bucket, user) = Self::location(issued);
        let key = self.redis.keys().key("rv", &bucket, &[]);
        self.redis.call(&MARK, &[&key], &[user.as_str().into(), "all".into()]).await.unwrap();
    }

    /// Ends a session in one of five ways.
    async fn end(&self, way: u32, issued: &Issued) {
        let (issuer, session) = (&self.issuer, &issued.session);
        match way {
            0 => assert!(issuer.revoke(session, RevokeReason::Logout).await.unwrap()),
            1 => {
                let why = RevokeReason::CredentialsChanged;
                let ended = issuer.revoke_all(session.user(), why, &client()).await.unwrap();
                assert_eq!(ended, 1);
            }
            2 => {
                // Theft: a token two generations old.
                let first = issued.refresh_token.expose();
                let second = issuer.rotate(first, &client()).await.unwrap();
                issuer.rotate(second.refresh_token.expose(), &client()).await.unwrap();
                let theft = issuer.rotate(first, &client()).await.unwrap_err();
                assert_eq!(theft.kind(), ErrorKind::Reused);
            }
            3 => {
                let change = Regeneration::privilege_change();
                issuer.regenerate(session, change, &client()).await.unwrap();
            }
            _ => self.revoke_everybody(issued).await,
        }
    }

    async fn revoke_everybody(&self, issued: &Issued) {
        let key = self.redis.keys().key("g", &Self::location(issued).0, &[]);
        self.redis.call(&STAMP, &[&key], &[]).await.unwrap();
    }
}

fn check(sessions: &Sessions, issued: &Issued) -> Result<(), ErrorKind> {
    let token = issued.access_token.expose();
    sessions.authenticate_access(token).map(drop).map_err(|error| error.kind())
}

/// T23: the access token of a revoked session is refused everywhere within a second.
async fn refused_everywhere(url: &str) -> Duration {
    let deployment = Deployment::new(url).await;
    let (ours, theirs) = (deployment.verifier(url).await, deployment.verifier(url).await);
    let mut worst = Duration::ZERO;
    for kind in 0..10 {
        let (revoked, other) = (deployment.issue().await, deployment.issue().await);
        for verifier in [&ours, &theirs, &deployment.issuer] {
            assert_eq!(check(verifier, &revoked), Ok(()));
        }
        deployment.end(kind % 5, &revoked).await;
        let since = Instant::now();
        for verifier in [&ours, &theirs] {
            while check(verifier, &revoked) == Ok(()) {
                assert!(since.elapsed() < Duration::from_secs(1), "kind {}", kind % 5);
                tokio::task::yield_now().await;
            }
            assert_eq!(check(verifier, &revoked), Err(ErrorKind::Gone));
            let same_bucket = Deployment::location(&revoked).0 == Deployment::location(&other).0;
            assert!(same_bucket || check(verifier, &other) == Ok(()));
        }
        worst = worst.max(since.elapsed());
    }
    worst
}

#[tokio::test(flavor = "multi_thread")]
async fn t23_a_revoked_session_is_refused_offline_within_a_second() {
    let Some(server) = shared() else { return };
    println!("standalone: refused after at most {:?}", refused_everywhere(&server.url()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn t23_a_revoked_session_is_refused_offline_on_a_cluster() {
    let Some(cluster) = shared_cluster() else { return };
    println!("cluster: refused after at most {:?}", refused_everywhere(&cluster.url()).await);
}

#[tokio::test]
async fn a_session_after_the_end_of_all_is_accepted() {
    let Some(server) = shared() else { return };
    let deployment = Deployment::new(&server.url()).await;
    let verifier = deployment.verifier(&server.url()).await;
    let before = deployment.issuer.issue(Subject::user("alice"), &client()).await.unwrap();
    deployment.revoke_all(&before).await;
    eventually("it is refused", SOON, async || check(&verifier, &before) == Err(ErrorKind::Gone))
        .await;
    // In a later millisecond.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let after = deployment.issuer.issue(Subject::user("alice"), &client()).await.unwrap();
    assert_eq!(check(&verifier, &after), Ok(()));
    assert_eq!(check(&verifier, &before), Err(ErrorKind::Gone));
}

#[tokio::test]
async fn a_process_that_starts_knows_what_was_revoked_before() {
    let Some(server) = shared() else { return };
    let deployment = Deployment::new(&server.url()).await;
    let (revoked, living) = (deployment.issue().await, deployment.issue().await);
    deployment.revoke(&revoked).await;
    let start = Instant::now();
    let verifier = deployment.verifier(&server.url()).await;
    println!("connected and read in {:?}", start.elapsed());
    assert_eq!(check(&verifier, &revoked), Err(ErrorKind::Gone));
    assert_eq!(check(&verifier, &living), Ok(()));
}

/// A service that holds no key of the issuer's and no session store.
#[tokio::test]
async fn a_verifier_refuses_what_was_revoked() {
    let Some(server) = shared() else { return };
    let deployment = Deployment::new(&server.url()).await;
    let near = redis(&server.url(), &deployment.prefix).await;
    let revocations = Revocations::connect(&near).await;
    let verifier = deployment.issuer.verifier().with_revocations(revocations);
    let (revoked, living) = (deployment.issue().await, deployment.issue().await);
    let check = |issued: &Issued| {
        let checked = verifier.check_by(issued.access_token.expose(), &SystemClock);
        checked.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(check(&revoked), Ok(()));
    deployment.end(0, &revoked).await;
    eventually("it is refused", Duration::from_secs(1), async || {
        check(&revoked) == Err(ErrorKind::Gone)
    })
    .await;
    assert_eq!(check(&living), Ok(()));
}

/// The verifier of a service that has a feed has it, too.
#[tokio::test]
async fn the_verifier_of_sessions_with_a_feed_refuses_what_was_revoked() {
    let Some(server) = shared() else { return };
    let deployment = Deployment::new(&server.url()).await;
    let verifier = deployment.verifier(&server.url()).await.verifier();
    let revoked = deployment.issue().await;
    let check = || {
        let checked = verifier.check_by(revoked.access_token.expose(), &SystemClock);
        checked.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(check(), Ok(()));
    deployment.end(0, &revoked).await;
    eventually("it is refused", SOON, async || check() == Err(ErrorKind::Gone)).await;
}

/// What was revoked while nobody listened is known before anything is accepted again.
#[tokio::test]
async fn a_gap_is_made_up_for_before_anything_is_accepted() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let deployment = Deployment::new(&server.url()).await;
    let behind = redis(&format!("redis://127.0.0.1:{}", proxy.port()), &deployment.prefix).await;
    let revocations = Revocations::connect(&behind).await;
    let strict = sessions(&deployment.keys, &behind, Some(revocations.clone()));
    let lenient = sessions(&deployment.keys, &behind, Some(revocations.clone().lenient()));
    let (earlier, missed, living) =
        (deployment.issue().await, deployment.issue().await, deployment.issue().await);
    deployment.revoke(&earlier).await;
    eventually("it is refused", SOON, async || check(&strict, &earlier).is_err()).await;
    for round in 0..3 {
        proxy.set(Fault::Cut);
        let cut = Instant::now();
        if round == 0 {
            eventually("the gap is told", SOON, async || check(&strict, &living).is_err()).await;
            println!("strict refuses after {:?}", cut.elapsed());
            assert!(cut.elapsed() < Duration::from_millis(1500), "{:?}", cut.elapsed());
            deployment.revoke(&missed).await;
        }
        eventually("the gap is old", SOON, async || check(&strict, &living).is_err()).await;
        assert_eq!(check(&strict, &living), Err(ErrorKind::Unavailable));
        assert_eq!(check(&lenient, &living), Ok(()));
        for sessions in [&strict, &lenient] {
            assert_eq!(check(sessions, &earlier), Err(ErrorKind::Gone));
        }
        assert_eq!(revocations.staleness(), None);
        proxy.set(Fault::Forward);
        let restored = Instant::now();
        loop {
            // The living session last: when it is accepted, the missed one is known.
            let living = check(&strict, &living);
            let missed = check(&strict, &missed);
            assert_ne!(missed, Ok(()));
            // On a busy machine more than a second of silence may lie between the two.
            if living == Ok(()) && missed == Err(ErrorKind::Gone) {
                break;
            }
            for answer in [living, missed] {
                assert!(matches!(answer, Ok(()) | Err(ErrorKind::Gone | ErrorKind::Unavailable)));
            }
            assert!(restored.elapsed() < SOON, "nothing is accepted again");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        eventually("all is read", SOON, async || revocations.staleness().is_some()).await;
    }
}

/// A server that hangs cannot tell of revocations: soon nothing is accepted.
#[tokio::test]
async fn silence_is_not_taken_for_no_revocations() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let deployment = Deployment::new(&server.url()).await;
    let verifier = deployment.verifier(&server.url()).await;
    let living = deployment.issue().await;
    assert_eq!(check(&verifier, &living), Ok(()));
    server.pause();
    let paused = Instant::now();
    while check(&verifier, &living) == Ok(()) {
        assert!(paused.elapsed() < Duration::from_millis(1500));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("silence: refused after {:?}", paused.elapsed());
    assert_eq!(check(&verifier, &living), Err(ErrorKind::Unavailable));
    server.resume();
    eventually("it is accepted again", SOON, async || check(&verifier, &living) == Ok(())).await;
}

/// A failover that loses a revocation loses its marker too: the process that revoked needs none.
#[tokio::test(flavor = "multi_thread")]
async fn t23_who_revoked_refuses_without_the_marker() {
    let Some(server) = shared() else { return };
    let deployment = Deployment::new(&server.url()).await;
    let own = deployment.verifier(&server.url()).await;
    let issued = deployment.issue().await;
    assert_eq!(check(&own, &issued), Ok(()));
    assert!(own.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
    let key = deployment.redis.keys().key("rv", &Deployment::location(&issued).0, &[]);
    server.command(&["DEL", &key.to_string()]);
    // Whoever begins now knows nothing of it.
    let other = deployment.verifier(&server.url()).await;
    eventually("the token is taken", Duration::from_secs(5), async || {
        check(&other, &issued) == Ok(())
    })
    .await;
    assert_eq!(check(&own, &issued), Err(ErrorKind::Gone));
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn count(&self, what: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(what).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A user of Redis who may not read the marks: whoever operates it is told, and not 1024 times.
#[tokio::test]
async fn a_refused_reading_is_a_warning_once() {
    if !is_available() {
        return;
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let rules = ["--user", "app", "on", ">secret", "~*", "&*", "+@all", "-zrevrange"];
    let server = RedisServer::start_with(&rules);
    let mut config = RedisConfig::from_url(&server.url()).unwrap();
    config.username = Some("app".to_owned());
    config.password = Some(watchdog_core::Secret::new("secret".to_owned()));
    let redis = Redis::connect(&config).await.unwrap();
    let connecting = tokio::spawn(async move { Revocations::connect(&redis).await });
    eventually("all buckets were refused", SOON, async || log.count("cannot be read") >= 1024)
        .await;
    assert_eq!(log.count(" WARN watchdog_session::revocations"), 1);
    assert_eq!(server.command(&["ACL", "SETUSER", "app", "+zrevrange"]).text(), "OK");
    let revocations = connecting.await.unwrap();
    eventually("all is read", SOON, async || revocations.staleness().is_some()).await;
    assert_eq!(log.count(" WARN watchdog_session::revocations"), 1);
}
