//! The directories of spools: one for each writer, held by a lock for as long as it lives.
//!
//! ```text
//! <spool_directory>/spool/<writer id>/lock
//! <spool_directory>/spool/<writer id>/<file number, 20 digits>.spool
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::spool::files::private;
use crate::writer_id::WriterId;

const LOCK: &str = "lock";
const ENDING: &str = "spool";

/// A writer's directory, locked by this process.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    writer: WriterId,
    _lock: File,
}

/// The directory that holds the directories of all writers.
pub(crate) fn root(directory: &Path) -> PathBuf {
    directory.join("spool")
}

impl Home {
    /// Makes the directory of a new writer.
    pub(crate) fn create(root: &Path, writer: WriterId) -> io::Result<Self> {
        make(root)?;
        // It gets its name when it is locked: whoever finds a name finds a lock that is held.
        let making = root.join(format!(".{writer}"));
        make(&making)?;
        let lock = private(OpenOptions::new().write(true).create_new(true)).open(making.join(LOCK));
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) => {
                let _ = fs::remove_dir_all(&making);
                return Err(error);
            }
        };
        lock.try_lock()?;
        let path = root.join(writer.to_string());
        fs::rename(&making, &path)?;
        File::open(root)?.sync_all()?;
        Ok(Self { path, writer, _lock: lock })
    }

    /// Takes over the directories whose writers are gone.
    pub(crate) fn abandoned(root: &Path) -> io::Result<Vec<Self>> {
        let mut homes = Vec::new();
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(homes),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(writer) = name.and_then(|name| name.parse().ok()) else { continue };
            // Not created here: one that was removed in between stays removed.
            let lock = match OpenOptions::new().write(true).open(path.join(LOCK)) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match lock.try_lock() {
                Ok(()) => homes.push(Self { path, writer, _lock: lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(homes)
    }

    pub(crate) fn writer(&self) -> WriterId {
        self.writer
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file.
    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{ENDING}"))
    }

    /// The second name of a file that is damaged.
    pub(crate) fn damaged(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.damaged"))
    }

    /// The numbers of the files there are, in order.
    pub(crate) fn files(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let is_ours = path.extension().is_some_and(|ending| ending == ENDING);
            let number = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
            if let (true, Some(number)) = (is_ours, number) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes the directory again after somebody has removed it.
    pub(crate) fn restore(&mut self) -> io::Result<()> {
        if self.path.join(LOCK).exists() {
            return Ok(());
        }
        if let Some(root) = self.path.parent() {
            make(root)?;
        }
        make(&self.path)?;
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(self.path.join(LOCK))?;
        lock.try_lock()?;
        self._lock = lock;
        Ok(())
    }

    /// Removes the directory; only what the spool made.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for number in self.files()? {
            fs::remove_file(self.file(number))?;
        }
        fs::remove_file(self.path.join(LOCK))?;
        fs::remove_dir(&self.path)
    }
}

/// A directory for its owner alone: mode 0700.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_over_once_and_only_from_the_dead() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        assert!(Home::abandoned(&root).unwrap().is_empty());
        let [one, two] = [1, 2].map(|byte| WriterId::from_bytes([byte; 16]));
        let first = Home::create(&root, one).unwrap();
        let second = Home::create(&root, two).unwrap();
        assert!(Home::abandoned(&root).unwrap().is_empty());
        drop(first);
        let adopted = Home::abandoned(&root).unwrap();
        assert_eq!(adopted.iter().map(Home::writer).collect::<Vec<_>>(), [one]);
        assert!(Home::abandoned(&root).unwrap().is_empty());
        adopted[0].remove().unwrap();
        drop((adopted, second));
        assert_eq!(Home::abandoned(&root).unwrap().len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let home = Home::create(&root(directory.path()), WriterId::from_bytes([1; 16])).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.path()), 0o700);
        assert_eq!(mode(&home.path().join(LOCK)), 0o600);
    }

    #[test]
    fn a_removed_directory_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        let mut home = Home::create(&root, WriterId::from_bytes([1; 16])).unwrap();
        fs::remove_dir_all(&root).unwrap();
        home.restore().unwrap();
        assert!(home.files().unwrap().is_empty());
        assert!(Home::abandoned(&root).unwrap().is_empty(), "it is locked");
    }
}
