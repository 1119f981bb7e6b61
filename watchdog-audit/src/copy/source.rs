//! What is copied: the verified objects of the archive, in the order of the manifests.

use watchdog_core::audit::Category;

use crate::archive::Archive;
use crate::chain::{Chain, FaultKind};
use crate::copy::month::Month;
use crate::copy::telemetry;
use crate::error::{Error, Result};
use crate::retention::Keeping;
use crate::segment::ManifestRef;

/// A batch ends with the manifest that brings it to so many entries,
const BATCH_ENTRIES: u64 = 10_000;
/// or to so many bytes of lines.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;

impl Keeping {
    /// Whether a month of a category has no place in the copy any more.
    pub(crate) fn has_outlived(&self, category: Category, month: Month) -> bool {
        !self.is_held(category) && month.has_outlived(self.retention.of(category), self.now)
    }
}

/// The lines of some manifests, in memory: of one, or of several small ones.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Lines with their newlines, object by object.
    pub(crate) objects: Vec<Vec<u8>>,
    /// The last manifest of the batch.
    pub(crate) upto: ManifestRef,
    pub(crate) left_out: u64,
}

/// Reads the manifests after `after` up to `last` until the batch is large enough.
pub(crate) async fn gather(
    archive: &Archive,
    chain: &Chain,
    (after, last): (u64, u64),
    keeping: &Keeping,
) -> Result<Batch> {
    let gone = || Error::corrupt("the chain of manifests is shorter than it was");
    let mut batch =
        Batch { objects: Vec::new(), upto: chain.reference(last).ok_or_else(gone)?, left_out: 0 };
    let (mut entries, mut bytes) = (0, 0);
    for number in after + 1..=last {
        let manifest = chain.manifest(number).ok_or_else(gone)?;
        for object in &manifest.objects {
            if keeping.has_outlived(object.category, Month::of(object.recorded.to)) {
                continue;
            }
            match archive.lines(object).await? {
                Ok(lines) => {
                    entries += object.entries;
                    bytes += lines.len() as u64;
                    batch.objects.push(lines);
                }
                Err(fault)
                    if fault.kind == FaultKind::MissingObject && keeping.may_be_gone(object) => {}
                // Verification is there to alarm. One bad object must not hold up all after it.
                Err(fault) => {
                    telemetry::left_out(&fault);
                    batch.left_out += 1;
                }
            }
        }
        if entries >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
            batch.upto = chain.reference(number).ok_or_else(gone)?;
            break;
        }
    }
    Ok(batch)
}
