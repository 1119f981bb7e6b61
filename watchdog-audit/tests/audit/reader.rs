//! Reading with a role, and that it is recorded.

use std::sync::Arc;

use watchdog_audit::{
    AuditLog, AuditReader, EmbeddedStore, ErrorKind, ExportForm, Order, Page, Query, READ_ACTION,
    Reader,
};
use watchdog_core::audit::{Actor, Category, Outcome, Resource};
use watchdog_storage::objects::Objects;

use crate::bench::{log, record};

fn auditor(log: &AuditLog) -> AuditReader {
    AuditReader::new(log.clone(), Reader::new(Actor::user("carol"), ["auditor"]))
}

async fn filled() -> AuditLog {
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::memory()).await;
    record(&log, 0..10).await;
    log
}

async fn reads(log: &AuditLog) -> Page {
    let query = Query::new().with_action(READ_ACTION).with_order(Order::OldestFirst);
    log.query(&query.with_limit(1000)).await.unwrap()
}

#[tokio::test]
async fn a_caller_without_a_role_gets_nothing_and_the_attempt_is_recorded() {
    let log = filled().await;
    let caller = Reader::new(Actor::user("mallory"), ["user", "auditors"]);
    let reader = AuditReader::new(log.clone(), caller.clone());
    let error = reader.query(&Query::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let mut out = Vec::new();
    let export = reader.export_json_lines(&Query::new(), ExportForm::Opened, &mut out).await;
    assert_eq!(export.unwrap_err().kind(), ErrorKind::Denied);
    assert!(out.is_empty());

    let recorded = reads(&log).await.records;
    assert_eq!(recorded.len(), 2);
    for record in recorded {
        assert_eq!(record.entry.outcome, Outcome::Denied);
        assert_eq!(record.entry.actor, caller.actor);
        assert_eq!(record.entry.category, Category::Access);
    }
}

#[tokio::test]
async fn the_roles_are_those_of_the_builder() {
    let log = AuditLog::builder()
        .with_store(EmbeddedStore::memory().unwrap())
        .with_encryption(&crate::bench::keys())
        .with_reader_roles(["compliance"])
        .without_background()
        .build()
        .await
        .unwrap();
    let with = |role: &str| {
        AuditReader::new(log.clone(), Reader::new(Actor::user("dora"), [role.to_owned()]))
    };
    assert!(with("compliance").query(&Query::new()).await.is_ok());
    assert_eq!(with("auditor").query(&Query::new()).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn every_page_is_recorded_and_says_what_was_asked_for_without_personal_values() {
    let log = filled().await;
    let query = Query::new()
        .with_actor(Actor::user("alice"))
        .with_resource(Resource::new("file", "bob@example.org"))
        .with_request_id("bob@example.org")
        .with_limit(2);
    auditor(&log).query(&query).await.unwrap();
    let page = auditor(&log).query(&Query::new().with_limit(2)).await.unwrap();
    assert_eq!(page.records.len(), 2);

    let recorded = reads(&log).await.records;
    assert_eq!(recorded.len(), 2);
    let details = serde_json::to_string(&recorded[0].entry.details).unwrap();
    assert!(!details.contains("alice") && !details.contains("example"), "{details}");
    assert_eq!(recorded[0].entry.details["subject"].as_str().unwrap().len(), 32);
    assert_eq!(recorded[0].entry.details["resource_type"], "file");
    assert_eq!(recorded[1].entry.details["records"], 2);
    assert_eq!(recorded[1].entry.outcome, Outcome::Success);
}

#[tokio::test]
async fn reads_do_not_multiply_and_paging_ends() {
    let log = filled().await;
    let reader = auditor(&log);
    // Pages of one, oldest first, over the reads themselves: each page adds one at the far end.
    for n in 0..3 {
        let mut query =
            Query::new().with_action(READ_ACTION).with_order(Order::OldestFirst).with_limit(1);
        let before = reads(&log).await.records.len();
        let mut pages = 0;
        loop {
            let page = reader.query(&query).await.unwrap();
            pages += 1;
            assert!(pages <= before + 1, "round {n}: {pages} pages of {before} reads");
            match page.next {
                Some(next) => query = query.with_cursor(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(reads(&log).await.records.len(), before + pages);
        // Later queries see them all.
        assert!(
            reader.query(&Query::new().with_action(READ_ACTION)).await.unwrap().records.len()
                > before
        );
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_recorded_is_not_given() {
    let log = filled().await;
    let reader = auditor(&log);
    log.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
    assert!(log.query(&Query::new()).await.is_ok());
    assert_eq!(reader.query(&Query::new()).await.unwrap_err().kind(), ErrorKind::Closed);
    let mut out = Vec::new();
    let export = reader.export_json_lines(&Query::new(), ExportForm::Opened, &mut out).await;
    assert_eq!(export.unwrap_err().kind(), ErrorKind::Closed);
    assert!(out.is_empty());
}
