//! The walk over the chain: manifest by manifest, some of them read ahead.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::archive::{Archive, manifest_key};
use crate::chain::{Fault, FaultKind};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{ArchivedObject, Manifest, TreeHead};
use crate::progress::{OnProgress, Progress};
use crate::retention::Keeping;
use crate::verify::checkpoint::Checkpoints;
use crate::verify::object::{Checked, Numbers, checked, complete, named};
use crate::verify::stray::Keys;
use crate::verify::tree::{Leaves, TreeCheck};
use crate::verify::{AT_ONCE, Verification, VerifyOptions, Walked, unreadable};

/// The manifests there are, by their names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// From 1 to this number none is missing.
    whole: u64,
    /// What comes after them and does not fit.
    fault: Option<Fault>,
}

/// Lists the manifests.
pub(super) async fn names(archive: &Archive) -> Result<Names> {
    let mut names = Names::default();
    let take = |key: String| {
        let due = manifest_key(names.whole + 1);
        if key == due {
            names.whole += 1;
            return ControlFlow::Continue(());
        }
        names.fault = Some(if key > due {
            missing(&due)
        } else {
            Fault::new(FaultKind::AlteredManifest, &key, "no manifest has this name")
        });
        ControlFlow::Break(())
    };
    archive.each_manifest_key(take).await?;
    Ok(names)
}

fn missing(key: &str) -> Fault {
    Fault::new(FaultKind::MissingManifest, key, "it is not in the bucket, and a later one is")
}

/// One verification on its way.
pub(super) struct Walk<'a> {
    pub(super) archive: &'a Archive,
    pub(super) keeping: Keeping,
    pub(super) options: &'a VerifyOptions,
    pub(super) checkpoints: Checkpoints,
    pub(super) tree: TreeCheck<'a>,
    pub(super) keys: &'a mut Keys,
    pub(super) walked: Walked,
    pub(super) report: Verification,
}

/// A manifest that fits the chain, and the tree before it.
struct Sound {
    manifest: Manifest,
    before: TreeHead,
    is_wanted: bool,
}

/// What became of an object.
enum Found {
    Checked(Checked),
    Unread(Unread),
}

/// Why an object was not read.
#[derive(Clone, Copy)]
enum Unread {
    /// It was not asked for.
    Skipped,
    /// It is gone after its retention.
    Expired,
    /// It lies in Glacier.
    Frozen,
}

