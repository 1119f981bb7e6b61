//! The spool on its disk: everything here blocks, and runs on the spool's own thread.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use crate::frame::Frame;
use crate::spool::files::{SpoolFile, SpoolFiles};
use crate::spool::home::Home;
use crate::spool::index::{Index, Place, Stretch};
use crate::spool::quota;
use crate::spool::record::{MAX_RECORD_BYTES, encode, is_torn, scan};
use crate::spool::state::State;

/// Most bytes of a file that are read at once: several records, of any size.
const READ_BYTES: u64 = 4 * MAX_RECORD_BYTES as u64;

/// The files of one writer.
#[derive(Debug)]
pub(crate) struct Disk {
    home: Home,
    files: Arc<dyn SpoolFiles>,
    index: Index,
    active: Option<Active>,
    state: Arc<State>,
    cursor: Cursor,
}

#[derive(Debug)]
struct Active {
    number: u64,
    bytes: u64,
    file: Box<dyn SpoolFile>,
}

/// How far a file has been read, so that reading in order reads each byte once.
#[derive(Debug, Default)]
struct Cursor {
    file: u64,
    offset: u64,
    /// The last entry that was read from before `offset`.
    last: u64,
}

impl Disk {
    /// The spool of a new writer, in an empty directory.
    pub(crate) fn new(
        home: Home,
        files: Arc<dyn SpoolFiles>,
        max_bytes: u64,
        state: Arc<State>,
    ) -> Self {
        let index = Index::new(max_bytes);
        Self { home, files, index, active: None, state, cursor: Cursor::default() }
    }

    /// The spool of a writer that is gone, with what can be read of its files.
    pub(crate) fn adopt(
        home: Home,
        files: Arc<dyn SpoolFiles>,
        state: Arc<State>,
    ) -> io::Result<Self> {
        // Nobody adds to it any more.
        home.reserve(0)?;
        let mut disk = Self::new(home, files, u64::MAX, state);
        for number in disk.home.files()? {
            disk.index.begun(number);
            let path = disk.home.file(number);
            let content = fs::read(&path)?;
            let found = scan(&content);
            let rest = content.get(found.end..).unwrap_or_default();
            if found.damaged > 0 || !is_torn(rest) {
                disk.keep_damaged(number, found.damaged.max(rest.len()))?;
            } else if !rest.is_empty() {
                // A write that the process did not live to finish: nobody was told of it.
                fs::OpenOptions::new().write(true).open(&path)?.set_len(found.end as u64)?;
            }
            if let Some(records) = stretch(number, found.frames.iter(), found.end) {
                disk.index.synced(records);
            } else {
                fs::remove_file(&path)?;
            }
        }
        disk.tell();
        Ok(disk)
    }

    /// Gives a file that cannot be read whole a second name, which nobody removes.
    fn keep_damaged(&self, number: u64, bytes: usize) -> io::Result<()> {
        let (path, kept) = (self.home.file(number), self.home.damaged(number));
        if !kept.exists() {
            // Not every file system has links.
            fs::hard_link(&path, &kept).or_else(|_| fs::copy(&path, &kept).map(drop))?;
        }
        self.state.damaged();
        tracing::error!(
            path = %kept.display(), bytes,
            "part of an audit spool is damaged; the file is kept for somebody to look at"
        );
        Ok(())
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.range().is_none()
    }

