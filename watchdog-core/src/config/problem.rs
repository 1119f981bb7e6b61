//! What is wrong with a configuration, all of it at once.

use std::fmt;

use serde_json::{Value, json};

use super::origin::Origin;
use super::section::Environment;
use crate::error::{Error, ErrorKind};

/// What kind of problem it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A value that is needed is not set.
    Missing,
    /// The text is not of the field's type.
    Malformed,
    /// Of the right type, outside the allowed range.
    OutOfRange,
    /// Well formed, and not acceptable to the section it belongs to.
    Refused,
    /// Several values exclude each other.
    Contradictory,
    /// No section has a variable of that name.
    Unknown,
    /// A placeholder such as `${SECRET}` that somebody else should have replaced.
    Unresolved,
    /// Both `NAME` and `NAME_FILE` are set.
    Conflict,
    /// A file or a secret source could not be read.
    Unreadable,
    /// Allowed in development only.
    Unsafe,
    /// Kubernetes set the variable for a Service of a colliding name.
    ServiceLink,
}

impl ProblemKind {
    /// The name used in [`ConfigError::to_json`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::OutOfRange => "out_of_range",
            Self::Refused => "refused",
            Self::Contradictory => "contradictory",
            Self::Unknown => "unknown",
            Self::Unresolved => "unresolved",
            Self::Conflict => "conflict",
            Self::Unreadable => "unreadable",
            Self::Unsafe => "unsafe",
            Self::ServiceLink => "service_link",
        }
    }

    const fn phrase(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::OutOfRange => "out of range",
            Self::Refused => "not acceptable",
            Self::Contradictory => "contradictory",
            Self::Unknown => "unknown",
            Self::Unresolved => "an unresolved placeholder",
            Self::Conflict => "set twice",
            Self::Unreadable => "unreadable",
            Self::Unsafe => "unsafe",
            Self::ServiceLink => "a Kubernetes service link",
        }
    }
}

/// One thing that is wrong. Never holds a value, secret or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) variables: Vec<String>,
    pub(super) origins: Vec<Origin>,
    pub(super) expected: String,
    pub(super) hint: String,
}

impl Problem {
    pub(super) fn new(
        kind: ProblemKind,
        variable: impl Into<String>,
        origin: Option<Origin>,
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            variables: vec![variable.into()],
            origins: origin.into_iter().collect(),
            expected: expected.into(),
            hint: hint.into(),
        }
    }

    /// What kind of problem it is.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The variables that are wrong or contradict each other; a key of the TOML file reads
    /// `section.field`.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Where their values came from, one for each variable that is set.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// What would be right.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// How to mend it.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    fn to_json(&self) -> Value {
        json!({
            "variables": self.variables,
            "kind": self.kind.as_str(),
            "origins": self.origins.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "expected": self.expected,
            "hint": self.hint,
        })
    }
}

impl fmt::Display for Problem {
    /// One line: variable, what is wrong, where it came from, what was expected, how to mend it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.variables.len() > 1 { "are" } else { "is" };
        write!(f, "{} {verb} {}", self.variables.join(", "), self.kind.phrase())?;
        for (position, origin) in self.origins.iter().enumerate() {
            f.write_str(if position == 0 { " [" } else { ", " })?;
            write!(f, "{origin}")?;
        }
        if !self.origins.is_empty() {
            f.write_str("]")?;
        }
        write!(f, "; expected {}; {}", self.expected, self.hint)
    }
}

/// A configuration that cannot be used: every problem of it.
///
/// `Display` prints a header and one line for each problem, sorted by variable.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    environment: Environment,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(environment: Environment, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.variables, a.kind).cmp(&(&b.variables, b.kind)));
        problems.dedup();
        Self { environment, problems }
    }

    /// Every problem, sorted by variable.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The environment whose rules were applied. Production when `WATCHDOG_ENV` itself is
    /// malformed.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The same for programs: `{"environment": …, "problems": [{"variables": […], "kind": …,
    /// "origins": […], "expected": …, "hint": …}]}`.
    pub fn to_json(&self) -> Value {
        json!({
            "environment": self.environment.as_str(),
            "problems": self.problems.iter().map(Problem::to_json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, environment) = (self.problems.len(), self.environment.as_str());
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "configuration is not usable: {count} {noun} (environment: {environment})")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl fmt::Debug for ConfigError {
    /// As `Display`: a `main` that returns this error prints it with `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Config, error)
    }
}
