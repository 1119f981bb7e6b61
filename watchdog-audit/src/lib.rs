//! Audit log
mod entry; mod error; mod frame; mod hex; mod personal; mod segment; mod store; mod writer_id;
mod merkle; mod manifest; mod signing;
pub use error::*;
pub use segment::*;
pub use store::*;
pub use personal::*;
pub use signing::PublicKey;
pub use manifest::Manifest;
pub use writer_id::WriterId;
