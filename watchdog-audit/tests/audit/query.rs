//! Queries over the store and the archive.

use std::sync::Arc;

use proptest::prelude::*;
use watchdog_audit::segment::SegmentId;
use watchdog_audit::testing::WIDE;
use watchdog_audit::{
    AuditConfig, AuditLog, DerivedSubjectKeys, EmbeddedStore, ErrorKind, ExportForm, Frame, Order,
    Query, SegmentStore as _, SubjectKeys as _, WriterId,
};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Entry, Outcome};
use watchdog_storage::objects::Objects;

use crate::bench::{entry, keys, log_with, record};

fn at(n: u64) -> Timestamp {
    entry(n).occurred_at
}

/// Numbers 0 to 60: two thirds archived in several objects, the rest in the store. In order, or
/// so that the times of the objects overlap.
async fn filled(is_in_order: bool) -> AuditLog {
    let number = |n: u64| if is_in_order { n } else { n * 17 % 60 };
    let config = AuditConfig { segment_max_bytes: 3000, ..AuditConfig::default() };
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log_with(config, store, &Objects::memory()).await;
    for n in 0..60 {
        let number = number(n);
        record(&log, number..number + 1).await;
        if n == 40 {
            log.seal_and_archive().await.unwrap();
        }
    }
    log
}

async fn all(log: &AuditLog, mut query: Query) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let page = log.query(&query).await.unwrap();
        found.extend(page.records.iter().map(|r| r.entry.resource.id.parse::<u64>().unwrap()));
        match page.next {
            // Through its text, as an application hands it out.
            Some(cursor) => query = query.with_cursor(cursor.to_string().parse().unwrap()),
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_query_finds_what_a_plain_filter_finds(
        queries in prop::collection::vec((
            prop::option::of(prop::bool::ANY),
            prop::option::of(prop::bool::ANY),
            prop::option::of(0_u64..65),
            prop::option::of(0_u64..65),
            1_usize..20,
            prop::bool::ANY,
        ), 1..8)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let log = filled(false).await;
            for (is_alice, is_read, from, to, limit, is_newest_first) in queries {
                let mut query = Query::new().with_limit(limit);
                let mut wanted: Vec<Entry> = (0..60).map(entry).collect();
                if let Some(is_alice) = is_alice {
                    let actor = Actor::user(if is_alice { "alice" } else { "bob" });
                    wanted.retain(|entry| entry.actor == actor);
                    query = query.with_actor(actor);
                }
                if let Some(is_read) = is_read {
                    let action = if is_read { "file.read" } else { "file.written" };
                    wanted.retain(|entry| entry.action == action);
                    query = query.with_action(action);
                }
                if let Some(from) = from {
                    wanted.retain(|entry| entry.occurred_at >= at(from));
                    query = query.with_from(at(from));
                }
                if let Some(to) = to {
                    wanted.retain(|entry| entry.occurred_at < at(to));
                    query = query.with_to(at(to));
                }
                if is_newest_first {
                    wanted.reverse();
                } else {
                    query = query.with_order(Order::OldestFirst);
                }
                let wanted: Vec<u64> =
                    wanted.iter().map(|entry| entry.resource.id.parse().unwrap()).collect();
                assert_eq!(all(&log, query.clone()).await, wanted, "{query:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_narrow_query_reads_few_objects() {
    let log = filled(true).await;
    let query = Query::new().with_from(at(1)).with_to(at(3));
    let page = log.query(&query).await.unwrap();
    assert_eq!(page.records.len(), 2);
    assert!(page.objects_total >= 16, "{}", page.objects_total);
    assert!(page.objects_read <= 5, "{} of {}", page.objects_read, page.objects_total);
}

#[tokio::test]
async fn a_zone_map_leads_to_the_one_object_that_holds_it() {
    // Every object spans the same time, so that only the zone maps tell them apart.
    let log = filled(false).await;
    let needle = Entry { actor: Actor::user("carol"), ..entry(30) }
        .with_request_id("request-1")
        .with_outcome(Outcome::Denied);
    log.record(needle.clone()).await.unwrap();
    for n in 60..100 {
        log.record(Entry { occurred_at: at(n * 17 % 60), ..entry(n) }).await.unwrap();
    }
    log.seal_and_archive().await.unwrap();
    for query in [
        Query::new().with_actor(needle.actor.clone()),
        Query::new().with_request_id("request-1"),
        Query::new().with_outcome(Outcome::Denied),
        Query::new().with_actor(needle.actor.clone()).with_category(needle.category),
    ] {
        let page = log.query(&query).await.unwrap();
        assert_eq!(page.records.len(), 1, "{query:?}");
        assert_eq!(page.records[0].entry.id, needle.id);
        assert!(page.objects_total >= 30, "{}", page.objects_total);
        assert_eq!(page.objects_read, 1, "{query:?}");
    }
    let nothing = log.query(&Query::new().with_action("file.removed")).await.unwrap();
    assert_eq!((nothing.records.len(), nothing.objects_read), (0, 0));
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_recorded() {
    let log = filled(true).await;
    let page = log.query(&Query::new().with_from(at(7)).with_to(at(8))).await.unwrap();
    let record = &page.records[0];
    assert_eq!(Entry { id: record.entry.id, ..entry(7) }, record.entry);
    assert!(record.is_readable);
    assert_eq!((record.writer, record.sequence), (log.writer(), 8));
}

#[test]
fn a_text_that_is_no_cursor_is_refused() {
    for text in ["", "1.2.3", "x", "1.00000000000000000000000000000000.1.1"] {
        let error = text.parse::<watchdog_audit::Cursor>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misuse, "{text}");
    }
}

/// Somebody who can write to the store puts lines in whose boxes nobody made.
#[tokio::test]
async fn a_line_that_does_not_open_hides_no_other() {
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log_with(AuditConfig::default(), store.clone(), &Objects::memory()).await;
    record(&log, 0..2).await;
    let writer = WriterId::from_bytes([7; 16]);
    let mut frame = Frame::new(writer, 1);
    let known = Actor::user("alice");
    let derived = DerivedSubjectKeys::new(&keys()).unwrap().current(&known).await.unwrap();
    let (handle, label) = (derived.handle().as_str(), derived.label());
    for (n, (subject, key, content)) in
        [("zz", "k", ""), (handle, label, "no base64!"), (handle, label, "AAAA")].iter().enumerate()
    {
        let line = serde_json::json!({
            "v": 1, "writer": writer.to_string(), "seq": n + 1, "recorded_at": at(9),
            "id": uuid::Uuid::now_v7(), "occurred_at": at(9), "category": "access",
            "actor": { "type": "user" }, "action": "file.read",
            "resource": { "type": "file", "id": (n + 100).to_string() }, "outcome": "success",
            "sealed": { "subject": subject, "key": key, "box": content },
        });
        frame.push(line.to_string().as_bytes(), 0).unwrap();
    }
    let open = SegmentId { partition: 0, number: 1 };
    store.append(open, &frame, WIDE).await.unwrap();
    log.seal_and_archive().await.unwrap();
    let page = log.query(&Query::new()).await.unwrap();
    assert_eq!(page.records.len(), 5);
    assert_eq!(page.records.iter().filter(|record| record.is_readable).count(), 2);
    let mut out = Vec::new();
    let exported =
        log.export_json_lines(&Query::new(), ExportForm::Opened, &mut out).await.unwrap();
    assert_eq!((exported.records, exported.unreadable), (5, 3));
}
