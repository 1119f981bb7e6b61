//! Throw-away servers and a fault proxy for tests.

#[cfg(feature = "objects")]
pub mod objects;
#[cfg(feature = "s3")]
pub mod s3;
