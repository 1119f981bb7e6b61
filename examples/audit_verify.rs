//! Verifies an archive, alters one byte of it, and sees the verification name the object.
//!
//! ```console
//! cargo run --example audit_verify
//! ```
//!
//! Needs no server. Somebody with access to the bucket can change any object; what they cannot do
//! is to make the hashes, the tree and the signatures fit again.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use watchdog_audit::{AuditLog, Verification};
use watchdog_core::KeyRing;
use watchdog_examples::browser::{Failure, title};
use watchdog_examples::{bar, notes};
use watchdog_storage::objects::Objects;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let log = notes::open(folder.path(), &KeyRing::ephemeral()?).await?;
    notes::fill(&log, 1_000).await?;
    log.seal_and_archive().await?;

    title("As it was written");
    let sound = verify(&log).await?;
    println!("  sound: {} entries in {} objects", sound.entries, sound.objects);
    if !sound.is_sound() {
        return Err("the archive is not what was written".into());
    }
    let checkpoint = sound.checkpoint.ok_or("a sound archive has a checkpoint")?;

    let bucket = Objects::local(folder.path().join("bucket"))?;
    let page = bucket.list("audit/v1/category=security", None, 1).await?;
    let object = page.objects.first().ok_or("nothing was archived")?;
    let original = bucket.get(&object.key).await?;

    title("Somebody alters one byte");
    let mut altered = original.to_vec();
    altered[original.len() / 2] ^= 1;
    bucket.put(&object.key, altered.into()).await?;
    found(&log).await?;

    title("Somebody deletes the object");
    bucket.delete(&object.key).await?;
    found(&log).await?;

    title("It is put back");
    bucket.put(&object.key, original).await?;
    // Against a checkpoint that was kept elsewhere a log cannot be cut off either.
    let verified = log.verify_since(&checkpoint).await?;
    println!("  sound: {}", verified.is_sound());
    if !verified.is_sound() {
        return Err("the archive is what was written again".into());
    }
    Ok(())
}

async fn verify(log: &AuditLog) -> Result<Verification, Failure> {
    Ok(log.verify_observed(&|progress| bar::draw("manifests", progress)).await?)
}

async fn found(log: &AuditLog) -> Result<(), Failure> {
    match log.verify().await?.fault {
        Some(fault) => println!("  found: {fault}"),
        None => return Err("it went unnoticed".into()),
    }
    Ok(())
}
