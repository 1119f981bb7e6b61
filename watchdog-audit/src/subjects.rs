//! Data keys of subjects that can be destroyed one by one: erasing a person from a log that cannot
//! be changed.
//!
//! The subject of an entry is its actor. What is personal in an entry (actor id, client, details) is
//! sealed under a data key of the subject before it leaves the process; the line keeps a pseudonym
//! and the key's label. Whoever destroys the key makes those fields unreadable wherever the line
//! is: in the store, in the spool, in the archive and its old versions, in every copy. The bytes of
//! the lines stay, so hashes, proofs and signatures hold, and [`AuditLog::verify`] passes.
//!
//! [`AuditLog::erase`]: crate::AuditLog::erase
//! [`AuditLog::erase_again`]: crate::AuditLog::erase_again
//! [`AuditLog::rewrap`]: crate::AuditLog::rewrap
//! [`AuditLog::verify`]: crate::AuditLog::verify
//!
//! # What is where
//!
//! - A **data key** is 256 random bits, made when a subject is first heard of. A [`KeyVault`] keeps
//!   it, wrapped with AES-256-GCM under a key derived from `WATCHDOG_ENCRYPTION_KEY` and bound to
//!   its pseudonym and label. The vault alone opens nothing, nor does the root alone.
//! - The **pseudonym** is an HMAC of the actor under one more random key, which the vault keeps in
//!   the same way under the pseudonym of 32 zeros. It outlives every root, so that entries of a
//!   subject are found, and erased, after any number of rotations.
//! - A **process** has at most [`CACHED_SUBJECTS`] keys in memory, so that entries of known subjects
//!   cost no round trip, and a first entry costs one.
//!
//! | `WATCHDOG_AUDIT_SUBJECT_KEYS` | place | shared by | choose it when |
//! |---|---|---|---|
//! | `redis` | [`RedisVault`]: hashes without a life; the server must not evict (`noeviction`, `volatile-*`) | all processes | entries are in Redis, and it is persistent (AOF) and replicated |
//! | `embedded` | [`EmbeddedVault`]: `subject_keys.redb` in the log's directory, each commit synced | one process | there is one process |
//! | `postgres` | a table, through a vault of that database | all processes | keys are to outlive the loss of Redis |
//! | `derived` | nowhere: they follow from the root | all | nobody is ever to be erased: **erasing is refused** |
//!
//! Who loses the vault loses the personal fields of every entry, as surely as if everybody had been
//! erased. Back it up, and read on.
//!
//! # Erasing
//!
//! [`AuditLog::erase`] records `audit.subject_erasure_begun`, destroys the key, remembers its label
//! for ever, so that no late call can bring it back, and records `audit.subject_erased`, both with
//! the pseudonym. From then on:
//!
//! - The process that erased opens nothing of the subject. Every other one opens and seals nothing
//!   under the key after [`ERASED_WITHIN`], one second, as long as its vault answers. What it seals
//!   until then is lost with the key: unreadable, which is the safe side.
//! - A process that does not reach its vault, which is one that has not answered for two seconds,
//!   opens nothing at all. It goes on to seal for subjects whose keys it has, so that their entries
//!   are not lost. An entry of another subject cannot be sealed, and nothing personal goes to store or
//!   spool in clear: it stays in memory, in its place in the queue, while others go on. When the
//!   vault answers it is recorded. After the record timeout a caller that waits is refused with
//!   [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), and with `FAIL_CLOSED` so is the
//!   operation. An entry that nobody waits for, such as that of a dropped operation, is kept until
//!   the vault answers; it is lost with the process, and was never acknowledged.
//! - Later entries of the subject are sealed under a new key and are readable. Erase once more when
//!   that is not wanted.
//! - A query by the actor still finds the old entries, without their personal fields: the pseudonym
//!   stays, and whoever has root and vault and knows the id can tell whose they are. So can anybody
//!   to whom `action`, `resource`, `request_id`, `trace_id` or the times tell it: they are not
//!   sealed. Put no personal data there.
//! - What left the log earlier is not called back: exports, mirrored log lines, other systems.
//!
//! # Backups
//!
//! A backup of the vault brings destroyed keys back when it is restored, and whoever holds the
//! backup *and* the root it was wrapped under can read what was erased since. No software can erase
//! inside a backup that it does not know of. By place:
//!
//! | place | where a destroyed key still is, wrapped |
//! |---|---|
//! | Redis | RDB files and AOF until they are rewritten (`BGREWRITEAOF`, `BGSAVE`), replicas until they have caught up, every copy of these files |
//! | Postgres | dead rows until `VACUUM`, WAL and base backups for as long as point-in-time recovery reaches back |
//! | embedded | free pages of the file until they are used again, every copy and snapshot of the file |
//!
//! Two things bound that. *Keep backups of the vault no longer than the time in which an erasure has
//! to be complete*; they are small, and older ones serve nobody, since keys are only ever added and
//! destroyed. And *rotate the root*: [`AuditLog::rewrap`] wraps what stands under the new root;
//! when the old root is destroyed, every older backup of the vault is worthless. After a restore run
//! [`AuditLog::erase_again`] before the log is read: the log itself tells who was erased since.
//!
//! A restored vault also lacks the keys that were made after its backup. Processes that still have
//! them in memory put them back when they next use them; others are gone with what they sealed. The
//! same holds for a Redis primary that is lost before its replica has the newest keys.
//!
//! # Rotating `WATCHDOG_ENCRYPTION_KEY`
//!
//! List the new key as a previous one in every process; make it the current one and the old one a
//! previous one in every process; run [`AuditLog::rewrap`] until it re-wraps nothing; drop the old
//! key. The archive is not touched. A process that starts without a root it needs says so at once.
//!
//! # What the law may say
//!
//! This is not legal advice. Article 17 GDPR asks that personal data be erased; destroying the only
//! key to data encrypted in a state-of-the-art way is widely taken as a means to that, and NIST SP
//! 800-88 knows it as cryptographic erase. Supervisory authorities do not endorse it as such: the
//! EDPB's guidelines 02/2025 on blockchain technologies prefer that personal data stay outside of what cannot be
//! changed, and point out that ciphertext is personal data for as long as somebody may hold the key
//! or the cipher may fall. While a key exists, the entries are pseudonymous, not anonymous; after it
//! is gone, the pseudonym is still there. Article 17(3) and legal holds may forbid to erase at all.
//! Let your data protection officer decide which it is, and how long backups may live.
//!
//! # How to extend it
//!
//! Implement [`KeyVault`] and run `testing::key_vault` on it, or [`SubjectKeys`](crate::SubjectKeys)
//! for a key service that wraps and unwraps by itself.

mod cache;
mod derived;
#[cfg(feature = "embedded")]
mod embedded;
mod erase;
mod erase_again;
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
