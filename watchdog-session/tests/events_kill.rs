//! Processes killed while they deliver events: another one takes over.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use watchdog_core::audit::Entry;
use watchdog_core::testing::RecordingSink;
use watchdog_core::{AuditSink, KeyRing, RootKeys, Secret};
use watchdog_session::{Client, RedisStore, Sessions, Subject};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::{RedisServer, Reply, is_available};

/// A sink that says what it got, and never answers: the process stands before or after the write
/// of the entry, and never comes to the acknowledgement.
#[derive(Debug)]
struct Stuck {
    has_written: bool,
}

#[async_trait]
impl AuditSink for Stuck {
    async fn record(&self, entry: Entry) -> watchdog_core::Result<()> {
        let word = if self.has_written { "written" } else { "claimed" };
        // One write a line, past the capture of the harness.
        let line = format!("\n{word} {}\n", entry.id);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
        std::future::pending().await
    }
}

fn keys() -> KeyRing {
    let root = |name: &str| {
        let secret = Secret::from(&*format!("{name}, the same in all processes of this test"));
        RootKeys::new(&secret, &[]).unwrap()
    };
    KeyRing { secret: root("secret"), jwt: root("jwt"), encryption: root("encryption") }
}

async fn sessions(url: &str, sink: Arc<dyn AuditSink>, takeover: Duration) -> Sessions {
    let redis = Redis::connect(&RedisConfig::from_url(url).unwrap()).await.unwrap();
    Sessions::builder(&keys())
        .store(Arc::new(RedisStore::new(redis)))
        .audit(sink)
        .event_takeover(takeover)
        .build()
        .unwrap()
}

/// Run by the tests only, which say where and how on its input: logs somebody in, and stops in the
/// midst of the delivery.
#[tokio::test]
#[ignore = "the victim of the tests beside it"]
async fn victim() {
    let mut told = String::new();
    std::io::stdin().read_line(&mut told).unwrap();
    let Some((word, url)) = told.trim().split_once(' ') else { return };
    let sink = Arc::new(Stuck { has_written: word == "written" });
    let sessions = sessions(url, sink, Duration::from_secs(3600)).await;
    sessions.issue(Subject::user("alice"), &Client::unknown()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Kills a process once it has claimed an event, and says which.
fn claim_and_die(word: &str, url: &str) -> String {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    victim.stdin.take().unwrap().write_all(format!("{word} {url}\n").as_bytes()).unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let said = output.lines().map(Result::unwrap).find(|line| line.starts_with(word));
    // SIGKILL: nothing of the victim runs any more.
    victim.kill().unwrap();
    victim.wait().unwrap();
    said.unwrap().split_once(' ').unwrap().1.to_owned()
}

async fn another_takes_over(word: &'static str) {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let url = server.url();
    let id = tokio::task::spawn_blocking(move || claim_and_die(word, &url)).await.unwrap();
    let sink = RecordingSink::default();
    let to = || Arc::new(sink.clone()) as Arc<dyn AuditSink>;
    // As long as the other may still be at it, nobody interferes.
    let patient = sessions(&server.url(), to(), Duration::from_secs(3600)).await;
    patient.sweep_events().await.unwrap();
    assert_eq!(sink.entries(), []);
    let heir = sessions(&server.url(), to(), Duration::ZERO).await;
    heir.sweep_events().await.unwrap();
    let entries = sink.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!((&*entries[0].action, entries[0].id.to_string()), ("session.issued", id));
    assert_eq!(server.command(&["KEYS", "wd:e*"]), Reply::List(Vec::new()));
}

#[tokio::test]
async fn a_process_killed_between_claim_and_sink_has_an_heir() {
    another_takes_over("claimed").await;
}

/// The sink has the event twice, with the same id.
#[tokio::test]
async fn a_process_killed_between_sink_and_acknowledgement_has_an_heir() {
    another_takes_over("written").await;
}

/// Four `Sessions` in one process, each a consumer: none is robbed while it is at it.
#[tokio::test]
async fn four_consumers_deliver_each_event_once() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let sink = RecordingSink::default();
    let mut all = Vec::new();
    for _ in 0..4 {
        let sink = Arc::new(sink.clone());
        all.push(sessions(&server.url(), sink, Duration::from_secs(30)).await);
    }
    let mut logins = tokio::task::JoinSet::new();
    for login in 0..200 {
        let sessions = all[login % 4].clone();
        logins.spawn(async move {
            // Few users: all deliver from the same buckets.
            let user = Subject::user(format!("user-{}", login % 3));
            sessions.issue(user, &Client::unknown()).await.unwrap();
        });
    }
    while let Some(login) = logins.join_next().await {
        login.unwrap();
    }
    for sessions in &all {
        sessions.deliver_events().await.unwrap();
    }
    let mut ids: Vec<_> = sink.entries().into_iter().map(|entry| entry.id).collect();
    let delivered = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), delivered, "no event twice");
    let issued = sink.entries().into_iter().filter(|entry| entry.action == "session.issued");
    assert_eq!(issued.count(), 200);
    assert_eq!(server.command(&["KEYS", "wd:e*"]), Reply::List(Vec::new()));
}