    /// The numbers of the first and the last entry there is.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        self.index.range()
    }

    /// Writes and syncs frames; on an error none of them counts.
    pub(crate) fn write(&mut self, frames: &[Arc<Frame>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for frame in frames {
            encode(frame, &mut bytes);
        }
        let outcome = self.keep_linked().and_then(|()| match self.try_write(frames, &bytes) {
            // A file that failed is never tried again; a new one is, once.
            Err(error) if error.kind() != io::ErrorKind::QuotaExceeded => {
                tracing::error!(%error, "a file of the audit spool failed; another one is begun");
                self.try_write(frames, &bytes)
            }
            outcome => outcome,
        });
        self.state.note(&outcome);
        self.tell();
        outcome
    }

    fn try_write(&mut self, frames: &[Arc<Frame>], bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.index.place(length) != Place::Open || self.active.is_none() {
            self.rotate(length)?;
        }
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("there is no file to write to"));
        };
        let written = active.file.write(bytes).and_then(|()| active.file.sync());
        match written {
            Ok(()) => {
                active.bytes += length;
                let number = active.number;
                let frames = frames.iter().map(AsRef::as_ref);
                if let Some(records) = stretch(number, frames, bytes.len()) {
                    self.index.synced(records);
                }
                Ok(())
            }
            Err(error) => {
                self.poison();
                Err(error)
            }
        }
    }

    /// Begins a new file for `length` bytes, if the spools of the directory leave room for it, and
    /// makes its name durable.
    fn rotate(&mut self, length: u64) -> io::Result<()> {
        self.home.restore()?;
        let (root, _lock) = self.home.lock_root()?;
        self.index.others_take(quota::of_others(root, self.home.path())?);
        if self.index.place(length) == Place::Full {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "the audit spools in {} are full: WATCHDOG_AUDIT_SPOOL_MAX_BYTES is reached",
                    root.display()
                ),
            ));
        }
        self.active = None;
        self.index.close();
        let Place::New(number) = self.index.place(length) else {
            return Err(io::Error::other("the spool has no number for a file"));
        };
        // The number is used up whatever comes: a name that failed is not taken again.
        self.home.reserve(self.index.begin(number, length))?;
        let file = self.files.create(&self.home.file(number))?;
        if let Err(error) = self.files.sync_directory(self.home.path()) {
            self.clear(number);
            return Err(error);
        }
        self.active = Some(Active { number, bytes: 0, file });
        Ok(())
    }

    /// The open file failed: what it has synced counts, and nothing more goes into it.
    fn poison(&mut self) {
        self.state.poisoned();
        self.index.close();
        if let Some(active) = self.active.take() {
            self.clear(active.number);
        }
    }

    /// Takes from the disk what a file that failed has beyond its synced bytes: it counts for
    /// nobody, and would fill the disk beside the quota.
    fn clear(&self, number: u64) {
        let path = self.home.file(number);
        let cleared = match self.index.bytes_of(number) {
            Some(bytes) => {
                fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(bytes))
            }
            None => fs::remove_file(&path),
        };
        match cleared {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "a failed spool file is not cleared");
            }
            _ => {}
        }
    }

    /// Somebody may have removed the open file: its content goes into a new one.
    fn keep_linked(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.file.is_linked()? {
            return Ok(());
        }
        tracing::error!("a file of the audit spool was removed while it was written");
        let (number, bytes) = (active.number, active.bytes);
        let content = active.file.content(bytes)?;
        self.poison();
        // Its bytes are counted already.
        self.rotate(0)?;
        let Some(active) = &mut self.active else { return Ok(()) };
        match active.file.write(&content).and_then(|()| active.file.sync()) {
            Ok(()) => {
                active.bytes = bytes;
                self.index.moved(number, active.number);
                self.cursor = Cursor::default();
                Ok(())
            }
            Err(error) => {
                self.poison();
                Err(error)
            }
        }
    }

    /// The next frames that end after entry `number`, in order; empty at the end. Reads no more
    /// than it answers, as long as it is asked in order.
    pub(crate) fn after(&mut self, mut number: u64) -> io::Result<Vec<Arc<Frame>>> {
        while let Some(stretch) = self.index.after(number) {
            if self.cursor.file != stretch.file || self.cursor.last > number {
                self.cursor = Cursor { file: stretch.file, offset: 0, last: 0 };
            }
            while self.cursor.offset < stretch.bytes {
                let frames: Vec<_> = self
                    .read_on(stretch.bytes)?
                    .into_iter()
                    .filter(|f| f.last() > number)
                    .collect();
                if !frames.is_empty() {
                    return Ok(frames.into_iter().map(Arc::new).collect());
                }
            }
            // What the file was to hold cannot be read: on with the next.
            number = stretch.last;
        }
        Ok(Vec::new())
    }

    /// The newest frame.
    pub(crate) fn newest(&mut self) -> io::Result<Option<Arc<Frame>>> {
        let Some(stretch) = self.index.newest() else { return Ok(None) };
        self.cursor = Cursor { file: stretch.file, offset: 0, last: 0 };
        let mut newest = None;
        while self.cursor.offset < stretch.bytes {
            newest = self.read_on(stretch.bytes)?.pop().or(newest);
        }
        Ok(newest.map(Arc::new))
    }

    /// Reads the next part of the cursor's file, of which `end` bytes count.
    fn read_on(&mut self, end: u64) -> io::Result<Vec<Frame>> {
        let begin = self.cursor.offset;
        let until = end.min(begin.saturating_add(READ_BYTES));
        let path = self.home.file(self.cursor.file);
        let content = match read(&path, begin, until) {
            // Somebody removed it: whoever asks learns what follows.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(path = %path.display(), "a file of the audit spool is gone");
                self.cursor.offset = end;
                return Ok(Vec::new());
            }
            content => content?,
        };
        self.state.read(content.len() as u64);
        let found = scan(&content);
        self.cursor.offset = if until == end {
            end
        } else if found.end > 0 {
            begin + found.end as u64
        } else {
            // No record begins before the last bytes that one may take.
            until - MAX_RECORD_BYTES as u64
        };
        self.cursor.last = found.frames.iter().map(Frame::last).fold(self.cursor.last, u64::max);
        Ok(found.frames)
    }

    /// Entries up to `last` are kept elsewhere.
    pub(crate) fn release(&mut self, last: u64) {
        for number in self.index.release(last) {
            if self.active.as_ref().is_some_and(|active| active.number == number) {
                self.active = None;
                if let Err(error) = self.home.reserve(0) {
                    tracing::debug!(%error, "room in the audit spool is not given back");
                }
            }
            let path = self.home.file(number);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "a spool file is not removed");
                }
                _ => {}
            }
        }
        self.tell();
    }

    fn tell(&self) {
        self.state.holds(self.index.entries(), self.index.bytes(), self.index.oldest());
    }
}

/// The bytes of a file from one offset to another.
fn read(path: &Path, begin: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut content = Vec::new();
    file.take(end.saturating_sub(begin)).read_to_end(&mut content)?;
    Ok(content)
}

/// What frames in `bytes` bytes of a file add to the index.
fn stretch<'a>(
    file: u64,
    frames: impl Iterator<Item = &'a Frame>,
    bytes: usize,
) -> Option<Stretch> {
    let mut stretch: Option<Stretch> = None;
    for frame in frames {
        let (first, last, oldest) = (frame.first(), frame.last(), frame.oldest());
        let before = stretch.unwrap_or(Stretch { file, first, last, bytes: bytes as u64, oldest });
        stretch = Some(Stretch {
            first: before.first.min(first),
            last: before.last.max(last),
            oldest: before.oldest.min(oldest),
            ..before
        });
    }
    stretch
}
