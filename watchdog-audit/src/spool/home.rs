//! The directories of spools: one for each writer, held by a lock for as long as it lives.
//!
//! ```text
//! <spool_directory>/spool/<writer id>/lock
//! <spool_directory>/spool/<writer id>/store.json
//! <spool_directory>/spool/<writer id>/heir.json
//! <spool_directory>/spool/<writer id>/<file number, 20 digits>.spool
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::spool::files::{private, sync_directory};
use crate::spool::note::{self, Origin};
use crate::writer_id::WriterId;

pub(crate) const LOCK: &str = "lock";
pub(crate) const ENDING: &str = "spool";
pub(crate) const DAMAGED: &str = "damaged";
const ORIGIN: &str = "store.json";
const HEIR: &str = "heir.json";

/// A writer's directory, locked by this process.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    writer: WriterId,
    lock: File,
    origin: Option<Origin>,
}

/// A directory that nobody holds and that cannot be taken over.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) writer: WriterId,
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

/// The directory that holds the directories of all writers.
pub(crate) fn root(directory: &Path) -> PathBuf {
    directory.join("spool")
}

impl Home {
    /// Makes the directory of a new writer.
    pub(crate) fn create(root: &Path, writer: WriterId, origin: Origin) -> io::Result<Self> {
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
        note::write(&making.join(ORIGIN), &origin)?;
        let path = root.join(writer.to_string());
        fs::rename(&making, &path)?;
        sync_directory(root)?;
        Ok(Self { path, writer, lock, origin: Some(origin) })
    }

    /// Takes over the directories whose writers are gone. One that cannot be taken over holds up no
    /// other.
    pub(crate) fn abandoned(root: &Path) -> io::Result<Vec<Result<Self, Unusable>>> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut homes = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(writer) = name.and_then(|name| name.parse().ok()) else { continue };
            match Self::take_over(path.clone(), writer) {
                Ok(Some(home)) => homes.push(Ok(home)),
                Ok(None) => {}
                Err(error) => homes.push(Err(Unusable { writer, path, error })),
            }
        }
        Ok(homes)
    }

    /// `None` when somebody holds it, or when there is nothing in it any more.
    fn take_over(path: PathBuf, writer: WriterId) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.write(true);
        let lock = match options.open(path.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Made here only where somebody has removed it from beside its files: a directory
                // that was removed in between stays removed.
                if !path.is_dir() || numbers(&path)?.is_empty() {
                    return Ok(None);
                }
                private(options.create(true)).open(path.join(LOCK))?
            }
            lock => lock?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let origin = note::read(&path.join(ORIGIN))?;
        Ok(Some(Self { path, writer, lock, origin }))
    }

    pub(crate) fn writer(&self) -> WriterId {
        self.writer
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The store its entries are for, where that is known.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The path of the note that says so.
    pub(crate) fn origin_path(&self) -> PathBuf {
        self.path.join(ORIGIN)
    }

    /// The path of the note of the id its entries are recorded again under.
    pub(crate) fn heir_path(&self) -> PathBuf {
        self.path.join(HEIR)
    }

    /// The directory of all spools, and a lock on it.
    pub(crate) fn lock_root(&self) -> io::Result<(&Path, File)> {
        let root = self.path.parent().unwrap_or(&self.path);
        let lock = File::open(root)?;
        lock.lock()?;
        Ok((root, lock))
    }

    /// Tells the other processes how long the open file may become.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.lock.set_len(bytes)
    }

    /// The path of a file.
    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{ENDING}"))
    }

    /// The second name of a file that is damaged.
    pub(crate) fn damaged(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{DAMAGED}"))
    }

    /// The numbers of the files there are, in order.
    pub(crate) fn files(&self) -> io::Result<Vec<u64>> {
        numbers(&self.path)
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
        self.lock = lock;
        self.origin.as_ref().map_or(Ok(()), |origin| note::write(&self.origin_path(), origin))
    }

    /// Removes the directory; only what the spool made.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for number in self.files()? {
            fs::remove_file(self.file(number))?;
        }
        for note in [self.origin_path(), self.heir_path()] {
            match fs::remove_file(note) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_file(self.path.join(LOCK))?;
        fs::remove_dir(&self.path)
    }
}

fn numbers(home: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(home)? {
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

    fn create(root: &Path, byte: u8) -> Home {
        let origin = Origin { store: "test".into(), partition: 0 };
        Home::create(root, WriterId::from_bytes([byte; 16]), origin).unwrap()
    }

    fn abandoned(root: &Path) -> Vec<Home> {
        Home::abandoned(root).unwrap().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn a_directory_is_taken_over_once_and_only_from_the_dead() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        assert!(abandoned(&root).is_empty());
        let [first, second] = [1, 2].map(|byte| create(&root, byte));
        let one = first.writer();
        assert!(abandoned(&root).is_empty());
        drop(first);
        let adopted = abandoned(&root);
        assert_eq!(adopted.iter().map(Home::writer).collect::<Vec<_>>(), [one]);
        assert!(abandoned(&root).is_empty());
        adopted[0].remove().unwrap();
        drop((adopted, second));
        assert_eq!(abandoned(&root).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let home = create(&root(directory.path()), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.path()), 0o700);
        assert_eq!(mode(&home.path().join(LOCK)), 0o600);
    }

    #[test]
    fn a_removed_directory_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        let mut home = create(&root, 1);
        fs::remove_dir_all(&root).unwrap();
        home.restore().unwrap();
        assert!(home.files().unwrap().is_empty());
        assert!(abandoned(&root).is_empty(), "it is locked");
    }

    #[test]
    fn what_is_known_of_the_store_comes_along_and_one_without_a_lock_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        let home = create(&root, 1);
        fs::write(home.file(7), "").unwrap();
        fs::remove_file(home.path().join(LOCK)).unwrap();
        drop(home);
        fs::create_dir(root.join(WriterId::from_bytes([2; 16]).to_string())).unwrap();
        let found = abandoned(&root);
        assert_eq!(found.len(), 1, "the other has nothing");
        assert_eq!(found[0].files().unwrap(), [7]);
        assert_eq!(found[0].origin().map(|origin| &*origin.store), Some("test"));
        fs::write(found[0].heir_path(), "{}").unwrap();
        found[0].remove().unwrap();
    }

    #[test]
    fn one_that_cannot_be_taken_over_holds_up_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(directory.path());
        drop(create(&root, 1));
        let broken = root.join(WriterId::from_bytes([2; 16]).to_string());
        fs::create_dir_all(broken.join(LOCK)).unwrap();
        let found = Home::abandoned(&root).unwrap();
        assert_eq!(found.iter().filter(|home| home.is_ok()).count(), 1);
        let unusable = found.into_iter().find_map(Result::err).unwrap();
        assert_eq!(unusable.path, broken);
    }
}
