//! Sessions behind a connection that loses replies, and on a server that is full.

mod support;

use support::{bench, client};
use watchdog_session::{ErrorKind, RevokeReason, SessionConfig, Subject, Verdict};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, is_available};

/// The client sends a script again whose reply was lost. The script ran: what the second run finds
/// must not look like theft, and must not be a second step.
#[tokio::test]
async fn a_lost_reply_is_never_taken_for_theft() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    // Without grace: only the mark of the call can tell a repeat from a replay.
    let config = SessionConfig { grace: std::time::Duration::ZERO, ..SessionConfig::default() };
    let bench = bench(&url, config).await;
    let issued = bench.issue("alice").await;
    let mut token = issued.refresh_token;
    for round in 1..=10_u64 {
        bench.sessions.deliver_events().await.unwrap();
        proxy.set(Fault::LoseReply);
        let rotated = bench.sessions.rotate(token.expose(), &client()).await.unwrap();
        assert_eq!((rotated.verdict, proxy.lost_replies()), (Verdict::Rotated, round));
        token = rotated.refresh_token;
    }
    let mut actions = bench.actions_of(issued.session.id()).await;
    assert_eq!(actions.remove(0), "session.issued");
    assert_eq!(actions, ["session.rotated"; 10]);
}

/// A login whose reply was lost is one session, not two.
#[tokio::test]
async fn a_login_whose_reply_is_lost_is_one_session() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let config = SessionConfig { concurrent_limit: 2, ..SessionConfig::default() };
    let bench = bench(&url, config).await;
    let first = bench.issue("alice").await;
    bench.sessions.deliver_events().await.unwrap();
    proxy.set(Fault::LoseReply);
    let second = bench.issue("alice").await;
    assert_eq!(proxy.lost_replies(), 1);
    for issued in [&first, &second] {
        assert!(
            bench.sessions.authenticate(issued.session_token.expose(), &client()).await.is_ok()
        );
    }
    assert_eq!(bench.actions_of(second.session.id()).await, ["session.issued"]);
    proxy.set(Fault::LoseReply);
    // The second run finds it gone: revoked all the same, once.
    bench.sessions.revoke(&second.session, RevokeReason::Logout).await.unwrap();
    assert!(bench.sessions.authenticate(second.session_token.expose(), &client()).await.is_err());
    let actions = bench.actions_of(second.session.id()).await;
    assert_eq!(actions, ["session.issued", "session.revoked"]);
}

/// At `maxmemory` a server under `noeviction` refused the first write of a revocation: of all times
/// when somebody floods it, nobody could be logged out and no theft ended a session.
#[tokio::test]
async fn a_full_server_refuses_logins_and_still_ends_sessions() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let config = SessionConfig { grace: std::time::Duration::ZERO, ..SessionConfig::default() };
    let bench = bench(&server.url(), config).await;
    let (left, stolen) = (bench.issue("left").await, bench.issue("stolen").await);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = bench.sessions.issue(Subject::user("new"), &client()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let session = bench.sessions.authenticate(left.session_token.expose(), &client()).await;
    assert!(bench.sessions.revoke(&session.unwrap(), RevokeReason::Logout).await.unwrap());
    let token = stolen.refresh_token.expose();
    assert_eq!(bench.sessions.rotate(token, &client()).await.unwrap().verdict, Verdict::Rotated);
    let theft = bench.sessions.rotate(token, &client()).await.unwrap_err();
    assert_eq!(theft.kind(), ErrorKind::Reused);
    let actions = bench.actions_of(stolen.session.id()).await;
    assert_eq!(actions, ["session.issued", "session.rotated", "session.refresh_token_reused"]);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(bench.sessions.issue(Subject::user("new"), &client()).await.is_ok());
}
