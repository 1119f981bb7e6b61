//! The error of this crate: an opaque context around a public kind.

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registered checks contradict each other or cannot work; the error lists every problem.
    Config,
    /// No tokio runtime is running where the checks were to start.
    NoRuntime,
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
    pub(crate) fn config(problems: &[String]) -> Self {
        let context = format!("the health checks cannot work: {}", problems.join("; "));
        Self { kind: ErrorKind::Config, context, source: None }
    }

    pub(crate) fn no_runtime(source: tokio::runtime::TryCurrentError) -> Self {
        Self {
            kind: ErrorKind::NoRuntime,
            context: "health checks run on a tokio runtime".to_owned(),
            source: Some(Box::new(source)),
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody mending anything: never, here.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