impl Walk<'_> {
    /// Checks every manifest that was listed, and names the first thing that does not fit.
    pub(super) async fn all(
        &mut self,
        names: Names,
        progress: &OnProgress<'_>,
    ) -> Result<Option<Fault>> {
        let mut next = 1;
        while next <= names.whole {
            let last = names.whole.min(next + AT_ONCE as u64 - 1);
            let objects = self.read(next..=last).await?;
            // What comes before the first that does not fit is still looked into.
            let mut sound = Vec::with_capacity(objects.len());
            let mut fault = None;
            for (key, object) in objects {
                match self.link(&key, object) {
                    Ok(manifest) => sound.push(manifest),
                    Err(found) => {
                        fault = Some(found);
                        break;
                    }
                }
            }
            if let Some(found) = self.objects(&sound).await? {
                return Ok(Some(found));
            }
            if fault.is_some() {
                return Ok(fault);
            }
            progress(Progress::new(last, names.whole));
            next = last + 1;
        }
        Ok(names.fault)
    }

    async fn read(
        &self,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<Vec<(String, Option<Bytes>)>> {
        let reads = numbers.map(|number| async move {
            let key = manifest_key(number);
            let object = self.archive.manifest(&key).await?;
            Ok((key, object))
        });
        stream::iter(reads).buffered(AT_ONCE).try_collect().await
    }

    /// Takes the next manifest into the chain.
    fn link(&mut self, key: &str, object: Option<Bytes>) -> Result<Sound, Fault> {
        let object = object.ok_or_else(|| missing(key))?;
        let before = self.walked.links.tree();
        let manifest = self.walked.links.extend(key, &object, self.archive.signer())?;
        named(key, &manifest)?;
        if let Some(older) = self.walked.covered.by(manifest.segment) {
            self.keys.note_older(manifest.segment, older);
        }
        self.walked.covered.note(&manifest);
        if let (Some(seen), Some(head)) =
            (self.walked.heads.get_mut(&manifest.number), self.walked.links.head())
        {
            *seen = head.clone();
        }
        self.checkpoints.note(&manifest, &before);
        self.keys.name(&manifest);
        unreadable::note(&manifest, &mut self.walked, &mut self.report);
        self.report.manifests += 1;
        let is_wanted = manifest.objects.iter().any(|object| self.options.covers(object));
        // As far as there are no tiles yet the tree can only be made from the objects.
        let is_wanted = is_wanted || !self.tree.reaches(&manifest);
        Ok(Sound { manifest, before, is_wanted })
    }

    /// Checks the objects of some manifests, and the tree after each.
    async fn objects(&mut self, sound: &[Sound]) -> Result<Option<Fault>> {
        let (archive, keeping) = (self.archive, self.keeping);
        let mut reads = Vec::new();
        for sound in sound {
            let reaches = self.tree.reaches(&sound.manifest);
            for object in &sound.manifest.objects {
                let is_read = sound.is_wanted && (self.options.covers(object) || !reaches);
                reads.push(look(archive, keeping, object, is_read));
            }
        }
        let mut found = stream::iter(reads).buffered(AT_ONCE);
        for sound in sound {
            let (mut leaves, mut numbers) = (Vec::new(), Numbers::new());
            let mut is_whole = true;
            for object in &sound.manifest.objects {
                match found.next().await.transpose()? {
                    Some(Ok(Found::Checked(checked))) => {
                        self.report.objects += 1;
                        self.report.entries += object.entries;
                        for (writer, mut held) in checked.numbers {
                            numbers.entry(writer).or_default().append(&mut held);
                        }
                        self.walked.holds.extend(checked.holds);
                        leaves.push(Leaves::Known(checked.leaves));
                    }
                    Some(Ok(Found::Unread(why))) => {
                        is_whole = false;
                        leaves.push(Leaves::Kept(object.entries, object.category));
                        match why {
                            Unread::Skipped => self.report.skipped += 1,
                            Unread::Expired => self.report.expired += 1,
                            Unread::Frozen => self.report.frozen += 1,
                        }
                    }
                    Some(Err(fault)) => return Ok(Some(fault)),
                    None => return Ok(None),
                }
            }
            let key = manifest_key(sound.manifest.number);
            if let Err(fault) = complete(&key, &sound.manifest, numbers, is_whole) {
                return Ok(Some(fault));
            }
            if let Some(fault) = unreadable::fault(self.archive, &sound.manifest).await? {
                return Ok(Some(fault));
            }
            if !sound.is_wanted {
                self.tree.skip();
                continue;
            }
            let added = self.tree.add(&sound.manifest, &sound.before, leaves).await?;
            if let Err(fault) = added {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }
}

/// Reads and checks one object, off the threads that wait for others.
async fn look(
    archive: &Archive,
    keeping: Keeping,
    object: &ArchivedObject,
    is_read: bool,
) -> Result<Result<Found, Fault>> {
    if !is_read {
        return Ok(Ok(Found::Unread(Unread::Skipped)));
    }
    let read = match archive.content(object).await {
        Err(error) if error.kind() == ErrorKind::Frozen && keeping.may_be_frozen(object) => {
            return Ok(Ok(Found::Unread(Unread::Frozen)));
        }
        read => read?,
    };
    let content = match read {
        Ok(content) => content,
        Err(fault) if fault.kind == FaultKind::MissingObject && keeping.may_be_gone(object) => {
            return Ok(Ok(Found::Unread(Unread::Expired)));
        }
        Err(fault) => return Ok(Err(fault)),
    };
    let object = object.clone();
    let checked = tokio::task::spawn_blocking(move || checked(&object, &content)).await;
    let checked = checked.map_err(|error| {
        Error::new(ErrorKind::Closed, "the check of an object was cut off").with_source(error)
    })?;
    Ok(checked.map(Found::Checked))
}
