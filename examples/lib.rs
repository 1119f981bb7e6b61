//! What the examples share, and a check that what the guides show compiles. The examples themselves
//! are the `[[example]]` targets of this package.

pub mod bar;
pub mod browser;
pub mod notes;

/// What the guides show compiles.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../docs/sessions.md")]
    struct Sessions;

    #[doc = include_str!("../docs/audit.md")]
    struct Audit;

    #[doc = include_str!("../docs/migration.md")]
    struct Migration;
}
