//! The `Clock` port: what time it is.

use std::fmt;

pub use jiff::Timestamp;

/// What time it is.
///
/// Every part of the SDK that needs the wall clock takes one of these, so that a test moves time
/// instead of waiting for it.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
