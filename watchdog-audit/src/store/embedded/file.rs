//! A file of redb, closed and opened again after an error of the disk.
//!
//! redb refuses everything after the first write that failed, be it that the disk was full for a
//! second. What it had committed is whole: opening the file again repairs the rest.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::Database;
use redb::backends::InMemoryBackend;
use uuid::Uuid;

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
        // As long as it is the same file, it has one name.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self::with_database(Some(path), database))
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

    /// `None` in memory.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
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

/// Opens a file, which is made when it is missing.
fn create(path: &Path) -> Result<Database> {
    if !path.exists() {
        make(path)?;
    }
    let database = Database::create(path).map_err(|error| unusable(path, error))?;
    // Whoever has it open is alone: what a killed process left half made is nobody's.
    for draft in drafts(path) {
        let _ = fs::remove_file(draft);
    }
    Ok(database)
}

/// Makes a file beside its place and puts it there whole: redb refuses one for ever that a killed
/// process had begun to make.
fn make(path: &Path) -> Result<()> {
    let draft = path.with_file_name(format!("{}.{}{DRAFT}", name_of(path), Uuid::new_v4()));
    drop(Database::create(&draft).map_err(|error| unusable(path, error))?);
    // Fails where another process was faster, whose file is as good; where the file system has no
    // links the file is made in its place.
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    if let (Ok(()), Some(directory)) = (linked, path.parent()) {
        let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| unusable(path, error))?;
    }
    Ok(())
}

/// What the name of a file ends with that is being made.
const DRAFT: &str = ".new";

fn drafts(path: &Path) -> Vec<PathBuf> {
    let begin = format!("{}.", name_of(path));
    let Some(Ok(entries)) = path.parent().map(fs::read_dir) else { return Vec::new() };
    let is_draft = |name: &str| name.starts_with(&begin) && name.ends_with(DRAFT);
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| is_draft(name_of(path))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_half_made_stops_nobody_and_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.redb");
        let (left, other) = (path.with_file_name("some.redb.1.new"), path.with_file_name("a.new"));
        fs::write(&left, vec![0; 8192]).unwrap();
        fs::write(&other, "").unwrap();
        let database = create(&path).unwrap();
        assert!(!left.exists() && other.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert!(create(&path).is_err(), "it is locked");
        drop(database);
        create(&path).unwrap();
    }
}
