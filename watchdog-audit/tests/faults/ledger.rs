//! What the load generator was given a receipt for.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

/// A file of numbers, one a line, each written after its receipt.
#[derive(Debug)]
pub(crate) struct Ledger(File);

impl Ledger {
    pub(crate) fn open(path: &Path) -> Self {
        Self(OpenOptions::new().append(true).create(true).open(path).unwrap())
    }

    /// One write for each line: the kernel keeps it when this process is killed.
    pub(crate) fn note(&self, number: u64) {
        (&self.0).write_all(format!("{number}\n").as_bytes()).unwrap();
    }
}

/// Every number in a ledger; a last line that was cut is none.
pub(crate) fn read(path: &Path) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}
