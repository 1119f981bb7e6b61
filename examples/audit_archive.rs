//! Moves an audit log into its archive, with a bar that shows how far it is.
//!
//! ```console
//! cargo run --example audit_archive
//! ```
//!
//! Needs no server: the log is a local file, the bucket a local directory. What lands in the bucket
//! is JSON lines: `zstd -dc FILE | jq`, DuckDB and pyarrow read it.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use watchdog_core::KeyRing;
use watchdog_examples::browser::{Failure, title};
use watchdog_examples::{bar, notes};
use watchdog_storage::objects::Objects;

const ENTRIES: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let log = notes::open(folder.path(), &KeyRing::ephemeral()?).await?;

    title("Recording");
    notes::fill(&log, ENTRIES).await?;
    println!("  {ENTRIES} entries, each acknowledged and synced to the disk");

    // A service does this in the background, every few minutes; any number of them may.
    title("Archiving");
    let archived =
        log.seal_and_archive_observed(&|progress| bar::draw("segments", progress)).await?;
    println!("  {} entries in {} objects", archived.entries, archived.objects);
    if archived.entries != ENTRIES {
        return Err("some entry is not in the archive".into());
    }

    title("Archiving again");
    let again = log.seal_and_archive().await?;
    println!("  {} entries: nothing is there twice", again.entries);

    title("In the bucket");
    let bucket = Objects::local(folder.path().join("bucket"))?;
    for category in ["access", "application", "security"] {
        let prefix = format!("audit/v1/category={category}");
        let page = bucket.list(&prefix, None, 1000).await?;
        let bytes: u64 = page.objects.iter().map(|object| object.size).sum();
        println!("  {category:<12} {} objects, {bytes} bytes", page.objects.len());
    }
    Ok(())
}
