//! Objects in memory, in a local directory, or on S3 and compatible stores.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> watchdog_storage::Result<()> {
//! use watchdog_storage::objects::{Objects, Put};
//!
//! let objects = Objects::memory();
//! let put = objects.put_verified("reports/2026/01.json", "{}".into()).await?;
//! assert_eq!(put, Put::Created);
//! assert_eq!(objects.get("reports/2026/01.json").await?, "{}");
//! # Ok(())
//! # }
//! ```
//!
//! # Keys
//!
//! A key is 1 to 1024 bytes of UTF-8 in segments of 1 to 240 bytes between `/`. A segment is
//! neither `.` nor `..` and neither begins nor ends with white space; control characters are
//! refused. These rules are the same for every back end, so that what works in a local directory
//! works in a bucket. On a local directory a key cannot be the beginning of another one up to a
//! `/`: `a` and `a/b` exclude each other, and the second write is refused as misuse.
//!
//! # Guarantees and their limits
//!
//! - A put is seen whole or not at all. In a local directory it has reached the disk when the call
//!   returns (`fsync` of the file and of its directory; measured on ext4, promised on Unix).
//! - A read begun after a put has returned sees it, on stores that promise it (S3 does).
//! - [`Objects::put_if_absent`] has one winner on the memory and local back ends. On S3 that rests
//!   on the store's `If-None-Match: *`; [`Objects::probe_create_only`] tells whether it honours it.
//! - A call in the foreground ends within `retry_budget` + `request_timeout` + 1 s, by default 16 s,
//!   whatever number of requests it takes; see [`Budget`]. Two calls take up to three times as long:
//!   [`Objects::put_verified`] looks, writes and reads back, [`Objects::probe_create_only`] writes
//!   twice and deletes.
//! - Content is held in memory: 256 MiB at most, see [`Objects::with_max_size`].

mod backend;
mod bucket;
mod budget;
mod config;
mod create;
mod endpoint;
mod error;
mod health;
mod key;
mod list;
mod metrics;
mod rules;
mod verify;

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};

use crate::error::{Error, ErrorKind, Result};
use backend::Backend;

pub use bucket::{
    BucketSettings, DefaultEncryption, Expiration, LifecycleRule, LockRetention, ObjectLock,
    Transition, Versioning,
};
pub use budget::Budget;
pub use config::{S3Config, StorageConfig, StorageType};
pub use health::ObjectsHealth;

/// The largest object that is read or written unless [`Objects::with_max_size`] says otherwise:
/// 256 MiB.
pub const DEFAULT_MAX_SIZE: u64 = 256 * 1024 * 1024;

/// The largest page of a listing; a larger limit is taken as this one.
pub const MAX_PAGE: usize = 10_000;

/// A bucket of objects.
///
/// A clone shares the connections.
#[derive(Clone)]
pub struct Objects {
    backend: Arc<Backend>,
    budget: Budget,
    max_size: u64,
}

/// What a put-if-absent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Created,
    /// An object of that key exists; nothing was written.
    AlreadyExists,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The key within the bucket.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
}

/// One page of a listing, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// The key to continue after, `None` at the end.
    pub next: Option<String>,
}

impl Objects {
    /// The bucket that the configuration names. Nothing is sent to a server yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the settings contradict each other, the certificate file cannot
    /// be read, the directory cannot be made, or S3 is asked for without the feature `s3`.
    pub fn from_config(config: &StorageConfig) -> Result<Self> {
        rules::refuse_problems(config)?;
        let backend = match config.kind {
            StorageType::Memory => Backend::memory(),
            StorageType::Local => Backend::local(&config.local_path)?,
            StorageType::S3 => Backend::s3(&config.s3)?,
        };
        Ok(Self::new(backend))
    }

    /// A bucket in memory, gone with its last clone.
    pub fn memory() -> Self {
        Self::new(Backend::memory())
    }

    /// A bucket in a local directory. A missing directory is made, for this user alone.
    ///
    /// Files that end in `#` and a number are writes that a crash cut short. They are never listed
    /// and never removed; the next writes take other names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the directory cannot be made or used.
    pub fn local(directory: impl AsRef<FilePath>) -> Result<Self> {
        Backend::local(directory.as_ref()).map(Self::new)
    }

    fn new(backend: Backend) -> Self {
        metrics::describe();
        Self { backend: Arc::new(backend), budget: Budget::Foreground, max_size: DEFAULT_MAX_SIZE }
    }

    /// The same bucket with another budget of time and retries.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The same bucket with another bound on the size of an object, in bytes.
    ///
    /// An object is held in memory as a whole while it is read or written.
    #[must_use]
    pub fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Writes an object, replacing what was there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a key outside the rules or content above the size bound, else what
    /// the store says. After a timeout or a lost connection the object may have been written.
    pub async fn put(&self, key: &str, content: Bytes) -> Result<()> {
        let path = self.writable(key, &content)?;
        let put = self.store().put(&path, PutPayload::from_bytes(content));
        self.run("put", key, put).await.map(drop)
    }

    /// Writes an object unless one of that key exists.
    ///
    /// On S3 a request is sent again after a lost reply, and may then find what it wrote itself.
    /// Every call marks its object with a random value (`x-amz-meta-watchdog-put`), so that the
    /// call's own object is reported as [`Put::Created`] and never as somebody else's. A store that
    /// answers a conflict and holds nothing (apache/arrow-rs-object-store#852) is asked again, three
    /// times.
    ///
    /// # Errors
    ///
    /// As [`Objects::put`]. After a timeout or a lost connection it is open whether the object was
    /// written, and the same call made again reports [`Put::AlreadyExists`] for it:
    /// [`Objects::put_verified`] is safe to repeat.
    pub async fn put_if_absent(&self, key: &str, content: Bytes) -> Result<Put> {
        let path = self.writable(key, &content)?;
        self.within("create", key, create::put_if_absent(self, key, &path, content)).await
    }

