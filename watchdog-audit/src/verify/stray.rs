//! Objects below the archive's prefix that no manifest names.

use std::collections::{HashMap, HashSet};

use crate::archive::{Archive, MAX_RAW_BYTES, manifest_key, segment_in};
use crate::entry::Line;
use crate::error::Result;
use crate::fault::{Fault, FaultKind};
use crate::manifest::Manifest;
use crate::merkle::sha256;
use crate::pack::split;
use crate::segment::SegmentId;
use crate::signed;
use crate::verify::Walked;
use crate::verify::waiting::Waiting;

/// The keys of the objects in the bucket, less those that a manifest was seen to name.
#[derive(Debug, Default)]
pub(super) struct Keys {
    unnamed: HashSet<String>,
    /// Of segments that were archived again after the store was rolled back, the manifests before
    /// the newest.
    older: HashMap<SegmentId, Vec<u64>>,
}

impl Keys {
    /// Lists the bucket.
    pub(super) async fn listed(archive: &Archive) -> Result<Self> {
        let mut keys = Self::default();
        archive
            .each_object_key(|key| {
                keys.unnamed.insert(key);
            })
            .await?;
        Ok(keys)
    }

    /// Takes out what a manifest names.
    pub(super) fn name(&mut self, manifest: &Manifest) {
        for object in &manifest.objects {
            self.unnamed.remove(&object.key);
        }
    }

    /// Notes a manifest that is not the newest of its segment.
    pub(super) fn note_older(&mut self, segment: SegmentId, number: u64) {
        self.older.entry(segment).or_default().push(number);
    }

    /// Counts what runs that broke off have left behind; names the first object that is something
    /// else.
    pub(super) async fn strays(
        &self,
        archive: &Archive,
        walked: &Walked,
        waiting: &Waiting,
    ) -> Result<Result<u64, Fault>> {
        let mut unnamed: Vec<_> = self.unnamed.iter().collect();
        unnamed.sort_unstable();
        for key in &unnamed {
            if let Some(detail) = self.suspicion(archive, walked, waiting, key).await? {
                return Ok(Err(Fault::new(FaultKind::UnknownObject, *key, detail)));
            }
        }
        Ok(Ok(unnamed.len() as u64))
    }

    /// Why an object cannot come from a run that broke off, `None` when it can.
    async fn suspicion(
        &self,
        archive: &Archive,
        walked: &Walked,
        waiting: &Waiting,
        key: &str,
    ) -> Result<Option<&'static str>> {
        let Some((segment, stem)) = segment_in(key) else {
            return Ok(Some("no manifest names it, and its name is not one the log gives"));
        };
        if waiting.segments.contains(&segment) {
            return Ok(None);
        }
        let Some(newest) = walked.covered.by(segment) else {
            return Ok(Some("no manifest names it, and its segment is not there to be archived"));
        };
        let mut is_comparable = true;
        let older = self.older.get(&segment).into_iter().flatten();
        for number in older.copied().chain([newest]) {
            let Some(manifest) = archive.manifest(&manifest_key(number)).await? else { continue };
            let manifest = signed::decode::<Manifest>(&manifest, |id| walked.links.key(id));
            let objects = manifest.map(|manifest| manifest.objects).unwrap_or_default();
            for object in objects.iter().filter(|object| object.key.starts_with(stem)) {
                let found = archive.unpacked(key, object.raw_bytes).await?;
                match (archive.lines(object).await?, found) {
                    // Another compression of the same lines.
                    (Ok(wanted), Some(found)) if wanted == found => return Ok(None),
                    (Ok(_), _) => {}
                    // Expired; what was left behind beside it follows.
                    (Err(_), _) => is_comparable = false,
                }
            }
        }
        if !is_comparable || is_repeated(archive, walked, key).await? {
            return Ok(None);
        }
        Ok(Some("no manifest names it, and it is not a copy of what was archived"))
    }
}

/// Whether every line of an object stands in named objects of its category and day. A store that was
/// emptied numbers its segments anew: what a run has left behind of an old one is then archived as
/// part of others.
async fn is_repeated(archive: &Archive, walked: &Walked, key: &str) -> Result<bool> {
    let day = key.rsplit_once("/p=").map_or(key, |(day, _)| day);
    let Some(found) = archive.unpacked(key, MAX_RAW_BYTES).await? else { return Ok(false) };
    let (mut missing, mut writers) = (HashSet::new(), HashSet::new());
    for bytes in split(&found) {
        let Ok(line) = Line::decode(bytes) else { return Ok(false) };
        missing.insert(sha256(&[bytes]));
        writers.insert(line.writer);
    }
    if missing.is_empty() {
        return Ok(false);
    }
    for number in 1..walked.links.next() {
        let Some(manifest) = archive.manifest(&manifest_key(number)).await? else { continue };
        let Ok(manifest) = signed::decode::<Manifest>(&manifest, |id| walked.links.key(id)) else {
            continue;
        };
        if !manifest.writers.keys().any(|writer| writers.contains(writer)) {
            continue;
        }
        for object in manifest.objects.iter().filter(|object| object.key.starts_with(day)) {
            let Ok(lines) = archive.lines(object).await? else { continue };
            for bytes in split(&lines) {
                missing.remove(&sha256(&[bytes]));
            }
            if missing.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
