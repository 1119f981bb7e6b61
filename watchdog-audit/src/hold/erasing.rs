//! Erasures under way and the legal holds that are placed meanwhile.
//!
//! Each writes what it is about to do before it looks for the other: an erasure its notice, then it
//! reads the holds; a hold its object, then it waits for the notices there are. A bucket that shows
//! at once what was written shows at least one of them the other. Who sees a hold does not erase;
//! an erasure that came first has ended when the hold is acknowledged.
//!
//! A notice holds up nobody for longer than [`OVER_AFTER`], by the clock of who places the hold: whoever
//! wrote it is gone by then. What is left is a process that is suspended for longer than
//! that between its look at the holds and its call to the vault, and clocks that differ by as much.

use std::time::Duration;

use watchdog_core::Timestamp;

use crate::archive::Archive;
use crate::error::{Error, ErrorKind, Result, storage};
use crate::millis::millis_of;
use crate::writer_id::WriterId;

const ERASING: &str = "audit/v1/erasing/";
/// A notice that is older says nothing.
const OVER_AFTER: Duration = Duration::from_secs(600);
/// Longest time from the notice to the answer of the vault.
pub(crate) const WITHIN: Duration = Duration::from_secs(300);
/// How long a hold waits for erasures under way.
const WAIT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);

/// The notice of an erasure under way.
#[derive(Debug)]
pub(crate) struct Erasing<'a> {
    archive: &'a Archive,
    key: String,
}

impl<'a> Erasing<'a> {
    /// Writes the notice. The holds are to be read after it.
    pub(crate) async fn begin(archive: &'a Archive, now: Timestamp) -> Result<Self> {
        let own = WriterId::random()?;
        let millis = millis_of(now);
        let key = format!("{ERASING}{millis:020}.{own}");
        archive.create(&key, "{}".into()).await?;
        Ok(Self { archive, key })
    }

    /// Takes the notice back: nothing will be destroyed any more.
    pub(crate) async fn over(self) {
        remove(self.archive, &self.key).await;
    }
}

/// Waits until the erasures that were begun before are over.
pub(super) async fn wait(archive: &Archive, now: Timestamp) -> Result<()> {
    let mut before: Vec<String> = Vec::new();
    for key in archive.keys(ERASING, None).await? {
        if is_over(&key, now) { remove(archive, &key).await } else { before.push(key) }
    }
    let begun = tokio::time::Instant::now();
    while !before.is_empty() {
        if begun.elapsed() >= WAIT {
            return Err(Error::new(
                ErrorKind::Busy,
                "a subject is being erased, or an erasure broke off less than ten minutes ago: the \
                 legal hold stands, and placing it again tells whether it came in time",
            ));
        }
        tokio::time::sleep(STEP).await;
        let standing = archive.keys(ERASING, None).await?;
        before.retain(|key| standing.contains(key));
    }
    Ok(())
}

async fn remove(archive: &Archive, key: &str) {
    let removed = archive.bucket().delete(key).await;
    if let Err(error) = removed.map_err(storage("the notice of an erasure was not removed")) {
        tracing::warn!(%error, "legal holds wait for an erasure that is over, for ten minutes");
    }
}

/// Whether a notice is too old to count; what has no time says nothing.
fn is_over(key: &str, now: Timestamp) -> bool {
    let millis = key.strip_prefix(ERASING).and_then(|name| name.split('.').next()?.parse().ok());
    let Some(begun): Option<i64> = millis else { return true };
    let age = now.as_millisecond().saturating_sub(begun);
    u64::try_from(age).is_ok_and(|age| u128::from(age) >= OVER_AFTER.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_counts_for_ten_minutes() {
        let at = |seconds| Timestamp::new(seconds, 0).unwrap();
        let key = format!("{ERASING}{:020}.ab", 1_000_000);
        assert!(!is_over(&key, at(1000)) && !is_over(&key, at(1599)) && is_over(&key, at(1600)));
        assert!(!is_over(&key, at(0)), "the clock of another is ahead");
        assert!(is_over("audit/v1/erasing/other", at(0)));
    }
}
