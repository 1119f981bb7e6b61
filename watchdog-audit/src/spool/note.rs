//! What a spool's directory says of itself: small documents of JSON, each there whole or not at
//! all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::segment::WriterRange;
use crate::spool::files::{private, sync_directory};
use crate::writer_id::WriterId;

/// The store that a spool's entries are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// [`SegmentStore::address`](crate::SegmentStore::address).
    pub(crate) store: String,
    /// The partition of its writer, which stays when partitions are added.
    pub(crate) partition: u16,
}

/// Under which id the entries are recorded again that cannot go on under the one of their writer.
///
/// The first entry after `after` gets the number 1, or 2 behind a declaration, the next one the next
/// number, whoever records them and how often: what store or archive have is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heir {
    pub(crate) writer: WriterId,
    pub(crate) partition: u16,
    /// The entries after this one.
    pub(crate) after: u64,
    /// Whether its first entry declares what became of those before.
    pub(crate) declares: bool,
    /// Those of them that are gone.
    pub(crate) lost: Option<WriterRange>,
}

impl Heir {
    /// The entry of the old writer before the one that gets the next number.
    pub(crate) fn old(&self, number: u64) -> u64 {
        self.after + number.saturating_sub(u64::from(self.declares))
    }
}

/// Reads a document; `None` when there is none, or when it cannot be read as one.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a document in the place of the one before, synced.
pub(crate) fn write(path: &Path, document: &impl Serialize) -> io::Result<()> {
    let making = path.with_extension("new");
    let mut file =
        private(OpenOptions::new().write(true).create(true).truncate(true)).open(&making)?;
    file.write_all(&serde_json::to_vec(document)?)?;
    file.sync_all()?;
    fs::rename(&making, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_there_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.json");
        assert_eq!(read::<Origin>(&path).unwrap(), None);
        let origin = Origin { store: "redis://host/0 wd".into(), partition: 3 };
        write(&path, &Origin { partition: 1, ..origin.clone() }).unwrap();
        write(&path, &origin).unwrap();
        assert_eq!(read(&path).unwrap(), Some(origin));
        fs::write(&path, "half").unwrap();
        assert_eq!(read::<Origin>(&path).unwrap(), None);
    }

    #[test]
    fn an_entry_has_the_same_number_whoever_records_it_again() {
        let writer = WriterId::from_bytes([1; 16]);
        for declares in [false, true] {
            let heir = Heir { writer, partition: 0, after: 7, declares, lost: None };
            let declared = u64::from(declares);
            assert_eq!((heir.old(0), heir.old(declared)), (7, 7));
            assert_eq!((heir.old(declared + 1), heir.old(declared + 12)), (8, 19));
        }
    }
}
