//! The error of this crate: an opaque context around a public kind.

use std::fmt;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server cannot be reached, or the connection broke before an answer came.
    Unavailable,
    /// A connection could not be made in time.
    ConnectTimeout,
    /// No connection of the pool became free in time: every one is in use.
    AcquireTimeout,
    /// The queue in front of the client is full; the call was refused without waiting.
    Saturated,
    /// The server did not answer a command or statement in time.
    CommandTimeout,
    /// The server refused the credentials or the permission.
    Denied,
    /// The server refuses writes: out of memory, read only, loading, or handing the key over to
    /// another shard.
    Refusing,
    /// What was asked for does not exist.
    NotFound,
    /// The object lies in a storage class, such as Glacier, from which it must be restored before it
    /// can be read.
    Frozen,
    /// What was to be created exists already.
    AlreadyExists,
    /// A condition of the call did not hold: a version, a tag.
    Precondition,
    /// The server answered with something else than the protocol or the script promises.
    Unexpected,
    /// The stored value is not what was written.
    Corrupt,
    /// The settings contradict each other or cannot work.
    Config,
    /// The caller used the client in a way it does not allow, such as keys of two hash tags in one
    /// script.
    Misuse,
}

/// An error of a storage client.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    kind: ErrorKind,
    context: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error with a lowercase sentence fragment that says what failed. Never put the
    /// value of a secret into `context`.
    pub fn new(kind: ErrorKind, context: impl fmt::Display) -> Self {
        Self { kind, context: context.to_string(), source: None }
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody mending anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable
                | ErrorKind::ConnectTimeout
                | ErrorKind::AcquireTimeout
                | ErrorKind::Saturated
                | ErrorKind::CommandTimeout
                | ErrorKind::Refusing
        )
    }
}
