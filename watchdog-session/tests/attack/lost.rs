//! Calls whose answer is lost, and calls that arrive late: nobody was robbed.

use std::sync::Arc;
use std::time::Duration;

use watchdog_session::{ErrorKind, RevokeReason, SessionConfig, Sessions, Verdict};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, shared};

use crate::rig::{Rig, client, sessions_in};

/// A process that sees Redis through a proxy, beside the first one of a rig.
struct Remote {
    proxy: Arc<FaultProxy>,
    sessions: Sessions,
}

impl Remote {
    async fn new(rig: &Rig, server: &RedisServer, attempts: u32) -> Self {
        let proxy = Arc::new(FaultProxy::start(server.port()).await.unwrap());
        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let sessions = rig.peer(&url, |redis| {
            redis.attempts = attempts;
            redis.reconnect_min = Duration::from_millis(5);
        });
        Self { sessions: sessions.await, proxy }
    }

    /// Loses the next answers, one after the other.
    fn lose(&self, answers: u64) -> tokio::task::JoinHandle<()> {
        let proxy = Arc::clone(&self.proxy);
        let from = proxy.lost_replies();
        proxy.set(Fault::LoseReply);
        tokio::spawn(async move {
            for lost in 1..answers {
                while proxy.lost_replies() < from + lost {
                    tokio::task::yield_now().await;
                }
                proxy.set(Fault::LoseReply);
            }
        })
    }
}

/// Without grace: only the mark of the call tells a repeat from a replay.
fn no_grace() -> SessionConfig {
    SessionConfig { grace: Duration::ZERO, ..SessionConfig::default() }
}

/// The script runs, its answer is lost, the client library sends it again; up to three times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_a_refresh_whose_answer_is_lost_is_sent_again_and_is_no_theft() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), no_grace()).await;
    let remote = Remote::new(&rig, server, 8).await;
    let issued = rig.issue("unlucky").await;
    let mut token = issued.refresh_token;
    for round in 0..8 {
        let before = remote.proxy.lost_replies();
        let losing = remote.lose(1 + round % 2);
        let rotated = remote.sessions.rotate(token.expose(), &client()).await.unwrap();
        assert_eq!(rotated.verdict, Verdict::Rotated, "round {round}");
        losing.abort();
        remote.proxy.set(Fault::Forward);
        assert!(remote.proxy.lost_replies() > before, "round {round}: no answer was lost");
        token = rotated.refresh_token;
    }
    let session = issued.session_token;
    assert!(rig.sessions.authenticate(session.expose(), &client()).await.is_ok());
}

/// The library gives up after one attempt; the browser asks again, elsewhere, within the grace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_a_browser_that_got_no_answer_asks_again_and_is_no_thief() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let remote = Remote::new(&rig, server, 1).await;
    let issued = rig.issue("patient").await;
    // The server knows the script: what is lost is the answer to it, not that it is unknown.
    let warm = rig.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    let mut token = warm.refresh_token;
    for round in 0..8 {
        remote.proxy.set(Fault::LoseReply);
        let error = remote.sessions.rotate(token.expose(), &client()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "round {round}");
        let again = rig.sessions.rotate(token.expose(), &client()).await.unwrap();
        assert_eq!(again.verdict, Verdict::Grace, "round {round}");
        token = again.refresh_token;
        eventually("the connection is back", Duration::from_secs(5), async || {
            let session = issued.session_token.expose();
            remote.sessions.authenticate(session, &client()).await.is_ok()
        })
        .await;
    }
}

/// A login, a logout and another logout whose answers are lost: one session, one end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_a_login_and_a_logout_whose_answers_are_lost_happen_once() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let remote = Remote::new(&rig, server, 3).await;
    let mut control = server.control();
    for round in 0..5 {
        let user = watchdog_session::Subject::user(format!("user-{round}"));
        remote.proxy.set(Fault::LoseReply);
        let issued = remote.sessions.issue(user, &client()).await.unwrap();
        let key = rig.users_key(rig.place(&issued));
        assert_eq!(sessions_in(&mut control, &key).len(), 1);
        remote.proxy.set(Fault::LoseReply);
        remote.sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap();
        assert_eq!(sessions_in(&mut control, &key).len(), 0);
    }
}

/// A call hangs on its way to Redis; its caller gives up after a second and asks another process,
/// and goes on from there. When the first call arrives after all, it is an echo, not a thief.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_a_call_that_arrives_after_its_caller_went_on_is_no_theft() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let remote = Remote::new(&rig, server, 1).await;
    let issued = rig.issue("detour").await;
    // The process knows the time of the server.
    remote.sessions.issue(watchdog_session::Subject::user("other"), &client()).await.unwrap();
    remote.proxy.set(Fault::Freeze);
    let token = issued.refresh_token.expose();
    let error = remote.sessions.rotate(token, &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let first = rig.sessions.rotate(token, &client()).await.unwrap();
    let second = rig.sessions.rotate(first.refresh_token.expose(), &client()).await.unwrap();
    let before = remote.proxy.bytes_to_server();
    remote.proxy.set(Fault::Forward);
    eventually("the late call arrives", Duration::from_secs(5), async || {
        remote.proxy.bytes_to_server() > before
    })
    .await;
    // What comes after it on the same connection was answered after it.
    eventually("the connection is back", Duration::from_secs(5), async || {
        let user = watchdog_session::Subject::user("other");
        remote.sessions.issue(user, &client()).await.is_ok()
    })
    .await;
    let answer = rig.sessions.rotate(second.refresh_token.expose(), &client()).await;
    assert_eq!(answer.unwrap().verdict, Verdict::Rotated);
}
