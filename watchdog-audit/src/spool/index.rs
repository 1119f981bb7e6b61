//! Which file of a spool holds which entries, and where the next ones go, without I/O.

use std::collections::VecDeque;

/// A file takes this many bytes before the next one is begun: 16 MiB.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// At least so many files share the quota.
const FILES: u64 = 16;

/// One file of the spool, as far as it is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Number of the file.
    pub(crate) file: u64,
    /// Its first and last entry.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many bytes of it count.
    pub(crate) bytes: u64,
    /// When its oldest entry was recorded, in milliseconds since 1970.
    pub(crate) oldest: i64,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To the end of the file that is open.
    Open,
    /// Into a new file of this number.
    New(u64),
    /// Nowhere: the spool would grow over its quota.
    Full,
}

/// The files of one spool, in the order of their entries.
#[derive(Debug)]
pub(crate) struct Index {
    files: VecDeque<Stretch>,
    /// Whether the last file takes more.
    is_open: bool,
    next_file: u64,
    max_bytes: u64,
    file_bytes: u64,
    /// How long the last file may become.
    open_bytes: u64,
    /// What other spools take of the quota, as of when the last file was begun.
    others: u64,
}

impl Index {
    pub(crate) fn new(max_bytes: u64) -> Self {
        // A released file frees its part of the quota, so a small quota has small files.
        let file_bytes = FILE_BYTES.min((max_bytes / FILES).max(1));
        Self {
            files: VecDeque::new(),
            is_open: false,
            next_file: 1,
            max_bytes,
            file_bytes,
            open_bytes: 0,
            others: 0,
        }
    }

    /// Decides where `length` bytes go.
    pub(crate) fn place(&self, length: u64) -> Place {
        match self.files.back() {
            Some(last) if self.is_open && last.bytes + length <= self.open_bytes => Place::Open,
            _ if length > 0 && self.bytes().saturating_add(length) > self.room() => Place::Full,
            _ => Place::New(self.next_file),
        }
    }

    /// Takes note of what other spools take of the quota.
    pub(crate) fn others_take(&mut self, bytes: u64) {
        self.others = bytes;
    }

    /// How much of the quota is left to this spool.
    fn room(&self) -> u64 {
        self.max_bytes.saturating_sub(self.others)
    }

    /// How long a file may become that is begun for `length` bytes.
    pub(crate) fn begin(&mut self, file: u64, length: u64) -> u64 {
        self.begun(file);
        let left = self.room().saturating_sub(self.bytes());
        self.open_bytes = self.file_bytes.min(left).max(length);
        self.open_bytes
    }

    /// A file was begun, or found; its number is never given again.
    pub(crate) fn begun(&mut self, file: u64) {
        self.next_file = self.next_file.max(file + 1);
        self.is_open = false;
    }

    /// Records were synced to a file that was begun last.
    pub(crate) fn synced(&mut self, records: Stretch) {
        self.is_open = true;
        match self.files.back_mut() {
            Some(last) if last.file == records.file => {
                last.last = last.last.max(records.last);
                last.bytes += records.bytes;
                last.oldest = last.oldest.min(records.oldest);
            }
            _ => self.files.push_back(records),
        }
    }

