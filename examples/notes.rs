//! The audit log of a small service for notes, in a directory: what the examples of the audit log
//! work on.

use std::path::Path;

use uuid::Uuid;
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, Receipt, SubjectKeySource};
use watchdog_core::audit::{Actor, Category, Client, Entry, Outcome, Resource};
use watchdog_core::{KeyRing, Timestamp};
use watchdog_storage::objects::Objects;

use crate::browser::Failure;

/// When the first entry of the example happened: 2026-01-01T00:00:00Z.
pub const FIRST: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Opens the log: entries and subject keys in local files, the archive in a local directory.
///
/// A service takes `config` and the keys from its environment, and S3 for the archive.
///
/// # Errors
///
/// When the directory cannot be used.
pub async fn open(directory: &Path, keys: &KeyRing) -> Result<AuditLog, Failure> {
    let config = AuditConfig {
        spool_directory: directory.join("log"),
        // Many small segments, for the sake of the example.
        segment_max_bytes: 64 * 1024,
        ..AuditConfig::default()
    };
    let subject_keys = SubjectKeySource::new().keys(&config, &keys.encryption)?;
    let log = AuditLog::builder()
        .with_config(&config)
        .with_store(EmbeddedStore::open(&config.spool_directory)?)
        .with_subject_keys(subject_keys)
        .with_archive(Objects::local(directory.join("bucket"))?, &keys.secret)
        .without_background();
    Ok(log.build().await?)
}

/// Records what three users did with their notes, one thing each second.
///
/// # Errors
///
/// When the log does not take an entry.
pub async fn fill(log: &AuditLog, entries: u64) -> Result<(), Failure> {
    let mut recording: tokio::task::JoinSet<watchdog_audit::Result<Receipt>> =
        tokio::task::JoinSet::new();
    for number in 0..entries {
        let (log, entry) = (log.clone(), entry(number)?);
        recording.spawn(async move { log.record(entry).await });
        // The log would make those wait who come when its queue is full.
        if recording.len() >= 512 {
            recording.join_next().await.transpose()?.transpose()?;
        }
    }
    while let Some(recorded) = recording.join_next().await {
        recorded??;
    }
    Ok(())
}

fn entry(number: u64) -> Result<Entry, Failure> {
    let user = ["alice", "bob", "carol"][usize::try_from(number % 3)?];
    let (category, action, outcome) = match number % 10 {
        0 => (Category::Security, "auth.login", Outcome::Success),
        7 => (Category::Application, "note.written", Outcome::Success),
        9 => (Category::Access, "note.read", Outcome::Denied),
        _ => (Category::Access, "note.read", Outcome::Success),
    };
    let at = Timestamp::from_second(FIRST.as_second() + i64::try_from(number)?)?;
    let note = Resource::new("note", (number % 100).to_string());
    let client = Client::new(Some([203, 0, 113, 7].into()), Some("Firefox/143.0".into()));
    Ok(Entry::new(Uuid::now_v7(), at, category, Actor::user(user), action, note)
        .with_outcome(outcome)
        .with_client(client))
}
