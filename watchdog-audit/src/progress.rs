//! How far a long operation is.

/// How far a long operation is; it says in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// So much is done.
    pub done: u64,
    /// So much there is to do, as far as is known now.
    pub total: u64,
}

impl Progress {
    /// So much of so much.
    pub fn new(done: u64, total: u64) -> Self {
        Self { done, total }
    }
}

/// Hears how far an operation is, from its own task: it must not block.
pub type OnProgress<'a> = dyn Fn(Progress) + Send + Sync + 'a;
