//! Objects in memory, in a local directory, or on S3 and compatible stores.

use bytes::Bytes;

use crate::error::Result;

/// A bucket of objects.
///
/// A clone shares the connections.
#[derive(Clone, Debug)]
pub struct Objects {}

/// What a put-if-absent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Created,
    /// An object of that key exists; nothing was written.
    AlreadyExists,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The key within the bucket.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
}

/// One page of a listing, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// The key to continue after, `None` at the end.
    pub next: Option<String>,
}

#[expect(clippy::unimplemented, clippy::missing_errors_doc, reason = "skeleton")]
impl Objects {
    /// A bucket in memory.
    pub fn memory() -> Self {
        Self {}
    }

    /// A bucket in a local directory, which is made when it is missing.
    pub fn local(_directory: impl AsRef<std::path::Path>) -> Result<Self> {
        unimplemented!()
    }

    /// Writes an object, replacing what was there.
    pub async fn put(&self, _key: &str, _content: Bytes) -> Result<()> {
        unimplemented!()
    }

    /// Writes an object unless one of that key exists.
    pub async fn put_if_absent(&self, _key: &str, _content: Bytes) -> Result<Put> {
        unimplemented!()
    }

    /// Writes an object unless it is there already, reads it back and compares every byte.
    pub async fn put_verified(&self, _key: &str, _content: Bytes) -> Result<Put> {
        unimplemented!()
    }

    /// Reads an object.
    pub async fn get(&self, _key: &str) -> Result<Bytes> {
        unimplemented!()
    }

    /// The size of an object, `None` when there is none.
    pub async fn head(&self, _key: &str) -> Result<Option<ObjectMeta>> {
        unimplemented!()
    }

    /// Deletes an object; one that is not there is no error.
    pub async fn delete(&self, _key: &str) -> Result<()> {
        unimplemented!()
    }

    /// Lists at most `limit` objects under a prefix, in key order, after a key.
    pub async fn list(&self, _prefix: &str, _after: Option<&str>, _limit: usize) -> Result<Page> {
        unimplemented!()
    }
}
