//! Write, read back, compare.

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;

use super::{Objects, Put};
use crate::error::{Error, ErrorKind, Result};

/// What the store holds, beside what it should hold.
#[derive(Debug, PartialEq, Eq)]
enum Stored {
    Same,
    /// Something else, of so many bytes.
    Other(u64),
    Nothing,
}

pub(super) async fn put_verified(objects: &Objects, key: &str, content: Bytes) -> Result<Put> {
    // Looking first protects what is there on stores that ignore create-only.
    let put = match objects.head(key).await? {
        Some(_) => Put::AlreadyExists,
        None => objects.put_if_absent(key, content.clone()).await?,
    };
    match (put, compare(objects, key, &content).await?) {
        (put, Stored::Same) => Ok(put),
        (Put::AlreadyExists, Stored::Other(size)) => Err(Error::new(
            ErrorKind::Precondition,
            format!(
                "object \"{key}\" exists with other content ({size} bytes, not these {})",
                content.len()
            ),
        )),
        (Put::AlreadyExists, Stored::Nothing) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("object \"{key}\" was deleted while it was verified"),
        )),
        (Put::Created, Stored::Other(size)) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("the store wrote object \"{key}\" and returns other content ({size} bytes)"),
        )),
        (Put::Created, Stored::Nothing) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("the store acknowledged object \"{key}\" and does not have it"),
        )),
    }
}

/// Compares chunk by chunk, so that no second copy of the content is held.
async fn compare(objects: &Objects, key: &str, content: &Bytes) -> Result<Stored> {
    let path = objects.path(key)?;
    let read = objects
        .run("get", key, async {
            let result = objects.store().get(&path).await?;
            let size = result.meta.size;
            if size != content.len() as u64 {
                return Ok(Stored::Other(size));
            }
            let mut chunks = result.into_stream();
            let mut rest = &content[..];
            while let Some(chunk) = chunks.try_next().await? {
                match rest.strip_prefix(&chunk[..]) {
                    Some(after) => rest = after,
                    None => return Ok(Stored::Other(size)),
                }
            }
            Ok(if rest.is_empty() { Stored::Same } else { Stored::Other(size) })
        })
        .await;
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Stored::Nothing),
        other => other,
    }
}
