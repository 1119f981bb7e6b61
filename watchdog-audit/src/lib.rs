//! An audit log that cannot silently lose or forge an entry: numbered segments, a verified archive,
//! signed manifests.
//!
//! ```
//! use watchdog_audit::{AuditLog, EmbeddedStore};
//! use watchdog_core::{RootKeys, audit::{Actor, Category, Resource}};
//! use watchdog_storage::objects::Objects;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = AuditLog::builder()
//!     .with_store(EmbeddedStore::memory()?)
//!     .with_archive(Objects::memory(), &RootKeys::ephemeral()?)
//!     .with_encryption(&RootKeys::ephemeral()?)
//!     .build()
//!     .await?;
//! let export = Resource::new("report", "2026-q1");
//! let operation = log.begin(Category::Access, Actor::user("alice"), "report.export", export).await?;
//! operation.succeed().await?; // dropped instead, it is recorded as `unknown`
//! assert_eq!(log.seal_and_archive().await?.entries, 1);
//! assert!(log.verify().await?.is_sound());
//! # Ok(())
//! # }
//! ```
//!
//! # Model
//!
//! A process is a *writer* and numbers its entries 1, 2, 3, … without gaps. Batches of them go as
//! *frames* into the open *segment* of a partition. A segment is *sealed* by size or age and never
//! changes again. The *archiver* writes its lines to the bucket, reads them back, and commits a
//! signed *manifest* that names the one before. Only then does the *gate* let the segment expire.
//!
//! # What it guarantees
//!
//! - [`AuditLog::record`] answers when the entry is as durable as [`Durability`] says, which has a
//!   table of what survives what. While the store is down entries are synced to a spool on the disk,
//!   and drained in order when it is back; the next process delivers what a killed one left there. A
//!   writer sends again what a promoted replica lacks; what was lost beyond is declared in the log as
//!   `audit.entries_lost`.
//! - With `FAIL_CLOSED` an operation whose begin cannot be made durable is refused.
//! - Where any process that shares the store has an archive, no segment has a life that ends before
//!   its archive was read back and verified: an archiver that sleeps for a year loses nothing.
//!   Afterwards its last entry lives exactly the retention
//!   (90 days by default).
//! - Each entry stands in the archive once: also when the archiver is killed at any step, when two
//!   run at once, and when the bucket fails or acknowledges what it did not store.
//! - [`AuditLog::verify`] names the first thing that does not fit: a missing object, an altered byte,
//!   a dropped, inserted or reordered entry, an object no manifest names, a truncated chain, a wrong
//!   signature, a gap in a writer's sequence, a sealed segment that is neither archived nor waits.
//!   Two deleted neighbours do not hide each other. [`AuditLog::prove`] gives a proof of one entry
//!   that needs nothing but a public key; [`integrity`] says who can do what.
//! - [`AuditLog::erase`] destroys the data key of a subject: its personal fields are unreadable in
//!   store, spool, archive and Postgres, and every proof still holds. [`AuditLog::rewrap`] brings the
//!   data keys under a new root without rewriting the archive.
//! - Under a [`LegalHold`] nothing it concerns expires or is erased.
//! - Entries take at most 64 KiB each and details 32 levels of nesting, batches 256 entries or 64 KiB,
//!   the queue 8192 entries beside the ends of operations, a page 16 MiB. What a full queue does is set by category: callers wait, are refused, or
//!   the entry is dropped, counted and declared; an entry of `security` is never dropped.
//!
//! # Where it ends
//!
//! - Without a spool directory that can be written, entries wait in memory while the store is down:
//!   those that wait are lost when the process is killed, and their callers never got a receipt.
//! - Until they are archived entries are not signed: the checksum of a frame has no key and finds
//!   accidents. Who can write to the store can forge, change or remove entries that wait, and can
//!   let a segment expire. The time between is `SEGMENT_MAX_AGE` and a run of the archiver.
//! - Somebody who has the signing key and can write to bucket and store can write another history.
//!   Somebody who has only the bucket cannot. Who cuts the end of the chain *and* empties the store
//!   is noticed by whoever kept a [`Checkpoint`] elsewhere.
//! - The same entry recorded again is recognised among the last 65 536 of one process. Another
//!   process stores it again, under the same id.
//! - What was sealed before any process had an archive is never archived. An archive that is switched
//!   on later goes on from there; its manifests say so in `unarchived`. When the archive is switched
//!   off again nothing expires any more: segments wait for it.
//! - The number of partitions in Redis only grows. To lower it, archive everything, stop every
//!   process, and begin with another key prefix.
//! - Subject keys that are derived from the encryption root cannot be erased one by one: keep them in
//!   a vault ([`AuditLogBuilder::with_subject_key_vault`]). A backup of the vault brings keys back.
//! - `resource`, `action`, `request_id` and `trace_id` are not sealed. Equal actors have equal
//!   pseudonyms, and whoever has the root key can tell whose.
//! - What cannot be read of a segment the store has damaged is archived as it is, loudly, and the
//!   segments after it go on; no query finds it.
//! - A process without an archive does not see legal holds: once there was one it erases nobody.
//! - Two archivers on a bucket that ignores create-only (Garage 2.5) are kept apart by the fencing
//!   token in the store alone. In the instant between the check of the token and the write a paused
//!   archiver can overwrite a manifest; the entries stay in the store's segments until the gate, and
//!   verification names the broken chain.
//! - A process that archives or queries keeps what the manifests say in memory, about 1 KiB each.
//!
//! # Configuration
//!
//! [`AuditConfig`] reads `WATCHDOG_AUDIT_*`: `ENABLED`, `LOG_LEVEL`, `RETENTION_DAYS` or
//! `LOG_TTL_SECONDS` (either alone decides), `ENCRYPTION_ENABLED`, `STORE` (`redis`, `embedded`),
//! `RETENTION_<CATEGORY>_DAYS`, `SEGMENT_MAX_BYTES`, `SEGMENT_MAX_AGE`, `SPOOL_DIRECTORY`,
//! `SPOOL_MAX_BYTES`, `DURABILITY`, `REPLICAS`, `REPLICATION_TIMEOUT`, `FAIL_CLOSED`,
//! `FULL_QUEUE_<CATEGORY>`, `SIGNING_KEY_FILE`, `SUBJECT_KEYS`, `POSTGRES_COPY`, `LIFECYCLE_*`,
//! `PARTITIONS`. On Redis with `maxmemory-policy allkeys-*` the log does not start: such a server
//! evicts what is not archived.
//!
//! # Rotating the signing key
//!
//! A process refuses manifests of a key it does not know. While processes are replaced one by one,
//! first roll out the *new* key as a previous one, so that everybody accepts it; then make it the
//! current one and keep the old one as previous for as long as the archive lives, or trust its
//! public key ([`AuditLogBuilder::with_archive_trusting`]).
//!
//! # Features
//!
//! `embedded` (a local file, by redb), `redis`, `objects` (the archive, on a local directory or S3),
//! all on by default. `postgres` (a copy in partitions, and subject keys there), `parquet` (export),
//! `axum` (a layer that records requests, an extractor for handlers); `testing` brings the conformance
//! suites for stores and vaults.
//!
//! # What it does not do
//!
//! [`AuditLog::query`] asks for no role: [`AuditReader`] does, and records each read. Objects of the
//! archive are removed by lifecycle rules of the bucket ([`AuditLog::lifecycle_plan`]), which are
//! compared with the configuration and written when `LIFECYCLE_APPLY` says so; verification counts
//! what is gone after its retention as expired.
//!
//! # How to extend it
//!
//! Implement [`SegmentStore`] and run `testing::conformance` on it. Implement [`SubjectKeys`] to keep
//! data keys elsewhere. [`format`](mod@format) says what another reader needs to know.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "objects")]
mod archive;
#[cfg(feature = "objects")]
mod archived;
#[cfg(feature = "objects")]
mod archiver;
#[cfg(feature = "objects")]
mod chain;
mod config;
#[cfg(all(feature = "objects", feature = "postgres"))]
mod copy;
mod entry;
mod error;
#[cfg(feature = "objects")]
mod export;
#[cfg(feature = "objects")]
mod fault;
pub mod format;
mod frame;
mod hex;
#[cfg(feature = "objects")]
mod hold;
#[cfg(feature = "objects")]
pub mod integrity;
#[cfg(feature = "objects")]
mod lifecycle;
mod live;
mod log;
#[cfg(feature = "objects")]
mod manifest;
pub mod mapping;
#[cfg(feature = "objects")]
mod merkle;
mod millis;
mod operation;
#[cfg(feature = "objects")]
mod pack;
#[cfg(feature = "objects")]
mod pages;
mod personal;
#[cfg(feature = "postgres")]
mod postgres;
mod progress;
#[cfg(feature = "objects")]
mod proof;
mod query;
mod reader;
mod receipt;
mod recent;
mod replay;
#[cfg(feature = "objects")]
mod restore;
mod retention;
#[cfg(feature = "objects")]
mod rotation;
pub mod segment;
#[cfg(feature = "objects")]
mod signed;
#[cfg(feature = "objects")]
mod signing;
mod spool;
mod store;
pub mod subjects;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "objects")]
mod tlog;
#[cfg(feature = "objects")]
mod verify;
#[cfg(feature = "axum")]
pub mod web;
mod writer_id;
#[cfg(feature = "objects")]
mod zone;

