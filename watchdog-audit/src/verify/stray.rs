//! Objects below the archive's prefix that no manifest names.

use std::collections::HashSet;

use crate::archive::{Archive, segment_in};
use crate::chain::{Chain, Fault, FaultKind};
use crate::error::Result;
use crate::manifest::ArchivedObject;
use crate::verify::Waiting;

/// Counts what runs that broke off have left behind; names the first object that is something else.
pub(super) async fn strays(
    archive: &Archive,
    chain: &Chain,
    waiting: &Waiting,
    keys: &[String],
) -> Result<Result<u64, Fault>> {
    let named: HashSet<&str> = objects(chain).map(|object| object.key.as_str()).collect();
    let mut left_behind = 0;
    for key in keys.iter().filter(|key| !named.contains(key.as_str())) {
        if let Some(detail) = suspicion(archive, chain, waiting, key).await? {
            return Ok(Err(Fault::new(FaultKind::UnknownObject, key, detail)));
        }
        left_behind += 1;
    }
    Ok(Ok(left_behind))
}

fn objects(chain: &Chain) -> impl Iterator<Item = &ArchivedObject> {
    chain.manifests().iter().flat_map(|manifest| &manifest.objects)
}

/// Why an object cannot come from a run that broke off, `None` when it can.
async fn suspicion(
    archive: &Archive,
    chain: &Chain,
    waiting: &Waiting,
    key: &str,
) -> Result<Option<&'static str>> {
    let Some((segment, stem)) = segment_in(key) else {
        return Ok(Some("no manifest names it, and its name is not one the log gives"));
    };
    if waiting.segments.contains(&segment) {
        return Ok(None);
    }
    if chain.covering(segment).is_none() {
        return Ok(Some("no manifest names it, and its segment is not there to be archived"));
    }
    let mut is_comparable = true;
    for object in objects(chain).filter(|object| object.key.starts_with(stem)) {
        match (archive.lines(object).await?, archive.unpacked(key, object.raw_bytes).await?) {
            // Another compression of the same lines.
            (Ok(wanted), Some(found)) if wanted == found => return Ok(None),
            (Ok(_), _) => {}
            // Expired; what was left behind beside it follows.
            (Err(_), _) => is_comparable = false,
        }
    }
    Ok(is_comparable.then_some("no manifest names it, and it is not a copy of what was archived"))
}
