//! Sessions through the façade, on the memory store and a clock that is moved by hand.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use watchdog_core::audit::{AuditSink, Entry, Outcome};
use watchdog_core::testing::{ManualClock, RecordingSink};
use watchdog_core::{Clock as _, HealthCheck as _, KeyRing, RootKeys, Secret};
use watchdog_session::store::MAX_ATTRIBUTE_BYTES;
use watchdog_session::{
    Changes, Client, ErrorKind, Issued, Principal, RevokeReason, SessionConfig, Sessions, Subject,
    Verdict,
};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";
const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";

struct Bench {
    clock: ManualClock,
    sink: RecordingSink,
    sessions: Sessions,
}

fn bench(config: SessionConfig) -> Bench {
    let (clock, sink) = (ManualClock::default(), RecordingSink::default());
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys)
        .config(config)
        .clock(Arc::new(clock.clone()))
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap();
    Bench { clock, sink, sessions }
}

impl Bench {
    async fn issue(&self) -> Issued {
        let subject = Subject::user("alice").with_roles(["admin"]);
        self.sessions.issue(subject, &client()).await.unwrap()
    }

    async fn kind(&self, issued: &Issued) -> Option<ErrorKind> {
        let token = issued.session_token.expose();
        self.sessions.authenticate(token, &client()).await.err().map(|error| error.kind())
    }

    async fn actions(&self) -> Vec<String> {
        self.sessions.deliver_events().await.unwrap();
        self.sink.entries().into_iter().map(|entry| entry.action).collect()
    }

