//! Regeneration, attributes, lists, bindings and bulk revocation through the façade, on the memory
//! store and on Redis.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

mod support;

use std::sync::Arc;

use support::{Bench, FIREFOX, bench, client};
use watchdog_core::KeyRing;
use watchdog_core::audit::{Actor, Outcome, Resource};
use watchdog_core::testing::RecordingSink;
use watchdog_session::{
    AgentBinding, Attributes, Changes, Client, ErrorKind, IpBinding, Issued, LimitPolicy,
    MismatchAction, Principal, Regeneration, Result, Revocation, RevokeReason, Role, Session,
    SessionConfig, SessionSummary, Sessions, Subject,
};
use watchdog_storage::testing::redis::{shared, shared_cluster};

const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";

/// Runs a case on both stores.
macro_rules! on_both {
    ($($case:ident: $config:expr;)*) => {
        mod on_memory {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(in_memory($config)).await;
                }
            )*
        }
        mod on_redis {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(server) = shared() {
                        super::$case(bench(&server.url(), $config).await).await;
                    }
                }
            )*
        }
    };
}

on_both! {
    a_regenerated_session_has_new_tokens_and_the_old_are_dead: SessionConfig::default();
    a_reauthentication_begins_both_timers_anew: SessionConfig::default();
    attributes_are_typed_and_commit_at_once: SessionConfig::default();
    no_concurrent_increment_is_lost: SessionConfig::default();
    an_attribute_of_a_dead_session_is_gone: SessionConfig::default();
    attributes_have_bounds: SessionConfig::default();
    a_user_sees_and_ends_living_sessions: SessionConfig::default();
    everybody_is_revoked_and_can_come_back: SessionConfig::default();
    events_name_who_revoked: SessionConfig::default();
    a_denied_principal_is_reported: SessionConfig::default();
    a_login_beyond_the_limit_is_refused: SessionConfig {
        concurrent_limit: 1,
        concurrent_policy: LimitPolicy::Reject,
        ..SessionConfig::default()
    };
    a_mismatch_is_logged: with_action(MismatchAction::Log);
    a_mismatch_is_refused: with_action(MismatchAction::Refuse);
    a_mismatch_asks_for_a_step_up: with_action(MismatchAction::StepUp);
    a_mismatch_revokes: with_action(MismatchAction::Revoke);
    a_refresh_tells_an_empty_agent_from_none: SessionConfig {
        agent_binding: Some(AgentBinding::Exact),
        ..SessionConfig::default()
    };
    a_refresh_within_the_network_fits_a_binding_to_it: SessionConfig {
        ip_binding: Some(IpBinding::Prefix),
        ..SessionConfig::default()
    };
}

fn with_action(mismatch_action: MismatchAction) -> SessionConfig {
    SessionConfig { mismatch_action, ..SessionConfig::default() }
}

fn in_memory(config: SessionConfig) -> Bench {
    let sink = RecordingSink::default();
    let sessions = Sessions::builder(&KeyRing::ephemeral().unwrap())
        .config(config)
        .audit(Arc::new(sink.clone()))
        .build()
        .unwrap();
    Bench { sessions, sink }
}