#[cfg(feature = "objects")]
pub use archived::{ArchivePlace, ArchiveRange, ArchiveWalk, ArchivedBatch, ArchivedLine};
#[cfg(feature = "objects")]
pub use archiver::{Archived, Archiver, Moment, Observer, Step};
pub use config::{
    ArchiveRetention, AuditConfig, Durability, FullQueue, LifecycleConfig, MirrorLevel, OnFull,
    StoreKind, SubjectKeyPlace,
};
#[cfg(all(feature = "objects", feature = "postgres"))]
pub use copy::{Copied, PostgresCopy};
pub use entry::{MAX_DETAIL_DEPTH, MAX_LINE_BYTES, Record};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "objects")]
pub use export::{EXPORT_BATCH, ExportForm, Exported};
#[cfg(feature = "objects")]
pub use fault::{Fault, FaultKind};
pub use frame::{FRAME_TARGET_BYTES, Frame, MAX_FRAME_ENTRIES, MAX_PAYLOAD_BYTES};
#[cfg(feature = "objects")]
pub use hold::LegalHold;
#[cfg(feature = "objects")]
pub use lifecycle::{LifecycleFinding, LifecycleFindingKind};
pub use log::{AuditHealth, AuditLog, AuditLogBuilder, QUEUE_ENTRIES};
#[cfg(feature = "objects")]
pub use manifest::{
    ArchivedObject, MANIFEST_FORMAT, Manifest, TimeRange, TreeHead, Unreadable, UnreadableObject,
};
pub use operation::Operation;
pub use personal::{SubjectHandle, SubjectKey, SubjectKeys};
pub use progress::{OnProgress, Progress};
#[cfg(feature = "objects")]
pub use proof::{ConsistencyProof, EntryName, InclusionProof};
pub use query::{Cursor, MAX_PAGE, Order, Page, Query};
pub use reader::{AuditReader, READ_ACTION, READER_ROLES, Reader};
pub use receipt::Receipt;
pub use recent::REMEMBERED_ENTRIES;
pub use replay::REPLAY_BYTES;
#[cfg(feature = "objects")]
pub use restore::Restored;
#[cfg(feature = "objects")]
pub use rotation::KeyRotation;
#[cfg(feature = "objects")]
pub use signing::PublicKey;
pub use spool::{SpoolFile, SpoolFiles, SpoolStatus};
#[cfg(feature = "embedded")]
pub use store::EmbeddedStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::SegmentStore;
#[cfg(feature = "embedded")]
pub use subjects::EmbeddedVault;
#[cfg(feature = "postgres")]
pub use subjects::PostgresVault;
#[cfg(feature = "redis")]
pub use subjects::RedisVault;
pub use subjects::{
    DerivedSubjectKeys, Erased, KeyVault, Rewrapped, StoredSubjectKeys, SubjectKeySource,
    WrappedKey,
};
#[cfg(feature = "objects")]
pub use tlog::Checkpoint;
#[cfg(feature = "objects")]
pub use verify::{Verification, VerifyOptions};
pub use writer_id::WriterId;
#[cfg(feature = "objects")]
pub use zone::{BloomFilter, MAX_FILTER_BYTES, ZoneMap};
