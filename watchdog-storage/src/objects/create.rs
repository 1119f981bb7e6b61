//! Create-only writes, and who really wrote.

use std::fmt::Write as _;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use watchdog_core::fill_random;

use super::{Objects, Put};
use crate::error::{Error, ErrorKind, Result};

/// Under which metadata name a call marks what it creates.
const MARK: &str = "watchdog-put";

/// Where probes write.
pub(super) const PROBE_PREFIX: &str = ".watchdog-probe/";

/// How often a conflict with nothing is tried again.
const MAX_TRIES: usize = 3;

pub(super) async fn put_if_absent(
    objects: &Objects,
    key: &str,
    path: &Path,
    content: Bytes,
) -> Result<Put> {
    let mark = random_name()?;
    for _ in 0..MAX_TRIES {
        let Err(error) = create(objects, key, path, content.clone(), &mark).await else {
            return Ok(Put::Created);
        };
        let is_conflict = error.kind() == ErrorKind::AlreadyExists;
        let may_be_written = objects.backend.has_marks()
            && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::CommandTimeout);
        if !(is_conflict || may_be_written) {
            return Err(error);
        }
        match objects.mark(key, path).await {
            // Ours: the reply to an earlier try was lost.
            Ok(Some(found)) if found == mark => return Ok(Put::Created),
            Ok(Some(_)) => return Ok(Put::AlreadyExists),
            // A conflict with nothing: apache/arrow-rs-object-store#852, or deleted since.
            Ok(None) if is_conflict => {}
            Ok(None) => return Err(error),
            Err(unreadable) if is_conflict => return Err(unreadable),
            Err(_) => return Err(error),
        }
    }
    Err(objects.backend.conflict_with_nothing(key))
}

async fn create(
    objects: &Objects,
    key: &str,
    path: &Path,
    content: Bytes,
    mark: &str,
) -> Result<()> {
    let mut attributes = Attributes::new();
    if objects.backend.has_marks() {
        attributes.insert(Attribute::Metadata(MARK.into()), AttributeValue::from(mark.to_owned()));
    }
    let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
    let put = objects.store().put_opts(path, PutPayload::from_bytes(content), options);
    objects.run("create", key, put).await.map(drop)
}

/// The mark of an object, empty when it has none.
pub(super) fn mark_of(attributes: &Attributes) -> String {
    attributes
        .get(&Attribute::Metadata(MARK.into()))
        .map_or_else(String::new, |value| value.as_ref().to_owned())
}

pub(super) async fn probe_create_only(objects: &Objects) -> Result<bool> {
    let key = format!("{PROBE_PREFIX}{}", random_name()?);
    let path = objects.path(&key)?;
    let first = create(objects, &key, &path, Bytes::from_static(b"1"), "1").await;
    let second = match &first {
        Ok(()) => create(objects, &key, &path, Bytes::from_static(b"2"), "2").await,
        Err(_) => Ok(()),
    };
    let deleted = objects.run("delete", &key, objects.store().delete(&path)).await;
    first?;
    let honoured = match second {
        Ok(()) => false,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => true,
        Err(error) => return Err(error),
    };
    deleted?;
    Ok(honoured)
}

fn random_name() -> Result<String> {
    let mut bytes = [0; 16];
    fill_random(&mut bytes).map_err(|source| {
        Error::new(ErrorKind::Unexpected, "no random bytes to mark an object").with_source(source)
    })?;
    Ok(bytes.iter().fold(String::with_capacity(32), |mut name, byte| {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    }))
}
