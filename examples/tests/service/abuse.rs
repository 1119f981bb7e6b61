//! Requests of somebody who means harm, and what the service makes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::running::{Answer, Login, Service};
use crate::slice::entries;

/// However much a client says about itself: what it was refused is on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_user_agent_keeps_no_refusal_out_of_the_log() {
    let service = Service::start(&BTreeMap::new());
    let (alice, carol) = (service.login("alice").await, service.login("carol").await);
    for agent in [vec![b'x'; 70_000], vec![0xff; 20_000]] {
        let agent = HeaderValue::from_bytes(&agent).unwrap();
        let body = json!({ "user": "alice", "password": "guessed" });
        let refused = service.post("/login").header(USER_AGENT, &agent).json(&body);
        assert_eq!(Answer::to(refused).await.error(), (StatusCode::UNAUTHORIZED, "invalid"));
        let denied = carol.by_token(service.get("/audit")).header(USER_AGENT, &agent);
        assert_eq!(Answer::to(denied).await.error(), (StatusCode::FORBIDDEN, "forbidden"));
    }
    // Nothing can be called what the log has no room for.
    let path = format!("/files/{}", "x".repeat(20_000));
    let put = carol.by_token(service.request(Method::PUT, &path)).body("x");
    assert_eq!(Answer::to(put).await.error(), (StatusCode::BAD_REQUEST, "invalid"));
    for action in ["auth.login", "access.denied"] {
        let all = entries(&service, &alice, &format!("action={action}")).await;
        let denied: Vec<_> = all.iter().filter(|entry| entry["outcome"] == "denied").collect();
        assert_eq!(denied.len(), 2, "{action}: {all:?}");
        for entry in denied {
            let agent = entry["client"]["user_agent"].as_str().unwrap();
            assert!((500..=512).contains(&agent.len()), "{}", agent.len());
        }
    }
}

/// The answer to a request of which only the first `sent` bytes of the body arrive.
async fn cut_off(service: &Service, login: &Login, line: &str, sent: usize) -> String {
    let mut stream = TcpStream::connect(service.socket()).await.unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 8388608\r\n\r\n",
        login.access()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; sent]).await.unwrap();
    let mut start = [0; 12];
    let read = stream.read_exact(&mut start);
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    String::from_utf8_lossy(&start).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_a_body_is_read_than_the_route_and_the_role_allow() {
    let service = Service::start(&BTreeMap::new());
    let (bob, carol) = (service.login("bob").await, service.login("carol").await);
    for line in ["PUT /session/data/k", "POST /login", "POST /refresh"] {
        let answer = cut_off(&service, &bob, line, 64 * 1024 + 1).await;
        assert_eq!(answer, "HTTP/1.1 413", "{line}");
    }
    // Whoever may not write a file is refused before its first byte.
    assert_eq!(cut_off(&service, &carol, "PUT /files/x", 0).await, "HTTP/1.1 403");
    let largest = vec![b'x'; 8 * 1024 * 1024];
    let put = bob.by_token(service.request(Method::PUT, "/files/large")).body(largest);
    assert_eq!(Answer::to(put).await.status, StatusCode::NO_CONTENT);
}

/// Ending one session says nothing about another, whose cookie came along.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_by_its_access_token_leaves_another_ones_cookie() {
    let service = Service::start(&BTreeMap::new());
    let bob = service.login("bob").await;
    for path in ["/logout", "/logout-all"] {
        let alice = service.login("alice").await;
        let request = alice.by_token(service.post(path)).header(COOKIE, &bob.cookie);
        let ended = Answer::to(request).await;
        assert_eq!((ended.status, ended.set_cookie()), (StatusCode::NO_CONTENT, None), "{path}");
    }
    let alice = service.login("alice").await;
    let path = format!("/sessions/{}", alice.body["session_id"].as_str().unwrap());
    let request = alice.by_token(service.request(Method::DELETE, &path));
    let ended = Answer::to(request.header(COOKIE, &bob.cookie)).await;
    assert_eq!((ended.status, ended.set_cookie()), (StatusCode::NO_CONTENT, None));
    let alive = Answer::to(bob.by_cookie(service.get("/me"))).await;
    assert_eq!(alive.status, StatusCode::OK);
}