fn other_client() -> Client {
    Client::new("192.0.2.77".parse().ok(), Some(CHROME.into()))
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

async fn authenticate(bench: &Bench, issued: &Issued) -> Result<Session> {
    bench.sessions.authenticate(issued.session_token.expose(), &client()).await
}

async fn a_regenerated_session_has_new_tokens_and_the_old_are_dead(bench: Bench) {
    let issued = bench.issue("alice").await;
    let session = authenticate(&bench, &issued).await.unwrap();
    bench.sessions.insert(&session, "cart", &[1, 2]).await.unwrap();
    let change = Regeneration::privilege_change().with_roles(["analyst"]).with_level("aal2");
    let new = bench.sessions.regenerate(&session, change, &client()).await.unwrap();
    assert_ne!(new.session.id(), session.id());
    assert_eq!(kind(authenticate(&bench, &issued).await), Some(ErrorKind::Gone));
    let refresh = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await;
    assert_eq!(kind(refresh), Some(ErrorKind::Gone));
    let after = authenticate(&bench, &new).await.unwrap();
    assert_eq!((after.user(), after.level()), ("alice", Some("aal2")));
    assert_eq!(after.roles(), ["analyst"]);
    assert_eq!(after.created_at(), session.created_at());
    assert_eq!(after.auth_time(), session.auth_time());
    assert_eq!(after.expires_at(), session.expires_at());
    bench.sessions.rotate(new.refresh_token.expose(), &client()).await.unwrap();
    // The attributes opened under another id before.
    let attributes = bench.sessions.attributes(&after).await.unwrap();
    assert_eq!(attributes.get::<Vec<u8>>("cart").unwrap(), Some(vec![1, 2]));
    let again = Regeneration::privilege_change();
    let lost = bench.sessions.regenerate(&session, again.clone(), &client()).await;
    assert_eq!(kind(lost), Some(ErrorKind::Gone));
    let third = bench.sessions.regenerate(&after, again.clone(), &client()).await.unwrap();
    let third = authenticate(&bench, &third).await.unwrap();
    let attributes = bench.sessions.attributes(&third).await.unwrap();
    assert_eq!(attributes.get::<Vec<u8>>("cart").unwrap(), Some(vec![1, 2]));
    let by_access = bench.sessions.authenticate_access(new.access_token.expose()).unwrap();
    let misused = bench.sessions.regenerate(&by_access, again, &client()).await;
    assert_eq!(kind(misused), Some(ErrorKind::Misuse));
    let actions = bench.actions_of(session.id()).await;
    assert_eq!(actions, ["session.issued", "session.regenerated"]);
}

async fn a_reauthentication_begins_both_timers_anew(bench: Bench) {
    let issued = bench.issue("alice").await;
    let session = authenticate(&bench, &issued).await.unwrap();
    // Time goes by: the server's own.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let renewal = Regeneration::reauthenticated();
    let new = bench.sessions.regenerate(&session, renewal, &client()).await.unwrap();
    let after = authenticate(&bench, &new).await.unwrap();
    assert_eq!(after.created_at(), session.created_at());
    assert!(after.auth_time() > session.auth_time());
    assert!(after.expires_at() > session.expires_at());
    assert!(after.last_seen() > session.last_seen());
    assert_eq!(after.roles(), session.roles());
}

async fn attributes_are_typed_and_commit_at_once(bench: Bench) {
    let issued = bench.issue("alice").await;
    let session = authenticate(&bench, &issued).await.unwrap();
    let sessions = &bench.sessions;
    assert_eq!(sessions.attributes(&session).await.unwrap(), Attributes::default());
    assert_eq!(sessions.insert(&session, "theme", "dark").await.unwrap(), 1);
    assert_eq!(sessions.insert(&session, "seen", &7_u32).await.unwrap(), 2);
    let held = sessions.attributes(&session).await.unwrap();
    assert_eq!((held.version(), held.len()), (2, 2));
    assert_eq!(held.get::<String>("theme").unwrap().as_deref(), Some("dark"));
    assert_eq!(held.get::<u32>("nothing").unwrap(), None);
    assert_eq!(kind(held.get::<u32>("theme")), Some(ErrorKind::Misuse));
    assert!(!format!("{held:?}").contains("dark"));
    // Somebody else's change in between.
    let changes = || Changes::new().insert("theme", "light").unwrap().remove("seen");
    assert_eq!(kind(sessions.replace(&session, 1, changes()).await), Some(ErrorKind::Conflict));
    assert_eq!(sessions.replace(&session, 2, changes()).await.unwrap(), 3);
    let held = sessions.attributes(&session).await.unwrap();
    assert_eq!(Vec::from_iter(held.names()), ["theme"]);
    // The same by an access token, which does not say where they are.
    let by_access = sessions.authenticate_access(issued.access_token.expose()).unwrap();
    sessions.insert(&by_access, "n", &1).await.unwrap();
    assert_eq!(sessions.attributes(&session).await.unwrap().len(), 2);
    sessions.remove(&session, "n").await.unwrap();
    sessions.clear(&session).await.unwrap();
    assert!(sessions.attributes(&session).await.unwrap().is_empty());
    let set = sessions.update(&session, "n", |_: Option<u32>| Some(1)).await.unwrap();
    let removed = sessions.update(&session, "n", |_: Option<u32>| None).await.unwrap();
    assert_eq!((set, removed), (Some(1), None));
    assert!(sessions.attributes(&session).await.unwrap().is_empty());
}

async fn no_concurrent_increment_is_lost(bench: Bench) {
    let issued = bench.issue("alice").await;
    let session = authenticate(&bench, &issued).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (sessions, session) = (bench.sessions.clone(), session.clone());
            tokio::spawn(async move {
                let mut made = 0;
                while made < 25 {
                    let count = |n: Option<u32>| Some(n.unwrap_or(0) + 1);
                    match sessions.update(&session, "n", count).await {
                        Ok(_) => made += 1,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let held = bench.sessions.attributes(&session).await.unwrap();
    assert_eq!(held.get::<u32>("n").unwrap(), Some(200));
}

async fn an_attribute_of_a_dead_session_is_gone(bench: Bench) {
    let issued = bench.issue("alice").await;
    let session = authenticate(&bench, &issued).await.unwrap();
    bench.sessions.insert(&session, "a", &1).await.unwrap();
    assert!(bench.sessions.revoke(&session, RevokeReason::Logout).await.unwrap());
    let insert = bench.sessions.insert(&session, "a", &2).await;
    assert_eq!(kind(insert), Some(ErrorKind::Gone));
    assert!(bench.sessions.attributes(&session).await.unwrap().is_empty());
    let by_access = bench.sessions.authenticate_access(issued.access_token.expose()).unwrap();
    let read = bench.sessions.attributes(&by_access).await;
    assert_eq!(kind(read), Some(ErrorKind::Gone));
}

async fn attributes_have_bounds(bench: Bench) {
    let session = bench.issue("alice").await.session;
    let big = "x".repeat(20_000);
    for (name, value) in [("", "x"), (&*"n".repeat(65), "x"), ("n", &*big)] {
        let insert = bench.sessions.insert(&session, name, value).await;
        assert_eq!(kind(insert), Some(ErrorKind::Misuse), "{name}");
    }
    for index in 0..64 {
        bench.sessions.insert(&session, &format!("n{index}"), "x").await.unwrap();
    }
    assert_eq!(kind(bench.sessions.insert(&session, "n", "x").await), Some(ErrorKind::Misuse));
    assert_eq!(bench.sessions.attributes(&session).await.unwrap().len(), 64);
}

async fn a_user_sees_and_ends_living_sessions(bench: Bench) {
    let phone = Subject::user("alice").with_roles(["admin"]).with_label("phone");
    let phone = bench.sessions.issue(phone, &client()).await.unwrap();
    let laptop = bench.issue("alice").await;
    bench.issue("bob").await;
    let list = bench.sessions.list("alice").await.unwrap();
    assert_eq!(list.len(), 2);
    let of_phone = list.iter().find(|one| one.id() == phone.session.id()).unwrap();
    assert_eq!((of_phone.label(), of_phone.roles()), (Some("phone"), &["admin".to_owned()][..]));
    assert_eq!(of_phone.client(), &client());
    assert_eq!(of_phone.created_at(), phone.session.created_at());
    assert_eq!(of_phone.auth_time(), phone.session.auth_time());
    assert_eq!(of_phone.expires_at(), phone.session.expires_at());
    let others = bench.sessions.revoke_others(&laptop.session, RevokeReason::User, &client()).await;
    assert_eq!(others.unwrap(), 1);
    assert_eq!(kind(authenticate(&bench, &phone).await), Some(ErrorKind::Gone));
    let list = bench.sessions.list("alice").await.unwrap();
    assert_eq!(list.iter().map(SessionSummary::id).collect::<Vec<_>>(), [laptop.session.id()]);
    let why = RevokeReason::CredentialsChanged;
    assert_eq!(bench.sessions.revoke_all("alice", why, &client()).await.unwrap(), 1);
    assert_eq!(kind(authenticate(&bench, &laptop).await), Some(ErrorKind::Gone));
    assert_eq!(bench.sessions.list("alice").await.unwrap(), []);
    assert_eq!(bench.sessions.list("bob").await.unwrap().len(), 1);
    // At once, in the same millisecond as well.
    let back = bench.issue("alice").await;
    authenticate(&bench, &back).await.unwrap();
}

async fn everybody_is_revoked_and_can_come_back(bench: Bench) {
    let (alice, bob) = (bench.issue("alice").await, bench.issue("bob").await);
    authenticate(&bench, &alice).await.unwrap();
    let by = Revocation::by(RevokeReason::Administrator, Actor::user("root"));
    bench.sessions.revoke_everybody(by, &client()).await.unwrap();
    for issued in [&alice, &bob] {
        assert_eq!(kind(authenticate(&bench, issued).await), Some(ErrorKind::Gone));
        let refresh = bench.sessions.rotate(issued.refresh_token.expose(), &client()).await;
        assert_eq!(kind(refresh), Some(ErrorKind::Gone));
        let insert = bench.sessions.insert(&issued.session, "a", &1).await;
        assert_eq!(kind(insert), Some(ErrorKind::Gone));
    }
    assert_eq!(bench.sessions.list("alice").await.unwrap(), []);
    let back = bench.issue("alice").await;
    authenticate(&bench, &back).await.unwrap();
    assert_eq!(bench.sessions.list("alice").await.unwrap().len(), 1);
    bench.sessions.sweep_events().await.unwrap();
    let entries = bench.sink.entries();
    let told: Vec<_> =
        entries.iter().filter(|entry| entry.action == "session.everybody_revoked").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].actor, Actor::user("root"));
    assert_eq!((&*told[0].resource.kind, &*told[0].resource.id), ("session", "*"));
    assert_eq!((told[0].outcome, &told[0].client), (Outcome::Success, &client()));
    assert_eq!(told[0].details["reason"], "administrator");
    assert!(!told[0].details.contains_key("owner"), "it is nobody's in particular");
}

/// Each bucket has a stamp of its own, and the shards share them.
#[tokio::test]
async fn everybody_is_revoked_on_a_cluster_too() {
    if let Some(cluster) = shared_cluster() {
        let bench = bench(&cluster.url(), SessionConfig::default()).await;
        everybody_is_revoked_and_can_come_back(bench).await;
    }
}

async fn events_name_who_revoked(bench: Bench) {
    let issued = bench.issue("alice").await;
    let by = Revocation::by(RevokeReason::Administrator, Actor::user("root"));
    assert!(bench.sessions.revoke(&issued.session, by).await.unwrap());
    bench.sessions.deliver_events().await.unwrap();
    let entries = bench.sink.entries();
    let revoked = entries.iter().find(|entry| entry.action == "session.revoked").unwrap();
    assert_eq!(revoked.actor, Actor::user("root"));
    assert_eq!(
        (&revoked.details["owner"], &revoked.details["reason"]),
        (&"alice".into(), &"administrator".into())
    );
    assert_eq!(revoked.client, client());
}

async fn a_denied_principal_is_reported(bench: Bench) {
    let issued = bench.issue("alice").await;
    let principal = Principal::from(&issued.session);
    assert!(principal.has_role(&Role::ADMIN) && !principal.has_role(&Role::ANALYST));
    let resource = Resource::new("report", "7");
    bench.sessions.deny(&principal, "report.read", resource.clone(), &client()).await.unwrap();
    let entries = bench.sink.entries();
    let denied = entries.iter().find(|entry| entry.action == "report.read").unwrap();
    assert_eq!((&denied.actor, denied.outcome), (&Actor::user("alice"), Outcome::Denied));
    assert_eq!((&denied.resource, &denied.client), (&resource, &client()));
}

async fn a_login_beyond_the_limit_is_refused(bench: Bench) {
    let first = bench.issue("alice").await;
    let refused = bench.sessions.issue(Subject::user("alice"), &client()).await;
    assert_eq!(kind(refused), Some(ErrorKind::TooManySessions));
    authenticate(&bench, &first).await.unwrap();
    bench.sessions.revoke(&first.session, RevokeReason::Logout).await.unwrap();
    bench.issue("alice").await;
}

/// A session token and a refresh token, presented by another browser.
async fn presented(bench: &Bench, issued: &Issued) -> [Option<ErrorKind>; 2] {
    let sessions = &bench.sessions;
    let token = sessions.authenticate(issued.session_token.expose(), &other_client()).await;
    let refresh = sessions.rotate(issued.refresh_token.expose(), &other_client()).await;
    [kind(token), kind(refresh)]
}

async fn a_mismatch_is_logged(bench: Bench) {
    let issued = bench.issue("alice").await;
    assert_eq!(presented(&bench, &issued).await, [None, None]);
    // Once a minute.
    assert_eq!(
        kind(bench.sessions.authenticate(issued.session_token.expose(), &other_client()).await),
        None
    );
    let actions = bench.actions_of(issued.session.id()).await;
    assert_eq!(actions, ["session.issued", "session.binding_mismatch", "session.rotated"]);
    let entries = bench.sink.entries();
    let told = entries.iter().find(|entry| entry.action == "session.binding_mismatch").unwrap();
    assert_eq!((told.outcome, &told.client), (Outcome::Success, &other_client()));
    assert_eq!((&told.details["action"], &told.details["part"]), (&"log".into(), &"agent".into()));
}

async fn a_mismatch_is_refused(bench: Bench) {
    let issued = bench.issue("alice").await;
    assert_eq!(presented(&bench, &issued).await, [Some(ErrorKind::ClientMismatch); 2]);
    authenticate(&bench, &issued).await.unwrap();
    bench.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    let actions = bench.actions_of(issued.session.id()).await;
    assert_eq!(actions, ["session.issued", "session.binding_mismatch", "session.rotated"]);
}

async fn a_mismatch_asks_for_a_step_up(bench: Bench) {
    let issued = bench.issue("alice").await;
    assert_eq!(presented(&bench, &issued).await, [Some(ErrorKind::StepUpRequired); 2]);
    let token = issued.session_token.expose();
    let sessions = &bench.sessions;
    let home = sessions.authenticate_for_step_up(token, &client()).await.unwrap();
    assert!(!home.is_step_up_required());
    let session = sessions.authenticate_for_step_up(token, &other_client()).await.unwrap();
    assert!(session.is_step_up_required());
    let step_up = Some(ErrorKind::StepUpRequired);
    assert_eq!(kind(sessions.insert(&session, "a", &1).await), step_up);
    let change = Regeneration::privilege_change();
    assert_eq!(kind(sessions.regenerate(&session, change, &other_client()).await), step_up);
    let renewal = Regeneration::reauthenticated();
    let new = sessions.regenerate(&session, renewal, &other_client()).await.unwrap();
    assert_eq!(presented(&bench, &new).await, [None, None]);
    assert_eq!(kind(authenticate(&bench, &new).await), step_up);
}

async fn a_mismatch_revokes(bench: Bench) {
    let issued = bench.issue("alice").await;
    let wanted = [Some(ErrorKind::ClientMismatch), Some(ErrorKind::Gone)];
    assert_eq!(presented(&bench, &issued).await, wanted);
    assert_eq!(kind(authenticate(&bench, &issued).await), Some(ErrorKind::Gone));
    let actions = bench.actions_of(issued.session.id()).await;
    assert_eq!(actions, ["session.issued", "session.revoked"]);
    let entries = bench.sink.entries();
    let revoked = entries.iter().find(|entry| entry.action == "session.revoked").unwrap();
    assert_eq!(revoked.details["reason"], "binding_mismatch");
}

async fn a_refresh_tells_an_empty_agent_from_none(bench: Bench) {
    let agents = [None, Some(String::new())].map(|agent| Client::new(client().ip, agent));
    for (home, other) in [(&agents[0], &agents[1]), (&agents[1], &agents[0])] {
        let issued = bench.sessions.issue(Subject::user("alice"), home).await.unwrap();
        let token = issued.refresh_token.expose();
        let refused = bench.sessions.rotate(token, other).await;
        assert_eq!(kind(refused), Some(ErrorKind::ClientMismatch));
        bench.sessions.rotate(token, home).await.unwrap();
    }
}

async fn a_refresh_within_the_network_fits_a_binding_to_it(bench: Bench) {
    let issued = bench.issue("alice").await;
    let near = Client::new("192.0.2.3".parse().ok(), Some(FIREFOX.into()));
    let far = Client::new("198.51.100.3".parse().ok(), Some(FIREFOX.into()));
    let refresh = issued.refresh_token.expose();
    let refused = bench.sessions.rotate(refresh, &far).await;
    assert_eq!(kind(refused), Some(ErrorKind::ClientMismatch));
    bench.sessions.rotate(refresh, &near).await.unwrap();
}

/// A session that was issued when addresses did not count is judged by its record once they do.
#[tokio::test]
async fn a_session_outlives_a_change_of_the_binding() {
    let Some(server) = shared() else { return };
    let keys = KeyRing::ephemeral().unwrap();
    let with = async |ip, agent| {
        let redis = watchdog_storage::redis::RedisConfig::from_url(&server.url()).unwrap();
        let redis = watchdog_storage::redis::Redis::connect(&redis).await.unwrap();
        let config = SessionConfig {
            ip_binding: Some(ip),
            agent_binding: Some(agent),
            ..SessionConfig::default()
        };
        let store = Arc::new(watchdog_session::RedisStore::new(redis));
        Sessions::builder(&keys).config(config).store(store).build().unwrap()
    };
    let before = with(IpBinding::Off, AgentBinding::Family).await;
    let after = with(IpBinding::Prefix, AgentBinding::Exact).await;
    let issued = before.issue(Subject::user("alice"), &client()).await.unwrap();
    let far = Client::new("198.51.100.3".parse().ok(), Some(FIREFOX.into()));
    let refresh = issued.refresh_token.expose();
    assert_eq!(kind(after.rotate(refresh, &far).await), Some(ErrorKind::ClientMismatch));
    after.rotate(refresh, &client()).await.unwrap();
}
