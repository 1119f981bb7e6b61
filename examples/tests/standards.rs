//! Audit records in the words of others, held against the schemas that those publish.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use watchdog_audit::mapping::{to_cloudevent, to_ocsf};
use watchdog_audit::{AuditLog, EmbeddedStore, Query, Record};
use watchdog_core::RootKeys;
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};
use watchdog_core::{Clock as _, SystemClock};
use watchdog_storage::testing::require;

/// What the check script ends with where it cannot check.
const CANNOT_CHECK: i32 = 77;

const ACTIONS: [(&str, &str); 16] = [
    ("auth.login", "account"),
    ("auth.logout", "session"),
    ("auth.refresh", "refresh_token"),
    ("session.issued", "session"),
    ("session.refresh_token_reused", "session"),
    ("account.created", "account"),
    ("user.role_granted", "user"),
    ("account.renamed", "account"),
    ("http.get", "route"),
    ("http.post", "route"),
    ("file.written", "file"),
    ("audit.entries_lost", "audit_writer"),
    ("rows.deleted", "table"),
    ("schema.migrated", "database"),
    ("dump.exported", "bucket"),
    ("", ""),
];

fn actors() -> [Actor; 4] {
    let robot = Actor { kind: "robot".into(), id: "r2".into() };
    [Actor::user("alice"), Actor::service("billing"), Actor::anonymous(), robot]
}

/// One entry for each action and actor; categories, outcomes and the rest take turns.
fn samples() -> Vec<Entry> {
    let outcomes = [Outcome::Success, Outcome::Denied, Outcome::Failure, Outcome::Unknown];
    let ids = ["7", "", "/notes/{id}", "line\nbreak \u{7f} Ünïcødé \u{FDD0} 🦀"];
    let clients = [
        Client::unknown(),
        Client::new(Some([203, 0, 113, 7].into()), Some("curl/8".into())),
        Client::new(Some("2001:db8::1".parse().unwrap()), None),
    ];
    let mut entries = Vec::new();
    for (number, (action, kind)) in ACTIONS.iter().enumerate() {
        for (turn, actor) in actors().into_iter().enumerate() {
            let category = Category::ALL[(number + turn) % 4];
            let resource = Resource::new(*kind, ids[(number + turn) % ids.len()]);
            let (id, now) = (uuid::Uuid::now_v7(), SystemClock.now());
            let mut entry = Entry::new(id, now, category, actor, *action, resource)
                .with_outcome(outcomes[turn])
                .with_client(clients[(number + turn) % clients.len()].clone())
                .with_detail("nested", json!({ "list": [1, null, "two"], "é": 0.5 }));
            if turn % 2 == 0 {
                entry = entry.with_request_id("r-1").with_detail("status", 200 + turn);
            }
            if turn % 3 == 0 {
                entry = entry.with_trace_id("4bf92f3577b34da6a3ce929d0e0e4736");
            }
            // Each category on each action where it decides.
            for category in Category::ALL.into_iter().filter(|_| turn == 0) {
                let id = uuid::Uuid::now_v7();
                entries.push(Entry { id, category, ..entry.clone() });
            }
            entries.push(entry);
        }
    }
    entries
}

/// As a reader of the log gets them, and some as one gets them whose keys are gone.
async fn records() -> Vec<Record> {
    let log = AuditLog::builder()
        .with_store(EmbeddedStore::memory().unwrap())
        .with_encryption(&RootKeys::ephemeral().unwrap())
        .without_background()
        .build()
        .await
        .unwrap();
    for entry in samples() {
        log.record(entry).await.unwrap();
    }
    let mut records = log.query(&Query::new().with_limit(1000)).await.unwrap().records;
    let mut erased: Vec<_> = records.iter().step_by(5).cloned().collect();
    for record in &mut erased {
        record.is_readable = false;
        record.entry.actor.id.clear();
        record.entry.client = Client::unknown();
        record.entry.details.clear();
    }
    records.append(&mut erased);
    records
}

#[tokio::test]
async fn exported_events_fit_the_published_schemas() {
    let records = records().await;
    let mut lines = String::new();
    let mut classes = BTreeSet::new();
    for record in &records {
        let event = to_ocsf(record);
        classes.insert(event["class_uid"].as_u64().unwrap());
        writeln!(lines, "{}", json!({ "format": "ocsf", "event": event })).unwrap();
        let event = to_cloudevent(record, "/notes/audit").unwrap();
        writeln!(lines, "{}", json!({ "format": "cloudevents", "event": event })).unwrap();
    }
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), [3001, 3002, 6003, 6005]);
    assert!(records.len() > 100, "{}", records.len());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    std::fs::write(&file, lines).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut check = Command::new("bash");
    check.arg(root.join("scripts/check-mappings")).arg(&file);
    // Beside what was built, wherever that is.
    let target = std::env::current_exe().unwrap();
    check.env("CARGO_TARGET_DIR", target.ancestors().nth(3).unwrap());
    let output = check.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(CANNOT_CHECK) {
        // A failure where everything has to be there.
        assert!(!require("python packages", "exported_events_fit_the_published_schemas"), "{text}");
        return;
    }
    assert!(output.status.success(), "{text}");
}