    /// Lets what was spawned run.
    async fn settle(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

fn client() -> Client {
    Client::new("192.0.2.1".parse().ok(), Some(FIREFOX.into()))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_login_gives_three_tokens_that_all_name_the_session() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    let by_cookie =
        bench.sessions.authenticate(issued.session_token.expose(), &client()).await.unwrap();
    assert_eq!(by_cookie, issued.session);
    assert_eq!((by_cookie.user(), by_cookie.roles()), ("alice", &["admin".to_owned()][..]));
    assert!(by_cookie.has_role("admin") && !by_cookie.has_role("viewer"));
    assert_eq!(by_cookie.expires_at(), bench.clock.now() + seconds(28_800));
    let by_access = bench.sessions.authenticate_access(issued.access_token.expose()).unwrap();
    assert_eq!((by_access.user(), by_access.id()), ("alice", issued.session.id()));
    let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    assert_eq!((rotated.verdict, rotated.session), (Verdict::Rotated, by_cookie));
}

#[tokio::test]
async fn no_token_is_taken_for_another() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    let [session, refresh, access] = [
        issued.session_token.expose(),
        issued.refresh_token.expose(),
        issued.access_token.expose(),
    ];
    for token in [refresh, access] {
        let error = bench.sessions.authenticate(token, &client()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    for token in [session, access] {
        let error = bench.sessions.rotate(token, &client()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    for token in [session, refresh] {
        let error = bench.sessions.authenticate_access(token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn an_idle_session_ends_after_its_timeout() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    bench.clock.advance(Duration::from_millis(1_799_999));
    assert_eq!(bench.kind(&issued).await, None);
    bench.settle().await;
    bench.clock.advance(seconds(1800));
    assert_eq!(bench.kind(&issued).await, Some(ErrorKind::Expired));
    assert_eq!(bench.kind(&issued).await, Some(ErrorKind::Gone));
    assert_eq!(bench.actions().await, ["session.issued", "session.expired"]);
}

#[tokio::test]
async fn a_busy_session_ends_at_its_absolute_deadline() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    for _ in 0..28 {
        bench.clock.advance(seconds(1000));
        assert_eq!(bench.kind(&issued).await, None);
        bench.settle().await;
    }
    bench.clock.advance(seconds(799));
    assert_eq!(bench.kind(&issued).await, None);
    bench.settle().await;
    bench.clock.advance(seconds(1));
    assert_eq!(bench.kind(&issued).await, Some(ErrorKind::Expired));
}

#[tokio::test]
async fn an_access_token_lives_300_seconds_less_at_most_five_percent() {
    let bench = bench(SessionConfig::default());
    for _ in 0..20 {
        let issued = bench.issue().await;
        assert!((285..=300).contains(&issued.expires_in.as_secs()));
        let access = issued.access_token.expose();
        let check = || bench.sessions.authenticate_access(access).map_err(|error| error.kind());
        let start = bench.clock.now();
        bench.clock.advance(issued.expires_in - Duration::from_millis(1));
        assert!(check().is_ok());
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(check().unwrap_err(), ErrorKind::Expired);
        bench.clock.set(start);
    }
}

#[tokio::test]
async fn an_access_token_never_outlives_its_session() {
    let config = SessionConfig {
        timeout: seconds(60),
        max_lifetime: seconds(60),
        access_token_lifetime: seconds(60),
        ..SessionConfig::default()
    };
    let bench = bench(config);
    let issued = bench.issue().await;
    bench.clock.advance(seconds(50));
    let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    assert_eq!(rotated.expires_in, seconds(10));
}

#[tokio::test]
async fn the_sixth_login_ends_the_oldest_session() {
    let bench = bench(SessionConfig::default());
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(bench.issue().await);
        bench.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(bench.kind(&all[0]).await, Some(ErrorKind::Gone));
    for issued in &all[1..] {
        assert_eq!(bench.kind(issued).await, None);
    }
    let evicted: Vec<_> = bench.actions().await;
    assert_eq!(evicted.iter().filter(|action| *action == "session.evicted").count(), 1);
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_session_with_exactly_one_event() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    let stolen = issued.refresh_token.expose();
    let rotated = bench.sessions.rotate(stolen, &client()).await.unwrap();
    bench.clock.advance(seconds(11));
    let error = bench.sessions.rotate(stolen, &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reused);
    let next = bench.sessions.rotate(rotated.refresh_token.expose(), &client()).await.unwrap_err();
    assert_eq!(next.kind(), ErrorKind::Gone);
    assert_eq!(bench.kind(&issued).await, Some(ErrorKind::Gone));
    let again = bench.sessions.rotate(stolen, &client()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Gone);
    let wanted = ["session.issued", "session.rotated", "session.refresh_token_reused"];
    assert_eq!(bench.actions().await, wanted);
    let entry = bench.sink.entries().pop().unwrap();
    assert_eq!((entry.outcome, &*entry.actor.id), (Outcome::Denied, "watchdog-session"));
    assert_eq!(entry.client, client());
    assert_eq!(entry.resource.id, issued.session.id().to_string());
    assert_eq!((&entry.details["presented"], &entry.details["generation"]), (&0.into(), &1.into()));
}

#[tokio::test]
async fn a_token_two_generations_old_is_reuse_inside_the_grace_period_too() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    let first = issued.refresh_token.expose();
    let second = bench.sessions.rotate(first, &client()).await.unwrap().refresh_token;
    bench.sessions.rotate(second.expose(), &client()).await.unwrap();
    let error = bench.sessions.rotate(first, &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reused);
}

#[tokio::test]
async fn within_its_grace_a_token_gets_the_same_successor_from_its_own_client_only() {
    let bench = bench(SessionConfig { enforce_same_agent: false, ..SessionConfig::default() });
    let issued = bench.issue().await;
    let token = issued.refresh_token.expose();
    let first = bench.sessions.rotate(token, &client()).await.unwrap();
    bench.clock.advance(Duration::from_millis(9_999));
    let again = bench.sessions.rotate(token, &client()).await.unwrap();
    assert_eq!((again.verdict, &again.refresh_token), (Verdict::Grace, &first.refresh_token));
    let thief = Client::new("192.0.2.1".parse().ok(), Some(CHROME.into()));
    let error = bench.sessions.rotate(token, &thief).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reused);
}

#[tokio::test]
async fn rotation_off_keeps_the_refresh_token() {
    let bench = bench(SessionConfig { refresh_token_rotation: false, ..SessionConfig::default() });
    let issued = bench.issue().await;
    for _ in 0..3 {
        bench.clock.advance(seconds(60));
        let rotated =
            bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
        assert_eq!(rotated.verdict, Verdict::Kept);
        assert_eq!(rotated.refresh_token, issued.refresh_token);
        assert!(bench.sessions.authenticate_access(rotated.access_token.expose()).is_ok());
    }
    assert_eq!(bench.actions().await[1..], ["session.refreshed"; 3]);
}

#[tokio::test]
async fn another_agent_or_address_is_refused_as_configured() {
    let strict = SessionConfig { enforce_same_ip: true, ..SessionConfig::default() };
    let elsewhere = Client::new("198.51.100.1".parse().ok(), Some(FIREFOX.into()));
    let other_agent = Client::new("192.0.2.1".parse().ok(), Some(CHROME.into()));
    for (config, stranger, refused) in [
        (SessionConfig::default(), &elsewhere, false),
        (SessionConfig::default(), &other_agent, true),
        (strict, &elsewhere, true),
    ] {
        let bench = bench(config);
        let issued = bench.issue().await;
        let authenticated =
            bench.sessions.authenticate(issued.session_token.expose(), stranger).await;
        let rotated = bench.sessions.rotate(issued.refresh_token.expose(), stranger).await;
        let wanted = refused.then_some(ErrorKind::ClientMismatch);
        assert_eq!(authenticated.err().map(|error| error.kind()), wanted);
        assert_eq!(rotated.err().map(|error| error.kind()), wanted);
        // The rightful client goes on.
        assert_eq!(bench.kind(&issued).await, None);
    }
}

#[tokio::test]
async fn a_revoked_session_is_gone_and_only_its_owner_can_end_it_by_id() {
    let bench = bench(SessionConfig::default());
    let (first, second) = (bench.issue().await, bench.issue().await);
    assert!(bench.sessions.revoke(&first.session, RevokeReason::Logout).await.unwrap());
    assert!(!bench.sessions.revoke(&first.session, RevokeReason::Logout).await.unwrap());
    assert_eq!(bench.kind(&first).await, Some(ErrorKind::Gone));
    let by_id = async |user| {
        let reason = RevokeReason::User;
        bench.sessions.revoke_by_id(user, second.session.id(), reason, &client()).await.unwrap()
    };
    assert!(!by_id("mallory").await);
    assert_eq!(bench.kind(&second).await, None);
    assert!(by_id("alice").await);
    assert_eq!(bench.kind(&second).await, Some(ErrorKind::Gone));
    let by_access = bench.issue().await;
    let session = bench.sessions.authenticate_access(by_access.access_token.expose()).unwrap();
    assert!(bench.sessions.revoke(&session, RevokeReason::Logout).await.unwrap());
    assert_eq!(bench.kind(&by_access).await, Some(ErrorKind::Gone));
}

#[tokio::test]
async fn sessions_outlive_a_rotation_of_every_secret() {
    let secret = |text: &str| Secret::from(format!("{text} with more than thirty-two bytes in it"));
    let store: Arc<dyn watchdog_session::SessionStore> =
        Arc::new(watchdog_session::MemoryStore::new());
    let sessions = |current: &str, previous: &[Secret<String>]| {
        let roots = || RootKeys::new(&secret(current), previous).unwrap();
        let keys = KeyRing { secret: roots(), jwt: roots(), encryption: roots() };
        Sessions::builder(&keys).store(Arc::clone(&store)).build().unwrap()
    };
    let (old, new) = (sessions("old", &[]), sessions("new", &[secret("old")]));
    let issued = old.issue(Subject::user("alice"), &client()).await.unwrap();
    assert!(new.authenticate(issued.session_token.expose(), &client()).await.is_ok());
    assert!(new.authenticate_access(issued.access_token.expose()).is_ok());
    // Parallel refreshes on both sides of the rotation get one successor.
    let one = new.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    let two = old.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    assert_eq!((two.verdict, two.refresh_token), (Verdict::Grace, one.refresh_token));
    let reason = RevokeReason::Administrator;
    assert!(new.revoke_by_id("alice", issued.session.id(), reason, &client()).await.unwrap());
    let after = sessions("new", &[]);
    let error = after.authenticate(issued.session_token.expose(), &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A sink that can be switched off.
#[derive(Debug, Default)]
struct Switched {
    is_off: AtomicBool,
    taken: RecordingSink,
}

#[async_trait::async_trait]
impl AuditSink for Switched {
    async fn record(&self, entry: Entry) -> watchdog_core::Result<()> {
        if self.is_off.load(Ordering::SeqCst) {
            let kind = watchdog_core::ErrorKind::Unavailable;
            return Err(watchdog_core::Error::new(kind, "switched off"));
        }
        self.taken.record(entry).await
    }
}

#[tokio::test]
async fn events_wait_while_the_audit_sink_is_down() {
    let sink = Arc::new(Switched::default());
    let keys = KeyRing::ephemeral().unwrap();
    let audit = Arc::clone(&sink);
    let sessions = Sessions::builder(&keys).audit(audit).build().unwrap();
    sink.is_off.store(true, Ordering::SeqCst);
    let issued = sessions.issue(Subject::user("alice"), &client()).await.unwrap();
    let error = sessions.deliver_events().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(sessions.health().check().await.status.as_str(), "warn");
    assert!(sink.taken.entries().is_empty());
    sink.is_off.store(false, Ordering::SeqCst);
    sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap();
    sessions.deliver_events().await.unwrap();
    let taken = sink.taken.entries();
    let actions: Vec<_> = taken.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions, ["session.issued", "session.revoked"]);
    assert_eq!(taken[1].details["reason"], "logout");
    assert_eq!(sessions.health().check().await.status.as_str(), "pass");
}

#[tokio::test]
async fn no_token_shows_in_debug() {
    let bench = bench(SessionConfig::default());
    let issued = bench.issue().await;
    let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    let shown = format!("{:?} {issued:?} {rotated:?} {issued:#?}", bench.sessions);
    for token in [
        issued.session_token.expose(),
        issued.refresh_token.expose(),
        issued.access_token.expose(),
        rotated.refresh_token.expose(),
        rotated.access_token.expose(),
    ] {
        assert!(!shown.contains(token));
    }
}

#[test]
fn contradicting_settings_do_not_build() {
    let keys = KeyRing::ephemeral().unwrap();
    let config = SessionConfig { grace: seconds(1800), concurrent_limit: 0, ..Default::default() };
    let error = Sessions::builder(&keys).config(config).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("grace") && error.to_string().contains("concurrent_limit"));
}

/// What is logged with `{:?}` names a session, and nobody. (The access token's own content too.)
#[tokio::test]
async fn t35_no_debug_output_tells_a_user_an_address_an_agent_or_a_label() {
    let bench = bench(SessionConfig::default());
    let subject = Subject::user("user-alice").with_roles(["admin"]).with_label("label-laptop");
    let home = Client::new("192.0.2.77".parse().ok(), Some("agent-one/1".into()));
    let away = Client::new("198.51.100.9".parse().ok(), Some("agent-one/1".into()));
    let issued = bench.sessions.issue(subject.clone(), &home).await.unwrap();
    let rotated = bench.sessions.rotate(issued.refresh_token.expose(), &home).await.unwrap();
    let session = bench.sessions.authenticate(issued.session_token.expose(), &away).await.unwrap();
    let access = bench.sessions.authenticate_access(issued.access_token.expose()).unwrap();
    let verifier = bench.sessions.verifier();
    let claims = verifier.check_by(issued.access_token.expose(), &bench.clock).unwrap();
    let listed = bench.sessions.list("user-alice").await.unwrap();
    let shown = [
        format!("{subject:?}"),
        format!("{issued:?}"),
        format!("{rotated:?}"),
        format!("{session:?}"),
        format!("{access:?}"),
        format!("{claims:?}"),
        format!("{listed:?}"),
        format!("{:?}", Principal::from(&session)),
    ];
    let secrets = ["user-alice", "192.0.2.77", "198.51.100.9", "agent-one", "label-laptop"];
    for text in &shown {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let id = issued.session.id().to_string();
    assert!(shown[1..8].iter().all(|text| text.contains(&id)), "{shown:#?}");
}

/// A value of any size costs no more memory than what could be stored.
#[tokio::test]
async fn a_value_that_is_too_large_is_given_up_while_it_is_written() {
    struct Endless(std::cell::Cell<usize>);

    impl serde::Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq((0..1_000_000).inspect(|_| self.0.set(self.0.get() + 1)))
        }
    }

    let value = Endless(std::cell::Cell::new(0));
    let refused = Changes::new().insert("large", &value).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    assert!(value.0.get() < MAX_ATTRIBUTE_BYTES, "{}", value.0.get());
}
