//! What could not be read of a segment.

use serde::{Deserialize, Serialize};

/// What of a segment could not be read when it was archived. The frames are kept as the store had
/// them; that they are there is a fault [`verify`](crate::AuditLog::verify) names first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreadable {
    /// Entries the store has counted in the segment and the archive does not hold: so many numbers
    /// of the partition's writers may be missing.
    pub entries: u64,
    /// Frames the store has counted and does not hold any more.
    pub missing: u64,
    /// The objects that hold the frames that were set aside.
    pub objects: Vec<UnreadableObject>,
}

/// Frames as the store had them: each its id as two numbers of 8 bytes (milliseconds, number), its
/// length in 4 bytes, all big endian, and its bytes; one zstd frame around them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadableObject {
    /// The key in the bucket.
    pub key: String,
    /// How many frames it holds.
    pub frames: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the object, 64 hexadecimal digits.
    pub sha256: String,
}
