//! What the examples share, and a check that what the guides show compiles. The examples themselves
//! are the `[[example]]` targets of this package.

pub mod browser;
