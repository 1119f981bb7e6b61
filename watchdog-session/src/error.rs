//! The error of this crate: an opaque context around a public kind.

use std::fmt;

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The token was never issued: malformed, forged, or of another deployment. Nothing changed.
    Invalid,
    /// The idle timeout or the absolute lifetime has passed, or the access token has.
    Expired,
    /// A refresh token was presented that had been replaced already. The session is revoked.
    Reused,
    /// The session is no more: revoked, evicted by a newer login, or expired and removed.
    Gone,
    /// The client is not the one the session was issued to.
    ClientMismatch,
    /// The user holds as many sessions as allowed, and the policy is to refuse another one.
    TooManySessions,
    /// The user has to authenticate again: the client changed, or the last time is too long ago.
    StepUpRequired,
    /// Somebody was faster. An attribute was changed in between: read it again and decide anew. Or a
    /// refresh arrived after a later one of the same session: use that one's answer.
    Conflict,
    /// The user is known and not allowed.
    Forbidden,
    /// One refresh token was presented more often within its grace period than is allowed.
    LimitReached,
    /// The store cannot be reached. The session may be well: answer 503 and keep the cookie.
    Unavailable,
    /// The settings contradict each other or cannot work.
    Config,
    /// The caller handed over something out of bounds: an empty user, too many roles.
    Misuse,
    /// A bug of this crate, or a record that is not what was written.
    Internal,
}

impl ErrorKind {
    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Reused => "reused",
            Self::Gone => "gone",
            Self::ClientMismatch => "client_mismatch",
            Self::TooManySessions => "too_many_sessions",
            Self::StepUpRequired => "step_up_required",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::LimitReached => "limit_reached",
            Self::Unavailable => "unavailable",
            Self::Config => "config",
            Self::Misuse => "misuse",
            Self::Internal => "internal",
        }
    }
}

/// An error of this crate.
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
    /// Makes an error with a lowercase sentence fragment that says what failed. Never put a token
    /// into `context`.
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

    pub(crate) fn invalid(context: &'static str) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }
}

/// Keys, seals and randomness fail only by a bug or a broken system.
impl From<watchdog_core::Error> for Error {
    fn from(error: watchdog_core::Error) -> Self {
        let kind = match error.kind() {
            watchdog_core::ErrorKind::Config | watchdog_core::ErrorKind::Key => ErrorKind::Config,
            watchdog_core::ErrorKind::Unavailable => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, "the key ring or a port failed").with_source(error)
    }
}

#[cfg(feature = "redis")]
impl From<watchdog_storage::Error> for Error {
    fn from(error: watchdog_storage::Error) -> Self {
        use watchdog_storage::ErrorKind as Storage;
        // Whoever may not speak to the store is as far from it as whoever cannot reach it: the
        // session may be well, so the cookie stays.
        let kind = match error.kind() {
            _ if error.is_retryable() => ErrorKind::Unavailable,
            Storage::Denied => ErrorKind::Unavailable,
            Storage::Config => ErrorKind::Config,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, "the session store did not answer").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unavailable_store_is_worth_another_try() {
        assert!(Error::new(ErrorKind::Unavailable, "x").is_retryable());
        for kind in [ErrorKind::Invalid, ErrorKind::Reused, ErrorKind::Gone, ErrorKind::Internal] {
            assert!(!Error::new(kind, "x").is_retryable());
        }
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        let source = watchdog_core::Error::new(watchdog_core::ErrorKind::Key, "secret 0 is short");
        let error = Error::from(source);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("secret 0"));
    }
}