    /// Writes an object unless it is there already, reads it back and compares every byte.
    ///
    /// Safe to repeat: the same content under the same key is [`Put::AlreadyExists`]. Where the
    /// store does not honour create-only (see [`Objects::probe_create_only`]), other content that
    /// arrives between the look and the write is overwritten: name objects by their content.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Precondition`] when an object with other content exists, [`ErrorKind::Corrupt`]
    /// when the store acknowledged the write and has something else or nothing, else as
    /// [`Objects::put`].
    pub async fn put_verified(&self, key: &str, content: Bytes) -> Result<Put> {
        self.writable(key, &content)?;
        verify::put_verified(self, key, content).await
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Precondition`] when it is larger
    /// than the size bound, [`ErrorKind::Corrupt`] when fewer bytes arrive than it has.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let path = self.path(key)?;
        let (size, content) = self
            .run("get", key, async {
                let result = self.store().get(&path).await?;
                let size = result.meta.size;
                if size > self.max_size {
                    return Ok((size, None));
                }
                Ok((size, Some(result.bytes().await?)))
            })
            .await?;
        let Some(content) = content else {
            let bound = self.max_size;
            let context =
                format!("object \"{key}\" has {size} bytes, more than the {bound} allowed");
            return Err(Error::new(ErrorKind::Precondition, context));
        };
        let read = content.len() as u64;
        if read != size {
            let context = format!("read {read} of the {size} bytes of object \"{key}\"");
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        Ok(content)
    }

    /// The size of an object, `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a key outside the rules, else what the store says. An S3 store
    /// answers a `HEAD` in a bucket that does not exist as if only the object were missing.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let path = self.path(key)?;
        let found = self.run("head", key, self.store().head(&path)).await;
        match found {
            Ok(meta) => Ok(Some(ObjectMeta { key: key.to_owned(), size: meta.size })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a key outside the rules, else what the store says.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match self.run("delete", key, self.store().delete(&path)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Lists at most `limit` objects whose key begins with `prefix`, in the order of the keys'
    /// bytes, after the key `after`.
    ///
    /// The prefix is a string, as on S3: `a/b` lists `a/b`, `a/bc` and `a/b/c`. On S3 a page costs
    /// one request per 1000 objects. Memory and local back ends visit every object below the
    /// prefix's last `/` for each page, and hold `limit` + 1 of them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a prefix or key outside the rules or a limit of 0,
    /// [`ErrorKind::Unexpected`] when the store does not list in key order or repeats itself, else what the store
    /// says.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page> {
        self.within("list", prefix, list::page(self, prefix, after, limit)).await
    }

    /// Whether the store refuses to create what exists. Writes an object twice under
    /// `.watchdog-probe/` and deletes it.
    ///
    /// `true` says that the second of two writes, one after the other, was refused; it does not say
    /// that two at the same instant exclude each other. AWS, Ceph and moto exclude them, Garage 2.5
    /// overwrites, s3s-fs 0.14 answers `true` and loses races.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn probe_create_only(&self) -> Result<bool> {
        create::probe_create_only(self).await
    }

    /// The health check of this bucket: one small request and no retry.
    pub fn health(&self) -> ObjectsHealth {
        ObjectsHealth::new(self.clone().with_budget(Budget::Probe))
    }

    fn store(&self) -> &dyn ObjectStore {
        self.backend.store(self.budget)
    }

    fn path(&self, key: &str) -> Result<Path> {
        key::check(key)?;
        self.backend.path(key)
    }

    fn writable(&self, key: &str, content: &Bytes) -> Result<Path> {
        let path = self.path(key)?;
        if content.len() as u64 > self.max_size {
            let (size, bound) = (content.len(), self.max_size);
            let context = format!(
                "content of {size} bytes for object \"{key}\" is more than the {bound} allowed"
            );
            return Err(Error::new(ErrorKind::Misuse, context));
        }
        Ok(path)
    }

    /// The object's size and what the writing call marked it with, `None` when there is none.
    async fn mark(&self, key: &str, path: &Path) -> Result<Option<String>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.run("head", key, self.store().get_opts(path, options)).await {
            Ok(result) => Ok(Some(create::mark_of(&result.attributes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Holds a call of several requests to the deadline of one.
    async fn within<T>(
        &self,
        operation: &'static str,
        key: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let deadline = self.backend.deadline(self.budget);
        let outcome = tokio::time::timeout(deadline, call).await;
        outcome.unwrap_or_else(|_| Err(error::out_of_time(operation, key, deadline)))
    }

    /// Runs one call of the store within the budget's deadline, translates its error and counts it.
    async fn run<T>(
        &self,
        operation: &'static str,
        key: &str,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let started = Instant::now();
        let deadline = self.backend.deadline(self.budget);
        let outcome = match tokio::time::timeout(deadline, call).await {
            Ok(answer) => answer.map_err(|source| error::translate(operation, key, &source)),
            Err(_) => Err(error::out_of_time(operation, key, deadline)),
        };
        metrics::record(operation, started.elapsed(), &outcome);
        outcome
    }
}

impl fmt::Debug for Objects {
    /// The client's own `Debug` prints credentials, so none of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("type", &self.backend.kind())
            .field("budget", &self.budget)
            .field("max_size", &self.max_size)
            .finish_non_exhaustive()
    }
}
