//! Erases a user from an audit log that nobody can change, and verifies that nothing changed.
//!
//! ```console
//! cargo run --example audit_erase
//! ```
//!
//! Needs no server. The personal fields of each entry are sealed under a key of its actor. Erasing
//! destroys that key: what was archived stays as it is, byte by byte, and says nothing any more.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use watchdog_audit::{AuditLog, Query, Record};
use watchdog_core::KeyRing;
use watchdog_core::audit::Actor;
use watchdog_examples::browser::{Failure, title};
use watchdog_examples::notes;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let log = notes::open(folder.path(), &KeyRing::ephemeral()?).await?;
    notes::fill(&log, 300).await?;
    log.seal_and_archive().await?;
    // Some more, which wait in the store.
    notes::fill(&log, 30).await?;

    title("Before");
    let before = records(&log).await?;
    println!("  {} entries, carol's readable: {}", before.len(), readable(&before, "carol"));

    title("Carol asks to be forgotten");
    // In the log this is an entry of its own, on a pseudonym.
    let dora = Actor::user("dora");
    let erased = log.erase(&Actor::user("carol"), dora, "asked for it, ticket 4711").await?;
    println!("  keys destroyed: {}", erased.keys);

    title("After");
    let after = records(&log).await?;
    let sealed = after.iter().filter(|record| !record.is_readable).count();
    println!("  {} entries, carol's readable: {}", after.len(), readable(&after, "carol"));
    println!("  alice's readable: {}", readable(&after, "alice"));
    if let Some(record) = after.iter().find(|record| !record.is_readable) {
        let entry = &record.entry;
        println!(
            "  what is left of one: {} on {} at {}",
            entry.action, entry.resource.kind, entry.occurred_at
        );
    }
    if readable(&after, "carol") > 0 || sealed == 0 {
        return Err("carol can still be read".into());
    }

    title("The archive");
    let verified = log.verify().await?;
    println!("  sound: {}, {} entries", verified.is_sound(), verified.entries);
    if !verified.is_sound() {
        return Err("the archive is not what was written".into());
    }
    Ok(())
}

/// Every entry, live and archived.
async fn records(log: &AuditLog) -> Result<Vec<Record>, Failure> {
    Ok(log.query(&Query::new().with_limit(1000)).await?.records)
}

fn readable(records: &[Record], user: &str) -> usize {
    let is_theirs = |record: &&Record| record.entry.actor.id == user && record.is_readable;
    records.iter().filter(is_theirs).count()
}
