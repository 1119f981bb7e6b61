//! Audit log
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "objects")]
mod archive;
#[cfg(feature = "objects")]
mod archiver;
#[cfg(feature = "objects")]
mod chain;
mod config;
mod entry;
mod error;
mod frame;
mod hex;
mod live;
mod log;
#[cfg(feature = "objects")]
mod manifest;
#[cfg(feature = "objects")]
mod merkle;
mod operation;
#[cfg(feature = "objects")]
mod pack;
mod personal;
mod query;
mod receipt;
mod recent;
mod replay;
pub mod segment;
#[cfg(feature = "objects")]
mod signing;
mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "objects")]
mod verify;
mod writer_id;

#[cfg(feature = "objects")]
pub use archiver::{Archived, Archiver, Moment, Observer, Step};
#[cfg(feature = "objects")]
pub use chain::{Fault, FaultKind};
pub use config::{ArchiveRetention, AuditConfig, MirrorLevel, StoreKind};
pub use entry::{MAX_LINE_BYTES, Record};
pub use error::{Error, ErrorKind, Result};
pub use frame::{FRAME_TARGET_BYTES, Frame, MAX_FRAME_ENTRIES, MAX_PAYLOAD_BYTES};
pub use log::{AuditLog, AuditLogBuilder, QUEUE_ENTRIES};
#[cfg(feature = "objects")]
pub use manifest::{ArchivedObject, MANIFEST_FORMAT, Manifest, TimeRange};
pub use operation::Operation;
pub use personal::{DerivedSubjectKeys, SubjectHandle, SubjectKey, SubjectKeys};
pub use query::{Cursor, MAX_PAGE, Order, Page, Query};
pub use receipt::Receipt;
pub use recent::REMEMBERED_ENTRIES;
pub use replay::REPLAY_BYTES;
#[cfg(feature = "objects")]
pub use signing::PublicKey;
#[cfg(feature = "embedded")]
pub use store::EmbeddedStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::SegmentStore;
#[cfg(feature = "objects")]
pub use verify::Verification;
pub use writer_id::WriterId;
