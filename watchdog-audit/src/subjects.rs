//! Data keys of subjects that can be destroyed one by one.

mod cache;
mod derived;
#[cfg(feature = "embedded")]
mod embedded;
mod erase;
mod freshness;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod rewrap;
mod source;
mod stored;
mod wrapping;

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::personal::SubjectHandle;

pub use derived::DerivedSubjectKeys;
#[cfg(feature = "embedded")]
pub use embedded::EmbeddedVault;
pub use erase::Erased;
pub use freshness::ERASED_WITHIN;
#[cfg(feature = "postgres")]
pub use postgres::PostgresVault;
#[cfg(feature = "redis")]
pub use redis::RedisVault;
pub use rewrap::Rewrapped;
pub use source::SubjectKeySource;
pub use stored::{CACHED_SUBJECTS, StoredSubjectKeys};

/// Longest label of a key, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// Longest wrapped key a vault has to take, in bytes.
pub const MAX_WRAPPED_BYTES: usize = 512;

/// A data key as a vault keeps it: sealed under the encryption root, worthless without it.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Tells the keys of one subject apart; a label is never used again. 1 to
    /// [`MAX_LABEL_BYTES`] bytes of `a`–`z`, `0`–`9` and `-`.
    pub label: String,
    /// The sealed key, at most [`MAX_WRAPPED_BYTES`] bytes.
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey").field("label", &self.label).finish_non_exhaustive()
    }
}

/// The port that keeps wrapped data keys, and can forget them.
///
/// At most one key stands for a handle at any time. Every call that changes something may be
/// repeated word by word after a lost reply and changes nothing the second time.
/// `testing::key_vault` (feature `testing`) holds an implementation against this contract.
#[async_trait]
pub trait KeyVault: fmt::Debug + Send + Sync {
    /// A name for metrics and errors: `redis`, `embedded`, `postgres`.
    fn name(&self) -> &'static str;

    /// Whether the vault can hold what it acknowledges; called once at the start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it may throw keys away, with the way to
    /// mend it.
    async fn preflight(&self) -> Result<()>;

    /// Keeps a key for a handle that has none, and answers the key that stands: of callers that
    /// race, the first wins and everybody gets its key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy) when no key stands and the label was erased: the
    /// call was overtaken by an erasure, and a new label is needed. Else as of a vault that does
    /// not answer.
    async fn create(
        &self,
        handle: &SubjectHandle,
        label: &str,
        wrapped: &[u8],
    ) -> Result<WrappedKey>;

    /// The key that stands for a handle.
    ///
    /// # Errors
    ///
    /// As of a vault that does not answer.
    async fn current(&self, handle: &SubjectHandle) -> Result<Option<WrappedKey>>;

    /// The key with a handle and a label, `None` when it is gone.
    ///
    /// # Errors
    ///
    /// As of a vault that does not answer.
    async fn find(&self, handle: &SubjectHandle, label: &str) -> Result<Option<WrappedKey>> {
        Ok(self.current(handle).await?.filter(|key| key.label == label))
    }

    /// Puts `new` in the place of `old`, under the same label; false when something else stands
    /// there, or nothing. True as well when `new` stands there already.
    ///
    /// # Errors
    ///
    /// As of a vault that does not answer.
    async fn replace(
        &self,
        handle: &SubjectHandle,
        label: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool>;

    /// Destroys the key of a handle, remembers its label for ever, and raises the
    /// [`generation`](Self::generation), also when there was no key. Answers how many keys were
    /// destroyed.
    ///
    /// # Errors
    ///
    /// As of a vault that does not answer: keys may be destroyed or not, and the generation may not
    /// be raised; calling again ends it.
    async fn erase(&self, handle: &SubjectHandle) -> Result<u64>;

    /// A number that every erasure changes, after the key is gone: who sees the number that it saw
    /// before may go on with the keys it has in memory.
    ///
    /// # Errors
    ///
    /// As of a vault that does not answer.
    async fn generation(&self) -> Result<u64>;

    /// At most `limit` keys that stand, in the order of handle and label, after one of them. A key
    /// that is made or erased meanwhile may be listed or not, every other is.
    ///
    /// # Errors
    ///
    /// As of a vault that does not answer.
    async fn list(
        &self,
        after: Option<(SubjectHandle, String)>,
        limit: usize,
    ) -> Result<Vec<(SubjectHandle, WrappedKey)>>;
}
