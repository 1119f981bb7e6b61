//! New ids for old sessions: at step-up, at a change of privileges, in an answer that fails.

use std::time::Duration;

use watchdog_session::{
    ErrorKind, Issued, Regeneration, RevokeReason, SessionConfig, SessionStore, Subject, Verdict,
};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::shared;

use crate::rig::{Rig, client, sessions_in};

async fn rig(config: SessionConfig) -> Option<Rig> {
    Some(Rig::start(&shared()?.url(), config).await)
}

/// The old session token and refresh token are dead, for whoever fixed or stole them.
async fn is_dead(rig: &Rig, old: &Issued) {
    let session = rig.sessions.authenticate(old.session_token.expose(), &client()).await;
    assert_eq!(session.unwrap_err().kind(), ErrorKind::Gone);
    let refresh = rig.sessions.rotate(old.refresh_token.expose(), &client()).await;
    assert_eq!(refresh.unwrap_err().kind(), ErrorKind::Gone);
}

#[tokio::test]
async fn t02_step_up_and_a_change_of_privileges_change_the_id_and_kill_the_old_one() {
    let Some(rig) = rig(SessionConfig::default()).await else { return };
    for regeneration in [
        Regeneration::privilege_change(),
        Regeneration::reauthenticated(),
        Regeneration::privilege_change().with_roles(["admin", "operator"]),
    ] {
        let old = rig.issue("alice").await;
        rig.sessions.insert(&old.session, "cart", &3).await.unwrap();
        let session = rig.sessions.authenticate(old.session_token.expose(), &client()).await;
        let new =
            rig.sessions.regenerate(&session.unwrap(), regeneration, &client()).await.unwrap();
        assert_ne!(new.session.id(), old.session.id());
        assert_ne!(new.session_token, old.session_token);
        assert_ne!(new.refresh_token, old.refresh_token);
        is_dead(&rig, &old).await;
        let token = new.session_token.expose();
        let session = rig.sessions.authenticate(token, &client()).await.unwrap();
        let attributes = rig.sessions.attributes(&session).await.unwrap();
        assert_eq!(attributes.get::<u32>("cart").unwrap(), Some(3));
        let rotated = rig.sessions.rotate(new.refresh_token.expose(), &client()).await.unwrap();
        assert_eq!(rotated.verdict, Verdict::Rotated);
    }
}

/// Whoever becomes somebody else ends the first session and begins a second.
#[tokio::test]
async fn t02_a_switch_of_user_leaves_nothing_of_the_first() {
    let Some(rig) = rig(SessionConfig::default()).await else { return };
    let alice = rig.issue("alice").await;
    rig.sessions.insert(&alice.session, "secret", &"of alice").await.unwrap();
    assert!(rig.sessions.revoke(&alice.session, RevokeReason::Logout).await.unwrap());
    let bob = rig.sessions.issue(Subject::user("bob"), &client()).await.unwrap();
    assert_ne!(bob.session.id(), alice.session.id());
    assert!(rig.sessions.attributes(&bob.session).await.unwrap().is_empty());
    is_dead(&rig, &alice).await;
}

/// Two requests of one browser step up at once: one id wins, and exactly one session lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t02_parallel_regenerations_leave_exactly_one_session() {
    let Some(server) = shared() else { return };
    let Some(rig) = rig(SessionConfig::default()).await else { return };
    for round in 0..10 {
        let old = rig.issue(&format!("user-{round}")).await;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (sessions, session) = (rig.sessions.clone(), old.session.clone());
                tokio::spawn(async move {
                    let change = Regeneration::privilege_change();
                    sessions.regenerate(&session, change, &client()).await
                })
            })
            .collect();
        let mut won = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(issued) => won.push(issued.session.id().to_string()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Gone),
            }
        }
        assert_eq!(won.len(), 1);
        let left = sessions_in(&mut server.control(), &rig.users_key(rig.place(&old)));
        assert_eq!(left, won.into_iter().collect());
    }
}

/// tower-sessions removed the old record at once and stored the new one with the answer: a handler
/// that failed in between lost the session. Here it is done when the call returns.
#[tokio::test]
async fn t15_a_handler_that_fails_after_regenerating_has_a_session_that_works() {
    let Some(rig) = rig(SessionConfig::default()).await else { return };
    let old = rig.issue("alice").await;
    let (sessions, session) = (rig.sessions.clone(), old.session.clone());
    let handler = tokio::spawn(async move {
        let change = Regeneration::privilege_change();
        let new = sessions.regenerate(&session, change, &client()).await.unwrap();
        // The answer is a 5xx, but its cookie goes out.
        Err::<(), _>(new)
    });
    let new = handler.await.unwrap().unwrap_err();
    let token = new.session_token.expose();
    assert!(rig.sessions.authenticate(token, &client()).await.is_ok());
    is_dead(&rig, &old).await;
}

/// The browser hangs up and the handler is dropped at whatever moment: the old session lives or the
/// new one does, never both, never half of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t15_a_regeneration_that_is_dropped_leaves_one_session() {
    let Some(server) = shared() else { return };
    let Some(rig) = rig(SessionConfig::default()).await else { return };
    let mut changed = 0;
    for round in 0..60_u64 {
        let old = rig.issue(&format!("user-{round}")).await;
        rig.sessions.insert(&old.session, "cart", &3).await.unwrap();
        let (client, change) = (client(), Regeneration::privilege_change());
        let call = rig.sessions.regenerate(&old.session, change, &client);
        let patience = Duration::from_micros(20 * round);
        let answer = tokio::time::timeout(patience, call).await;
        let key = rig.users_key(rig.place(&old));
        let id = old.session.id().to_string();
        // What was sent runs on; then exactly one is left.
        if answer.is_ok() {
            eventually("the new one stands", Duration::from_secs(5), async || {
                !sessions_in(&mut server.control(), &key).contains(&id)
            })
            .await;
        }
        rig.store.read(&rig.place(&old)).await.unwrap();
        let left = sessions_in(&mut server.control(), &key);
        assert_eq!(left.len(), 1, "round {round}: {left:?}");
        changed += u32::from(!left.contains(&id));
    }
    assert!(changed > 0, "none went through");
}

/// The absolute lifetime goes on through a change of privileges; a new authentication resets both
/// timers (NIST SP 800-63B-4, section 5.2).
#[tokio::test]
async fn t44_regenerating_keeps_the_deadline_and_authenticating_again_resets_it() {
    let Some(rig) = rig(SessionConfig::default()).await else { return };
    let old = rig.issue("alice").await;
    let (deadline, auth_time) = (old.session.expires_at(), old.session.auth_time());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let change = Regeneration::privilege_change();
    let new = rig.sessions.regenerate(&old.session, change, &client()).await.unwrap();
    assert_eq!((new.session.expires_at(), new.session.auth_time()), (deadline, auth_time));
    assert_eq!(new.session.created_at(), old.session.created_at());
    let again = Regeneration::reauthenticated();
    let newest = rig.sessions.regenerate(&new.session, again, &client()).await.unwrap();
    assert!(newest.session.expires_at() > deadline);
    assert!(newest.session.auth_time() > auth_time);
    let lifetime =
        newest.session.expires_at().as_millisecond() - newest.session.auth_time().as_millisecond();
    assert_eq!(lifetime, 28_800_000);
    let token = newest.session_token.expose();
    let session = rig.sessions.authenticate(token, &client()).await.unwrap();
    assert_eq!(session.expires_at(), newest.session.expires_at());
}
