//! How much the spools of a directory take together.
//!
//! The length of a writer's `lock` is how long the file it has open may become. It is set, and the
//! file made, under a lock on the directory of all spools, after everything there was counted: so
//! no two processes give themselves the same room.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::spool::home::{DAMAGED, ENDING, LOCK};

/// Bytes of every spool but the own: those on disk, and those that a writer may still add to the
/// file it has open.
pub(crate) fn of_others(root: &Path, own: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in present(fs::read_dir(root))?.into_iter().flatten() {
        let path = entry?.path();
        if path != own {
            bytes = bytes.saturating_add(of(&path)?);
        }
    }
    Ok(bytes)
}

fn of(home: &Path) -> io::Result<u64> {
    let entries = match present(fs::read_dir(home)) {
        // What is no directory is no spool.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => None,
        entries => entries?,
    };
    let (mut files, mut damaged, mut open) = (BTreeMap::new(), BTreeMap::new(), 0);
    for entry in entries.into_iter().flatten() {
        let entry = entry?;
        let Some(metadata) = present(entry.metadata())? else { continue };
        let path = entry.path();
        let number = path.file_stem().map(ToOwned::to_owned);
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(ENDING) => files.insert(number, metadata.len()),
            Some(DAMAGED) => damaged.insert(number, metadata.len()),
            None if path.ends_with(LOCK) => {
                open = metadata.len();
                None
            }
            _ => None,
        };
    }
    // A damaged file that has both names is there once.
    damaged.retain(|number, _| !files.contains_key(number));
    if let Some(mut newest) = files.last_entry() {
        let length = *newest.get();
        newest.insert(length.max(open));
    }
    Ok(files
        .values()
        .chain(damaged.values())
        .fold(0, |sum: u64, length| sum.saturating_add(*length)))
}

/// What another process removes meanwhile takes no room.
fn present<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_and_what_may_come_is_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert_eq!(of_others(&root.join("none"), root).unwrap(), 0);
        let file = |home: &str, name: &str, length: u64| {
            fs::create_dir_all(root.join(home)).unwrap();
            fs::File::create(root.join(home).join(name)).unwrap().set_len(length).unwrap();
        };
        file("own", "1.spool", 1000);
        file("one", "lock", 50);
        file("one", "1.spool", 10);
        file("one", "2.spool", 20);
        assert_eq!(of_others(root, &root.join("own")).unwrap(), 10 + 50);
        file("one", "3.spool", 70);
        assert_eq!(of_others(root, &root.join("own")).unwrap(), 10 + 20 + 70);
        file("gone", "lock", 0);
        file("gone", "1.damaged", 3);
        file("gone", "2.spool", 4);
        file("gone", "2.damaged", 4);
        file("gone", "store.json", 500);
        fs::write(root.join("stray"), "text").unwrap();
        assert_eq!(of_others(root, &root.join("own")).unwrap(), 100 + 3 + 4);
    }
}
