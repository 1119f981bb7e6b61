//! The error of this crate: an opaque context around a public kind.

use std::fmt;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store or the bucket cannot be reached, or refuses writes for now.
    Unavailable,
    /// No acknowledgement came in time. The entry is kept and still written when the store is
    /// back; the same entry recorded again is recognised by its id.
    NotAcknowledged,
    /// The queue stayed full; the entry was not taken.
    Saturated,
    /// Another process archives at the moment, or has taken over.
    Busy,
    /// An entry is larger than the log takes; trying again will not help.
    TooLarge,
    /// The log is shut down.
    Closed,
    /// What is stored is not what was written, or something that was stored is gone.
    Corrupt,
    /// An object of the archive lies in Glacier: it must be restored before it can be read.
    Frozen,
    /// A key is missing or does not fit.
    Key,
    /// A legal hold forbids it.
    Held,
    /// The caller has no role that allows it.
    Denied,
    /// The settings contradict each other or cannot work.
    Config,
    /// The caller used the log in a way it does not allow.
    Misuse,
}

/// An error of the audit log.
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
    /// Implementations of the ports use it too. Never put personal data into `context`.
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
                | ErrorKind::NotAcknowledged
                | ErrorKind::Saturated
                | ErrorKind::Busy
        )
    }

    pub(crate) fn corrupt(context: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }
}

impl From<watchdog_core::Error> for Error {
    fn from(error: watchdog_core::Error) -> Self {
        let kind = match error.kind() {
            watchdog_core::ErrorKind::Unavailable => ErrorKind::Unavailable,
            watchdog_core::ErrorKind::Config => ErrorKind::Config,
            watchdog_core::ErrorKind::Key | watchdog_core::ErrorKind::Unverified => ErrorKind::Key,
            _ => ErrorKind::Misuse,
        };
        Self::new(kind, "a port of the audit log failed").with_source(error)
    }
}

/// What an implementer of the `AuditSink` port reports.
impl From<Error> for watchdog_core::Error {
    fn from(error: Error) -> Self {
        let kind = if error.is_retryable() {
            watchdog_core::ErrorKind::Unavailable
        } else {
            watchdog_core::ErrorKind::Refused
        };
        Self::new(kind, "the audit log did not take the entry").with_source(error)
    }
}

#[cfg(any(feature = "redis", feature = "objects"))]
pub(crate) fn storage(context: &'static str) -> impl Fn(watchdog_storage::Error) -> Error + Copy {
    use watchdog_storage::ErrorKind as Storage;
    move |error| {
        let kind = match error.kind() {
            _ if error.is_retryable() => ErrorKind::Unavailable,
            Storage::Config => ErrorKind::Config,
            Storage::Misuse => ErrorKind::Misuse,
            Storage::Denied => ErrorKind::Unavailable,
            Storage::Frozen => ErrorKind::Frozen,
            _ => ErrorKind::Corrupt,
        };
        Error::new(kind, context).with_source(error)
    }
}
