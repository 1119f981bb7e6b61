//! The error of this crate: an opaque context around a public kind.

use std::fmt;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is not usable; the error lists every problem.
    Config,
    /// A key is too short, doubled or otherwise unusable.
    Key,
    /// A sealed value or a tag does not verify under any accepted key.
    Unverified,
    /// A dependency behind a port cannot be reached; trying again may help.
    Unavailable,
    /// A port refused the call; trying again will not help.
    Refused,
    /// A bug of this crate.
    Internal,
}

/// An error of `watchdog-core` or of an implementation of one of its ports.
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
    /// Makes an error with a lowercase sentence fragment that says what failed.
    ///
    /// Implementations of the ports use it too. Never put the value of a secret into `context`.
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
        matches!(self.kind, ErrorKind::Unavailable)
    }
}
