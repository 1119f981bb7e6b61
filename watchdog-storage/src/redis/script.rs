//! Scripts: Lua with a versioned name.

/// A Lua script, kept in a `static`.
///
/// The name is versioned (`session.rotate.v1`) and shows in metrics and errors.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    source: &'static str,
}

impl Script {
    /// A script from its source, usually `include_str!`.
    pub const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source }
    }

    /// The versioned name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The Lua source.
    pub const fn source(&self) -> &'static str {
        self.source
    }
}
