//! A file of redb, closed and opened again after an error of the disk.
//!
//! redb refuses everything after the first write that failed, be it that the disk was full for a
//! second. What it had committed is whole: opening the file again repairs the rest.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::Database;
use redb::backends::InMemoryBackend;

use crate::error::{Error, ErrorKind, Result};

/// A database that comes back when the disk does.
pub(crate) struct DatabaseFile {
    /// `None` in memory, which has no errors of a disk.
    path: Option<PathBuf>,
    /// `None` while the file could not be opened again.
    open: RwLock<Option<Database>>,
    is_broken: AtomicBool,
}

impl DatabaseFile {
    /// Opens a file; its directory is made when it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the directory or the file cannot be used.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| unusable(path, error))?;
        }
        let database = create(path)?;
        Ok(Self::with_database(Some(path.to_owned()), database))
    }

    /// A file that is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when there is no memory for it.
    pub(crate) fn memory() -> Result<Self> {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .map_err(|error| Error::new(ErrorKind::Config, "no memory store").with_source(error))?;
        Ok(Self::with_database(None, database))
    }

    fn with_database(path: Option<PathBuf>, database: Database) -> Self {
        Self { path, open: RwLock::new(Some(database)), is_broken: AtomicBool::new(false) }
    }

    /// Runs `work` on the database; blocks. After an error of the disk the next call opens the file
    /// anew.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
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
            let context = format_args!("{} does not open again", name_of(path));
            Error::new(ErrorKind::Unavailable, context).with_source(error)
        })?);
        self.is_broken.store(false, Ordering::Release);
        tracing::warn!(file = name_of(path), "opened again after an error of the disk");
        Ok(())
    }
}

fn create(path: &Path) -> Result<Database> {
    Database::create(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let context = format_args!("the directory of {} cannot be used", name_of(path));
    Error::new(ErrorKind::Config, context).with_source(error)
}

/// The name of the file: it says which one it is and nothing of the machine.
fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("a file")
}

fn is_of_the_disk(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<redb::Error>());
    matches!(source, Some(redb::Error::Io(_) | redb::Error::PreviousIo))
}
