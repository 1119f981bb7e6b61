//! Where a value came from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
///
/// Prints as `default`, `file:watchdog.toml`, `dotenv:.env:3`, `source:vault`,
/// `secret-file:/run/secrets/db` or `env:WATCHDOG_DB_HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Built in.
    Default,
    /// The TOML file.
    File(PathBuf),
    /// A line of a `.env` file, counted from one.
    Dotenv(PathBuf, usize),
    /// A [`SecretSource`](crate::SecretSource), by name.
    SecretSource(String),
    /// A file that a `NAME_FILE` variable names.
    SecretFile(PathBuf),
    /// A variable of the process environment, by name.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Dotenv(path, line) => write!(f, "dotenv:{}:{line}", path.display()),
            Self::SecretSource(name) => write!(f, "source:{name}"),
            Self::SecretFile(path) => write!(f, "secret-file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}