    /// The last file takes nothing any more.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
    }

    /// The content of a file stands in another one now.
    pub(crate) fn moved(&mut self, from: u64, to: u64) {
        self.begun(to);
        for stretch in &mut self.files {
            if stretch.file == from {
                stretch.file = to;
                self.is_open = true;
            }
        }
    }

    /// Entries up to `last` are kept elsewhere: the files that are to be removed.
    pub(crate) fn release(&mut self, last: u64) -> Vec<u64> {
        let mut removed = Vec::new();
        while let Some(stretch) = self.files.front()
            && stretch.last <= last
        {
            removed.push(stretch.file);
            self.files.pop_front();
        }
        if self.files.is_empty() {
            self.is_open = false;
        }
        removed
    }

    /// The first file with an entry after `number`.
    pub(crate) fn after(&self, number: u64) -> Option<Stretch> {
        self.files.iter().find(|stretch| stretch.last > number).copied()
    }

    /// The last file.
    pub(crate) fn newest(&self) -> Option<Stretch> {
        self.files.back().copied()
    }

    /// How many bytes of a file count; `None` when nothing of it does.
    pub(crate) fn bytes_of(&self, file: u64) -> Option<u64> {
        self.files.iter().find(|stretch| stretch.file == file).map(|stretch| stretch.bytes)
    }

    /// Number of the first and the last entry.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        let last = self.files.iter().map(|stretch| stretch.last).max()?;
        self.files.front().map(|stretch| (stretch.first, last))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|stretch| stretch.bytes).sum()
    }

    pub(crate) fn entries(&self) -> u64 {
        self.range().map_or(0, |(first, last)| last - first + 1)
    }

    /// When the oldest entry was recorded, in milliseconds since 1970.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.files.iter().map(|stretch| stretch.oldest).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(index: &mut Index, first: u64, count: u64, bytes: u64) -> Place {
        let place = index.place(bytes);
        let file = match place {
            Place::Full => return place,
            Place::New(file) => {
                index.begin(file, bytes);
                file
            }
            Place::Open => index.files.back().unwrap().file,
        };
        let last = first + count - 1;
        index.synced(Stretch { file, first, last, bytes, oldest: 9 });
        place
    }

    #[test]
    fn a_file_that_failed_takes_nothing_more_and_keeps_what_it_has() {
        let mut index = Index::new(16_000);
        assert_eq!(add(&mut index, 1, 3, 100), Place::New(1));
        assert_eq!(add(&mut index, 4, 1, 100), Place::Open);
        index.close();
        assert_eq!(add(&mut index, 5, 1, 100), Place::New(2));
        assert_eq!(index.after(2).map(|stretch| stretch.file), Some(1));
        assert_eq!(index.after(4).map(|stretch| stretch.file), Some(2));
        assert_eq!(index.release(4), [1]);
        assert_eq!((index.range(), index.bytes()), (Some((5, 5)), 100));
    }

    #[test]
    fn a_released_file_is_not_opened_again() {
        let mut index = Index::new(16_000);
        add(&mut index, 1, 3, 100);
        assert_eq!(index.release(3), [1]);
        assert_eq!((index.entries(), index.oldest()), (0, None));
        assert_eq!(add(&mut index, 4, 1, 100), Place::New(2));
    }

    #[test]
    fn a_file_that_was_copied_goes_on_under_its_new_number() {
        let mut index = Index::new(16_000);
        add(&mut index, 1, 3, 100);
        index.close();
        index.begin(2, 100);
        index.moved(1, 2);
        assert_eq!(index.place(10), Place::Open);
        assert_eq!(index.release(3), [2]);
    }

    #[test]
    fn what_others_take_is_not_given() {
        let mut index = Index::new(4000);
        index.others_take(3900);
        assert_eq!(add(&mut index, 1, 1, 101), Place::Full);
        assert_eq!(add(&mut index, 1, 1, 60), Place::New(1));
        assert_eq!(add(&mut index, 2, 1, 40), Place::Open, "it was given the rest");
        assert_eq!(add(&mut index, 3, 1, 1), Place::Full);
        index.others_take(5000);
        assert_eq!(index.place(0), Place::Open, "what was given is not taken back");
        assert_eq!(index.release(2), [1]);
        assert_eq!(index.place(1), Place::Full);
        index.others_take(0);
        assert_eq!(index.begin(2, 1), 250);
        assert_eq!(index.begin(3, 300), 300, "an order is not divided");
    }

    proptest! {
        /// Against a list of every record: nothing over the quota, nothing released too early,
        /// nothing kept that a release covers whole.
        #[test]
        fn it_agrees_with_a_list(steps in proptest::collection::vec((0_u8..4, 1_u64..90), 1..80)) {
            let mut index = Index::new(400);
            let mut list: Vec<(u64, u64, u64)> = Vec::new();
            let (mut next, mut released) = (1, 0);
            for (what, size) in steps {
                if what == 0 {
                    released = (released + size / 30).min(next - 1);
                    let gone = index.release(released);
                    for (file, _, last) in &list {
                        prop_assert!(!gone.contains(file) || *last <= released);
                    }
                    list.retain(|(file, _, _)| !gone.contains(file));
                } else if what == 1 && size < 10 {
                    index.close();
                } else {
                    let count = size % 5 + 1;
                    if add(&mut index, next, count, size) != Place::Full {
                        list.push((index.files.back().unwrap().file, next, next + count - 1));
                        next += count;
                    }
                }
                prop_assert!(index.bytes() <= 400);
                for (file, first, last) in &list {
                    if *first > released {
                        prop_assert_eq!(index.after(first - 1).map(|s| s.file), Some(*file));
                    }
                    prop_assert!(index.files.iter().any(|s| s.file == *file && s.last >= *last));
                }
                let newest = index.files.back().map_or(0, |s| s.file);
                let is_covered = |s: &&Stretch| s.last <= released && s.file != newest;
                prop_assert!(what != 0 || index.files.iter().find(is_covered).is_none());
            }
        }
    }
}
