//! The layer and the extractor: who, what, how it ended, once, whichever way it ended.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;
use tower::ServiceExt as _;
use watchdog_audit::web::{Audit, AuditLayer, REQUEST_ID, Rate, Recording, Refusal, UNMATCHED};
use watchdog_audit::{AuditLog, EmbeddedStore, Order, Query};
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Requester, Resource};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::{keys, log};
use crate::faulty::Faulty;

async fn memory_log() -> AuditLog {
    log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::memory()).await
}

/// The layers and handlers of a small service.
fn router(layer: AuditLayer) -> Router {
    Router::new()
        .route("/notes/{id}", any(|| async { "a note" }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/status/{code}", any(status))
        .route("/panic", any(panicking))
        .route("/livez", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route("/stream", get(stream))
        .route("/named", get(named))
        .layer(layer)
}

async fn status(axum::extract::Path(code): axum::extract::Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

#[expect(clippy::panic, reason = "what a handler may do")]
async fn panicking() -> StatusCode {
    panic!("the test wants it")
}

/// Two frames, and an end that only shows when it is asked for.
async fn stream() -> Response {
    let frames =
        ["one", "two"].map(|text| Ok::<_, Infallible>(Bytes::from_static(text.as_bytes())));
    Response::new(Body::from_stream(Frames(frames.into_iter())))
}

struct Frames(std::array::IntoIter<Result<Bytes, Infallible>, 2>);

impl futures::Stream for Frames {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// Somebody within recognises the user and the client.
async fn named(Extension(requester): Extension<Requester>) -> &'static str {
    requester.set_actor(Actor::user("alice"));
    requester.set_client(Client::new(Some([203, 0, 113, 9].into()), None));
    "known"
}

fn request(method: &str, path: &str) -> Request {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// Sends a request and takes the whole answer.
async fn ask(router: &Router, method: &str, path: &str) -> StatusCode {
    let response = router.clone().oneshot(request(method, path)).await.unwrap();
    let status = response.status();
    to_bytes(response.into_body(), 1 << 20).await.unwrap();
    status
}

/// What was recorded, oldest first, once there are so many entries.
async fn entries(log: &AuditLog, count: usize) -> Vec<Entry> {
    let query = Query::new().with_order(Order::OldestFirst).with_limit(1000);
    eventually("the entries arrive", Duration::from_secs(5), async || {
        log.query(&query).await.unwrap().records.len() >= count
    })
    .await;
    // What is recorded twice comes before this one.
    let last = Resource::new("end", "");
    let end = log.begin(Category::Application, Actor::service("test"), "test.ended", last).await;
    end.unwrap().succeed().await.unwrap();
    let records = log.query(&query).await.unwrap().records;
    let entries: Vec<_> = records.into_iter().map(|record| record.entry).collect();
    let entries: Vec<_> =
        entries.into_iter().filter(|entry| entry.action != "test.ended").collect();
    assert_eq!(entries.len(), count, "{entries:#?}");
    entries
}

fn told(entry: &Entry) -> (&str, &str, Outcome) {
    (&entry.action, &entry.resource.id, entry.outcome)
}

#[tokio::test]
async fn an_entry_tells_who_what_and_how_but_never_the_path() {
    let log = memory_log().await;
    let router = router(log.layer());
    let mut request = request("GET", "/notes/secret?token=secret");
    let peer: SocketAddr = "198.51.100.7:4444".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request.headers_mut().insert("user-agent", "curl/8".parse().unwrap());
    request.headers_mut().insert("x-forwarded-for", "203.0.113.1".parse().unwrap());
    request.headers_mut().insert(REQUEST_ID, "chosen-by-the-client".parse().unwrap());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
    let response = router.oneshot(request).await.unwrap();
    let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "a note");

    let entries = entries(&log, 1).await;
    let entry = &entries[0];
    assert_eq!(told(entry), ("http.get", "/notes/{id}", Outcome::Success));
    assert_eq!((entry.category, entry.resource.kind.as_str()), (Category::Access, "route"));
    assert_eq!(entry.actor, Actor::anonymous());
    let client = Client::new(Some(peer.ip()), Some("curl/8".into()));
    assert_eq!(entry.client, client, "a header that anybody can write is not believed");
    assert_eq!(entry.request_id.as_ref(), Some(&id));
    assert_ne!(id, "chosen-by-the-client");
    assert_eq!(entry.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(entry.details["status"], json!(200));
    assert!(entry.details["latency_ms"].as_f64().unwrap() < 5_000.0);
    assert_eq!(entry.details.len(), 2, "{:?}", entry.details);
    assert!(!format!("{entry:?}").contains("secret"), "{entry:?}");
}

#[tokio::test]
async fn the_actor_is_whoever_was_recognised_last() {
    let log = memory_log().await;
    let router = router(log.layer()).layer(Extension(Actor::service("gateway")));
    ask(&router, "GET", "/notes/1").await;
    ask(&router, "GET", "/named").await;
    let entries = entries(&log, 2).await;
    assert_eq!(entries[0].actor, Actor::service("gateway"));
    assert_eq!(entries[1].actor, Actor::user("alice"), "from within the handler");
    assert_eq!(entries[1].client.ip, Some([203, 0, 113, 9].into()));
}

#[tokio::test]
async fn the_outcome_follows_the_status_and_nothing_that_failed_is_left_out() {
    let log = memory_log().await;
    let router = router(log.layer().with_rate(Category::Access, Rate::NONE));
    let codes = [401, 403, 404, 500, 503];
    for code in codes {
        assert_eq!(ask(&router, "GET", &format!("/status/{code}")).await.as_u16(), code);
    }
    ask(&router, "GET", "/status/200").await;
    ask(&router, "GET", "/status/304").await;
    let entries = entries(&log, codes.len()).await;
    let outcomes: Vec<_> = entries.iter().map(|entry| entry.outcome).collect();
    let (denied, failure) = (Outcome::Denied, Outcome::Failure);
    assert_eq!(outcomes, [denied, denied, failure, failure, failure]);
}

#[tokio::test]
async fn reads_are_sampled_by_the_id_of_the_request_and_changes_never() {
    let log = memory_log().await;
    let rate = Rate::new(0.3);
    let router = router(log.layer().with_rate(Category::Access, rate).trusting_request_ids());
    let ids: Vec<_> = (0..40).map(|number| format!("r-{number}")).collect();
    for id in &ids {
        let mut request = request("GET", "/notes/1");
        request.headers_mut().insert(REQUEST_ID, id.parse().unwrap());
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[REQUEST_ID], id.as_str());
        to_bytes(response.into_body(), 100).await.unwrap();
    }
    let taken: Vec<_> = ids.iter().filter(|id| rate.takes(id)).cloned().collect();
    assert!(!taken.is_empty() && taken.len() < ids.len());
    ask(&router, "POST", "/notes/1").await;
    let entries = entries(&log, taken.len() + 1).await;
    let reads = entries.iter().filter(|entry| entry.action == "http.get");
    let recorded: Vec<_> = reads.clone().filter_map(|entry| entry.request_id.clone()).collect();
    assert_eq!(recorded, taken);
    for read in reads {
        assert_eq!(read.details["rate"], json!(0.3), "it stands for several");
    }
    assert_eq!(entries.last().unwrap().details.get("rate"), None);
}

#[tokio::test]
async fn what_no_route_takes_has_one_template_and_made_up_methods_one_name() {
    let log = memory_log().await;
    let router = router(log.layer().with_unmatched(Rate::ALL));
    for number in 0..3 {
        assert_eq!(ask(&router, "GET", &format!("/scan/{number}.php")).await, 404);
    }
    ask(&router, "XYZZY", "/notes/1").await;
    assert_eq!(ask(&router, "DELETE", "/empty").await, 405);
    let entries = entries(&log, 5).await;
    for entry in &entries[..3] {
        assert_eq!(told(entry), ("http.get", UNMATCHED, Outcome::Failure));
    }
    assert_eq!(told(&entries[3]), ("http.other", "/notes/{id}", Outcome::Success));
    assert_eq!(told(&entries[4]), ("http.delete", "/empty", Outcome::Failure));
}

#[tokio::test]
async fn probes_are_left_out_and_scans_when_the_application_says_so() {
    let log = memory_log().await;
    let layer = log.layer().without_reads_of(["/livez"]).with_unmatched(Rate::NONE);
    let router = router(layer);
    ask(&router, "GET", "/livez").await;
    ask(&router, "HEAD", "/livez").await;
    ask(&router, "GET", "/scan").await;
    ask(&router, "POST", "/scan").await;
    ask(&router, "POST", "/livez").await;
    let entries = entries(&log, 1).await;
    assert_eq!(told(&entries[0]), ("http.post", "/livez", Outcome::Failure));
}

#[tokio::test]
async fn a_route_may_belong_to_another_category() {
    let log = memory_log().await;
    let router = router(log.layer().with_category("/notes/{id}", Category::Security));
    ask(&router, "GET", "/notes/1").await;
    assert_eq!(entries(&log, 1).await[0].category, Category::Security);
}

#[tokio::test]
async fn a_body_is_recorded_when_it_has_gone_and_as_cut_when_it_has_not() {
    let log = memory_log().await;
    let router = router(log.layer());
    let response = router.clone().oneshot(request("GET", "/stream")).await.unwrap();
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "onetwo");
    let response = router.clone().oneshot(request("GET", "/stream")).await.unwrap();
    let mut frames = response.into_body().into_data_stream();
    let first = std::future::poll_fn(|context| {
        futures::Stream::poll_next(std::pin::Pin::new(&mut frames), context)
    });
    assert_eq!(first.await.unwrap().unwrap(), "one");
    drop(frames);
    // Nobody waits for the body of these.
    drop(router.clone().oneshot(request("HEAD", "/stream")).await.unwrap());
    drop(router.clone().oneshot(request("GET", "/empty")).await.unwrap());
    let entries = entries(&log, 4).await;
    let outcomes: Vec<_> = entries.iter().map(|entry| entry.outcome).collect();
    let (success, failure) = (Outcome::Success, Outcome::Failure);
    assert_eq!(outcomes, [success, failure, success, success]);
    assert_eq!(entries[1].details["ended"], json!("cut"));
    assert_eq!(entries[1].details["status"], json!(200));
}

/// As hyper does over HTTP/1.1: after the announced bytes it does not ask for the end.
#[tokio::test]
async fn a_body_of_an_announced_length_is_whole_with_its_last_byte() {
    let log = memory_log().await;
    let announcing = || async {
        let mut response = stream().await;
        response.headers_mut().insert("content-length", "6".parse().unwrap());
        response
    };
    let router = Router::new().route("/file", get(announcing)).layer(log.layer());
    for wanted in [2, 1] {
        let response = router.clone().oneshot(request("GET", "/file")).await.unwrap();
        let mut frames = response.into_body().into_data_stream();
        for _ in 0..wanted {
            let next = std::future::poll_fn(|context| {
                futures::Stream::poll_next(std::pin::Pin::new(&mut frames), context)
            });
            assert_eq!(next.await.unwrap().unwrap().len(), 3);
        }
    }
    let entries = entries(&log, 2).await;
    assert_eq!((entries[0].outcome, entries[0].details.get("ended")), (Outcome::Success, None));
    assert_eq!(entries[1].outcome, Outcome::Failure, "the other was cut");
}

#[tokio::test]
async fn what_was_done_without_a_route_is_recorded_whatever_the_rate() {
    let log = memory_log().await;
    let inner = Router::new().route("/note", any(|| async { "done" }));
    let outer = Router::new().nest_service("/inner", inner).fallback(|| async { "done" });
    let router = outer.layer(log.layer().with_unmatched(Rate::NONE));
    for path in ["/inner/note", "/anywhere"] {
        assert_eq!(ask(&router, "GET", path).await, 200);
        assert_eq!(ask(&router, "POST", path).await, 200);
    }
    assert_eq!(ask(&router, "POST", "/inner/nothing").await, 404);
    for entry in entries(&log, 2).await {
        assert_eq!(told(&entry), ("http.post", UNMATCHED, Outcome::Success));
    }
}

#[tokio::test]
async fn a_panic_is_a_failure_and_is_recorded_once() {
    let log = memory_log().await;
    let router = router(log.layer());
    for method in ["GET", "POST"] {
        let asked = tokio::spawn(router.clone().oneshot(request(method, "/panic")));
        assert!(asked.await.unwrap_err().is_panic());
    }
    let entries = entries(&log, 2).await;
    assert_eq!(told(&entries[0]), ("http.get", "/panic", Outcome::Failure));
    assert_eq!(told(&entries[1]), ("http.post", "/panic", Outcome::Failure));
    for entry in &entries {
        assert_eq!(entry.details["ended"], json!("panicked"));
        assert_eq!(entry.details.get("status"), None);
    }
}

#[tokio::test]
async fn a_cancelled_request_is_unknown_and_is_recorded_once() {
    let log = memory_log().await;
    let started = Arc::new(Notify::new());
    let told_started = Arc::clone(&started);
    let hanging = move || {
        let started = Arc::clone(&told_started);
        async move {
            started.notify_one();
            std::future::pending::<StatusCode>().await
        }
    };
    let router = Router::new().route("/hang", any(hanging)).layer(log.layer());
    for method in ["GET", "POST"] {
        let asked = tokio::spawn(router.clone().oneshot(request(method, "/hang")));
        started.notified().await;
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
    let entries = entries(&log, 2).await;
    assert_eq!(told(&entries[0]), ("http.get", "/hang", Outcome::Unknown));
    assert_eq!(told(&entries[1]), ("http.post", "/hang", Outcome::Unknown));
    assert_eq!(entries[1].details["ended"], json!("cancelled"));
}

/// A router that counts what its handlers do, on a store that can be down.
async fn counting(store: &Arc<Faulty>, reads: Recording) -> (Router, AuditLog, Arc<AtomicUsize>) {
    let log = AuditLog::builder()
        .with_shared_store(store.clone())
        .with_encryption(&keys())
        .with_record_timeout(Duration::from_millis(50))
        .without_background()
        .build()
        .await
        .unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let handler = move || {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            "done"
        }
    };
    let layer = log.layer().with_reads(reads).answering_anyway(["/token"]);
    let router = Router::new().route("/note", any(handler.clone())).route("/token", post(handler));
    (router.layer(layer), log, done)
}

#[tokio::test]
async fn a_change_is_answered_when_its_entry_is_acknowledged_and_a_read_at_once() {
    let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let (router, log, done) = counting(&store, Recording::Queued).await;
    assert_eq!(ask(&router, "POST", "/note").await, 200);
    store.take_down(true);
    let refused = router.clone().oneshot(request("POST", "/note")).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(refused.headers().contains_key(REQUEST_ID));
    assert_eq!(to_bytes(refused.into_body(), 100).await.unwrap(), r#"{"error":"unavailable"}"#);
    assert_eq!(ask(&router, "GET", "/note").await, 200, "a read waits for nothing");
    assert_eq!(ask(&router, "POST", "/token").await, 200, "its answer cannot be had again");
    assert_eq!(done.load(Ordering::SeqCst), 4);
    store.take_down(false);
    assert_eq!(entries(&log, 4).await.len(), 4, "the log has kept them");
}

#[tokio::test]
async fn a_read_that_has_to_be_acknowledged_is_not_answered_without() {
    let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let (router, _log, _done) = counting(&store, Recording::Acknowledged).await;
    assert_eq!(ask(&router, "GET", "/note").await, 200);
    store.take_down(true);
    assert_eq!(ask(&router, "GET", "/note").await, 503);
}

#[tokio::test]
async fn a_change_that_cannot_be_begun_is_not_done() {
    let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let (router, log, done) = counting(&store, Recording::Queued).await;
    log.shutdown(Duration::from_secs(5)).await.unwrap();
    assert_eq!(ask(&router, "POST", "/note").await, 503);
    assert_eq!(ask(&router, "POST", "/token").await, 503);
    assert_eq!(done.load(Ordering::SeqCst), 0, "no handler ran");
    assert_eq!(ask(&router, "GET", "/note").await, 200);
}

async fn rename(audit: Audit, requester: Extension<Requester>) -> Result<String, Refusal> {
    let note = Resource::new("note", "7");
    requester.set_actor(Actor::user("bob"));
    let operation = audit.begin(Category::Application, "note.renamed", note).await?;
    operation.succeed().await?;
    assert_eq!(audit.actor(), Actor::user("bob"));
    assert_eq!((audit.trace_id(), audit.client()), (None, Client::unknown()));
    Ok(audit.request_id().to_owned())
}

#[tokio::test]
async fn what_a_handler_records_says_who_asked_and_in_which_request() {
    let log = memory_log().await;
    let router = Router::new().route("/rename", post(rename)).layer(log.layer());
    let response = router.oneshot(request("POST", "/rename")).await.unwrap();
    let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
    assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), id.as_str());
    let entries = entries(&log, 2).await;
    // In the order in which they began.
    assert_eq!(told(&entries[0]), ("http.post", "/rename", Outcome::Success));
    assert_eq!(told(&entries[1]), ("note.renamed", "7", Outcome::Success));
    for entry in &entries {
        assert_eq!(entry.actor, Actor::user("bob"));
        assert_eq!(entry.request_id.as_ref(), Some(&id));
    }
}

#[tokio::test]
async fn without_the_layer_no_handler_runs() {
    let router = Router::new().route("/rename", post(rename)).layer(Extension(Requester::new()));
    assert_eq!(ask(&router, "POST", "/rename").await, 500);
}
