//! Segments that could not be read whole: each is a fault, and what was set aside must be there.

use super::{Verification, Walked};
use crate::archive::Archive;
use crate::error::Result;
use crate::fault::{Fault, FaultKind};
use crate::hex;
use crate::manifest::Manifest;
use crate::merkle::sha256;

/// Notes what a manifest says could not be read.
pub(super) fn note(manifest: &Manifest, walked: &mut Walked, report: &mut Verification) {
    let Some(unreadable) = &manifest.unreadable else { return };
    report.unreadable += 1;
    let frames: u64 = unreadable.objects.iter().map(|object| object.frames).sum();
    let detail = format!(
        "{frames} frames could not be read and {} were gone when it was archived by manifest {}: \
         {} entries are not in the archive",
        unreadable.missing, manifest.number, unreadable.entries
    );
    let place = manifest.segment.to_string();
    walked
        .unreadable
        .get_or_insert_with(|| Fault::new(FaultKind::UnreadableSegment, place, detail));
}

/// Checks that the frames that were set aside are those that were archived.
pub(super) async fn fault(archive: &Archive, manifest: &Manifest) -> Result<Option<Fault>> {
    for object in manifest.unreadable.iter().flat_map(|unreadable| &unreadable.objects) {
        let fault = |kind, detail: &str| Ok(Some(Fault::new(kind, &object.key, detail)));
        match archive.read(&object.key).await? {
            None => return fault(FaultKind::MissingObject, "it is not in the bucket"),
            Some(content) if hex::encode(&sha256(&[&content])) != object.sha256 => {
                return fault(FaultKind::AlteredObject, "its hash is another");
            }
            Some(_) => {}
        }
    }
    Ok(None)
}
