//! The file of the store, closed and opened again after an error of the disk.
//!
//! redb refuses everything after the first write that failed, be it that the disk was full for a
//! second. What it had committed is whole: opening the file again repairs the rest.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::Database;

use crate::error::{Error, ErrorKind, Result};

/// A database that comes back when the disk does.
pub(super) struct DatabaseFile {
    /// `None` in memory, which has no errors of a disk.
    path: Option<PathBuf>,
    /// `None` while the file could not be opened again.
    open: RwLock<Option<Database>>,
    is_broken: AtomicBool,
}

impl DatabaseFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let database = create(path)?;
        // As long as it is the same file, it has one name.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self { path: Some(path), ..Self::memory(database) })
    }

    pub(super) fn memory(database: Database) -> Self {
        Self { path: None, open: RwLock::new(Some(database)), is_broken: AtomicBool::new(false) }
    }

    /// `None` in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Runs `work` on the database; blocks. After an error of the disk the next call opens the file
    /// anew.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        if self.is_broken.load(Ordering::Acquire) {
            self.reopen()?;
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::new(ErrorKind::Unavailable, "the embedded store is closed");
        let outcome = work(open.as_ref().ok_or_else(closed)?);
        if self.path.is_some() && outcome.as_ref().is_err_and(is_of_the_disk) {
            self.is_broken.store(true, Ordering::Release);
        }
        outcome
    }

    fn reopen(&self) -> Result<()> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path.as_ref().filter(|_| self.is_broken.load(Ordering::Acquire))
        else {
            return Ok(());
        };
        // The lock on the file goes with the old one.
        *open = None;
        let again = create(path);
        *open = Some(again.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the embedded store does not open again")
                .with_source(error)
        })?);
        self.is_broken.store(false, Ordering::Release);
        tracing::warn!("the embedded store was opened again after an error of the disk");
        Ok(())
    }
}

fn create(path: &Path) -> Result<Database> {
    Database::create(path).map_err(|error| {
        Error::new(ErrorKind::Config, "the directory of the audit log cannot be used")
            .with_source(error)
    })
}

fn is_of_the_disk(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<redb::Error>());
    matches!(source, Some(redb::Error::Io(_) | redb::Error::PreviousIo))
}
