//! Every key of a vault wrapped under the current root, without touching what it sealed.

use watchdog_core::audit::{Actor, Category, Resource};

use crate::error::Result;
use crate::log::AuditLog;
use crate::personal::SubjectHandle;
use crate::progress::{OnProgress, Progress};
use crate::subjects::KeyVault;
use crate::subjects::wrapping::{Rewrap, Wrapping};

const PAGE: usize = 1000;

/// What a re-wrap found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrapped {
    /// Keys that stand in the vault, the one that pseudonyms are made with among them.
    pub keys: u64,
    /// Keys that this run wrapped anew.
    pub rewrapped: u64,
    /// Keys that no root of the list opens: what they sealed is lost unless their root comes back.
    pub unopened: u64,
}

/// Goes through a vault from its beginning. What was done before is not done again.
pub(crate) async fn all(
    vault: &dyn KeyVault,
    wrapping: &Wrapping,
    on_progress: &OnProgress<'_>,
) -> Result<Rewrapped> {
    let mut done = Rewrapped::default();
    let mut after = None;
    loop {
        let page = vault.list(after, PAGE).await?;
        let Some((last, key)) = page.last() else { break };
        after = Some((last.clone(), key.label.clone()));
        for (handle, key) in &page {
            done.keys += 1;
            match wrapping.rewrap(handle, key)? {
                Rewrap::Current => {}
                Rewrap::Unopened => done.unopened += 1,
                Rewrap::New(new) => {
                    // Else it was erased meanwhile, or another run came first.
                    if vault.replace(handle, &key.label, &key.wrapped, &new).await? {
                        done.rewrapped += 1;
                    }
                }
            }
            on_progress(Progress::new(position(handle), SPACE));
        }
    }
    on_progress(Progress::new(SPACE, SPACE));
    Ok(done)
}

/// Handles are spread evenly and listed in order: how far one is tells how much is done.
const SPACE: u64 = 1 << 16;

fn position(handle: &SubjectHandle) -> u64 {
    handle.to_bytes().map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]).into())
}

impl AuditLog {
    /// Wraps the data key of every subject under the current encryption root and records that as
    /// `audit.subject_keys_rewrapped`. Entries and archive stay as they are.
    ///
    /// To rotate `WATCHDOG_ENCRYPTION_KEY`: list the new key as a previous one in every process,
    /// then make it the current one and the old one a previous one in every process, then call this
    /// until it answers that it re-wrapped nothing. The old key is then needed no more. A run that
    /// broke off is resumed by the next.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) when personal fields are not sealed, or
    /// under derived keys, which follow from their root; else as of the vault and of
    /// [`record`](Self::record).
    pub async fn rewrap(&self) -> Result<Rewrapped> {
        self.rewrap_observed(&|_| {}).await
    }

    /// As [`rewrap`](Self::rewrap), and tells how far it is, in 65 536ths of the vault.
    ///
    /// # Errors
    ///
    /// As [`rewrap`](Self::rewrap).
    pub async fn rewrap_observed(&self, on_progress: &OnProgress<'_>) -> Result<Rewrapped> {
        let done = self.subject_keys()?.rewrap(on_progress).await?;
        let actor = Actor::service("watchdog-audit");
        let vault = Resource::new("subject_keys", "all");
        let operation =
            self.begin(Category::Security, actor, "audit.subject_keys_rewrapped", vault);
        let mut operation = operation.await?;
        operation.detail("keys", done.keys);
        operation.detail("rewrapped", done.rewrapped);
        operation.detail("unopened", done.unopened);
        operation.succeed().await?;
        Ok(done)
    }
}
