//! How a pool stands.

/// How a pool stands, at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Open connections.
    pub connections: usize,
    /// Places taken: connections lent out, being opened, checked, or on their way back.
    pub in_use: usize,
    /// Open connections that nobody uses.
    pub idle: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// Connections that are kept: `pool_size`.
    pub pool_size: usize,
    /// The greatest number of connections: `pool_size` and `max_overflow`.
    pub max: usize,
}

impl PoolStats {
    /// Whether every place is taken, so that a call has to wait.
    pub fn is_saturated(&self) -> bool {
        self.in_use >= self.max
    }

    /// Whether more than four fifths of the places are taken.
    pub fn is_nearly_saturated(&self) -> bool {
        self.in_use * 5 > self.max * 4
    }
}
