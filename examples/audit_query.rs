//! Asks an audit log who did what and when, page by page, over what is archived and what is not.
//!
//! ```console
//! cargo run --example audit_query
//! ```
//!
//! Needs no server.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use watchdog_audit::mapping::{to_cloudevent, to_ocsf};
use watchdog_audit::{AuditLog, Order, Query};
use watchdog_core::audit::Actor;
use watchdog_core::{KeyRing, Timestamp};
use watchdog_examples::browser::{Failure, title};
use watchdog_examples::notes;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let log = notes::open(folder.path(), &KeyRing::ephemeral()?).await?;
    notes::fill(&log, 2_000).await?;
    log.seal_and_archive().await?;
    notes::fill(&log, 100).await?;

    title("What alice did within five minutes");
    let from = Timestamp::from_second(notes::FIRST.as_second() + 600)?;
    let to = Timestamp::from_second(from.as_second() + 300)?;
    let window = Query::new().with_from(from).with_to(to).with_order(Order::OldestFirst);
    let alice = window.with_actor(Actor::user("alice"));
    let found = pages(&log, alice.with_limit(25)).await?;
    if found != 100 {
        return Err(format!("{found} entries of alice").into());
    }

    title("The last three logins");
    let query = Query::new().with_action("auth.login").with_limit(3);
    let page = log.query(&query).await?;
    for record in &page.records {
        let entry = &record.entry;
        println!("  {} {:<6} {:?}", entry.occurred_at, entry.actor.id, entry.outcome);
    }

    title("The last one, for others");
    let last = page.records.first().ok_or("nobody has signed in")?;
    let (ocsf, event) = (to_ocsf(last), to_cloudevent(last, "/notes/audit")?);
    println!("  OCSF        {}", ocsf["type_name"].as_str().unwrap_or_default());
    println!("  CloudEvents {}", event["type"].as_str().unwrap_or_default());
    Ok(())
}

/// Reads all pages and tells how many entries there were.
async fn pages(log: &AuditLog, mut query: Query) -> Result<usize, Failure> {
    let mut found = 0;
    loop {
        let page = log.query(&query).await?;
        found += page.records.len();
        println!(
            "  {} entries, {} of {} objects read",
            page.records.len(),
            page.objects_read,
            page.objects_total
        );
        match page.next {
            Some(cursor) => query = query.with_cursor(cursor),
            None => return Ok(found),
        }
    }
}
