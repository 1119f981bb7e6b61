//! Legal holds: none that the log tells of may be missing, and each must be signed.

use std::collections::BTreeSet;

use crate::archive::Archive;
use crate::chain::{Fault, FaultKind};
use crate::error::Result;
use crate::hold;

/// Names the first hold that is gone or altered. `placed` are those the entries tell of; holds that
/// only the bucket has were placed a moment ago.
pub(super) async fn fault(archive: &Archive, placed: &BTreeSet<String>) -> Result<Option<Fault>> {
    let found = hold::placed(archive).await?;
    for id in placed {
        if !found.contains(id) {
            let detail = "the log tells that it was placed, the bucket has it no more";
            return Ok(Some(Fault::new(FaultKind::MissingHold, hold::hold_key(id), detail)));
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let trust = hold::Trust::of(archive).await?;
    for id in found {
        if !hold::is_genuine(archive, &trust, &id).await? {
            let detail = "no key of the log has signed it";
            return Ok(Some(Fault::new(FaultKind::AlteredHold, hold::hold_key(&id), detail)));
        }
    }
    Ok(None)
}
