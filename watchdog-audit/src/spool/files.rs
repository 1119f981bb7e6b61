//! The file operations of the spool, behind a port so that a test can make each of them fail.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Makes the files of a spool.
pub trait SpoolFiles: fmt::Debug + Send + Sync {
    /// Creates a file that is not there yet, for its owner alone.
    ///
    /// # Errors
    ///
    /// As of the file system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>>;

    /// Syncs a directory, so that its new names survive a power cut.
    ///
    /// # Errors
    ///
    /// As of the file system.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// One file that the spool writes.
///
/// After the first error of [`write`](Self::write) or [`sync`](Self::sync) the spool never writes
/// to the file again: Linux marks the pages that could not be written as clean, and the next
/// `fdatasync` would answer that all is well.
pub trait SpoolFile: fmt::Debug + Send {
    /// Writes at the end.
    ///
    /// # Errors
    ///
    /// As of the file system; part of the bytes may be written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// `fdatasync`.
    ///
    /// # Errors
    ///
    /// As of the file system; nothing is known then of what was written since the last success.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether the file still has a name.
    ///
    /// # Errors
    ///
    /// As of the file system.
    fn is_linked(&self) -> io::Result<bool>;

    /// Its first `length` bytes, whether it has a name or not.
    ///
    /// # Errors
    ///
    /// As of the file system.
    fn content(&mut self, length: u64) -> io::Result<Vec<u8>>;
}

/// The files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemFiles;

impl SpoolFiles for SystemFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>> {
        private(OpenOptions::new().read(true).append(true).create_new(true))
            .open(path)
            .map(|file| Box::new(file) as Box<dyn SpoolFile>)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        sync_directory(path)
    }
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl SpoolFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(unix)]
    fn is_linked(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(self.metadata()?.nlink() > 0)
    }

    /// Windows does not let go of the name of a file that is open.
    #[cfg(not(unix))]
    fn is_linked(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn content(&mut self, length: u64) -> io::Result<Vec<u8>> {
        self.seek(SeekFrom::Start(0))?;
        let mut content = Vec::new();
        self.take(length).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// Files that only their owner reads: mode 0600.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
