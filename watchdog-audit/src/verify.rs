//! Verification: walks the chain, every object, the tree and what waits in the store.

mod checkpoint;
mod holds;
mod object;
mod options;
mod stray;
mod tree;
mod unreadable;
mod waiting;
mod walk;

use std::collections::{BTreeSet, HashMap};

use watchdog_core::Timestamp;

use crate::archive::Archive;
use crate::chain::{Covered, Fault, Links};
use crate::error::Result;
use crate::hold::in_force;
use crate::log::AuditLog;
use crate::progress::OnProgress;
use crate::retention::Keeping;
use crate::segment::ManifestRef;
use crate::signing::PublicKey;
use crate::store::SegmentStore;
use crate::telemetry;
use crate::tlog::Checkpoint;
use crate::verify::checkpoint::Checkpoints;
use crate::verify::stray::Keys;
use crate::verify::tree::TreeCheck;

pub(crate) use object::difference;
pub use options::VerifyOptions;

/// Objects and manifests that are read at once.
const AT_ONCE: usize = 8;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Manifests that were checked.
    pub manifests: u64,
    /// Objects that were read and checked.
    pub objects: u64,
    /// Objects that were not read: they hold nothing of the time that was asked for.
    pub skipped: u64,
    /// Objects that are gone from the bucket after the retention of their category.
    pub expired: u64,
    /// Objects that lie in Glacier and were not read; what is in the tree for them was. Restore them
    /// to have them checked.
    pub frozen: u64,
    /// Objects that a run which broke off has left behind: no manifest names them.
    pub unreferenced: u64,
    /// Archived entries that were checked.
    pub entries: u64,
    /// Entries in the store that wait for their archive, checked as well.
    pub waiting: u64,
    /// Tiles and entry bundles of the tree that were made again and compared.
    pub tiles: u64,
    /// The checkpoint in the bucket, when everything that could be read fits: keep it elsewhere, and give it to
    /// [`AuditLog::verify_since`] the next time.
    pub checkpoint: Option<Checkpoint>,
    /// The key that signs what follows, when everything fits: compare it with the one you know, or
    /// ask for that one ([`VerifyOptions::with_key`]).
    pub key: Option<PublicKey>,
    /// Segments that could not be read whole when they were archived.
    pub unreadable: u64,
    /// The first thing that does not fit: the first segment that could not be read, where there is
    /// one.
    pub fault: Option<Fault>,
    /// The first thing that does not fit beside the segments that could not be read: they stay in
    /// the archive, and must not hide what comes after.
    pub also: Option<Fault>,
}

impl Verification {
    /// Whether everything fits.
    pub fn is_sound(&self) -> bool {
        self.fault.is_none()
    }
}

/// What a walk over the chain leaves behind: not the manifests.
#[derive(Debug, Default)]
struct Walked {
    links: Links,
    covered: Covered,
    /// The manifests that the store has seen, by number.
    heads: HashMap<u64, ManifestRef>,
    /// The legal holds that entries tell of.
    holds: BTreeSet<String>,
    /// The first segment that could not be read whole.
    unreadable: Option<Fault>,
}

impl AuditLog {
    /// As [`verify`](Self::verify), telling how many manifests of how many are checked.
    ///
    /// # Errors
    ///
    /// As of [`verify`](Self::verify).
    pub async fn verify_observed(&self, progress: &OnProgress<'_>) -> Result<Verification> {
        self.verify_with(&VerifyOptions::new(), progress).await
    }

    /// As [`verify`](Self::verify), reading only objects with entries that were recorded from
    /// `from` on and before `to`; see [`VerifyOptions::with_range`].
    ///
    /// # Errors
    ///
    /// As of [`verify`](Self::verify).
    pub async fn verify_range(&self, from: Timestamp, to: Timestamp) -> Result<Verification> {
        self.verify_with(&VerifyOptions::new().with_range(from, to), &|_| {}).await
    }

    /// As [`verify`](Self::verify), and checks that the log still holds everything it held at a
    /// checkpoint that was kept elsewhere: with it a log is also known to be cut off, emptied or set
    /// back as a whole, chain and store together.
    ///
    /// # Errors
    ///
    /// As of [`verify`](Self::verify); [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) when no key
    /// of this log has signed the checkpoint.
    pub async fn verify_since(&self, checkpoint: &Checkpoint) -> Result<Verification> {
        self.verify_with(&VerifyOptions::new().with_since(checkpoint.clone()), &|_| {}).await
    }

    /// As [`verify`](Self::verify), as the options say, telling how many manifests of how many are
    /// checked.
    ///
    /// # Errors
    ///
    /// As of [`verify`](Self::verify) and [`verify_since`](Self::verify_since).
    pub async fn verify_with(
        &self,
        options: &VerifyOptions,
        progress: &OnProgress<'_>,
    ) -> Result<Verification> {
        let (inner, archive) = (self.inner(), self.archiver()?.archive());
        let holds = in_force(archive, inner.keys()).await?;
        let keeping = inner.keeping(&holds);
        verify(archive, inner.store(), keeping, options, progress).await
    }
}

/// Checks what the options say and names the first thing that does not fit.
async fn verify(
    archive: &Archive,
    store: &dyn SegmentStore,
    keeping: Keeping,
    options: &VerifyOptions,
    progress: &OnProgress<'_>,
) -> Result<Verification> {
    // The checkpoint follows its manifest, objects come before manifests and leave the store after
    // them: read in this order, what is archived while this runs is found further on.
    let mut checkpoints = Checkpoints::read_first(archive, options.since()).await?;
    let mut keys = Keys::listed(archive).await?;
    let waiting = waiting::waiting(store).await?;
    let names = walk::names(archive).await?;
    checkpoints.read_second(archive).await?;
    let mut walk = walk::Walk {
        archive,
        keeping,
        options,
        tree: TreeCheck::new(archive, checkpoints.limit()),
        checkpoints,
        keys: &mut keys,
        walked: Walked::default(),
        report: Verification::default(),
    };
    walk.walked.heads.extend(waiting.heads.iter().map(|(_, head)| {
        let unseen = ManifestRef { number: head.number, sha256: String::new() };
        (head.number, unseen)
    }));
    let mut fault = walk.all(names, progress).await?;
    let walk::Walk { mut tree, checkpoints, walked, mut report, .. } = walk;
    if fault.is_none() {
        fault = waiting::heads(&walked, &waiting)
            .or_else(|| waiting.fault.clone())
            .or_else(|| waiting::vanished(&walked, &waiting))
            .or_else(|| waiting::continues(&walked, &waiting, &mut report));
    }
    if fault.is_none() {
        fault = checkpoints.since_fault(archive, &walked.links)?;
    }
    if fault.is_none() {
        fault = checkpoints.fault(archive, &walked.links).or_else(|| tree.fault.take());
    }
    if let (None, Some(key)) = (&fault, options.key()) {
        fault = checkpoints.key_fault(key, &walked.links);
    }
    if let (None, Some(known)) = (&fault, checkpoints.known_tree()) {
        fault = tree.begin(checkpoints.since_tree(), &known).await?;
    }
    report.tiles = tree.compared;
    if fault.is_none() {
        fault = holds::fault(archive, &walked.holds).await?;
    }
    if fault.is_none() {
        match keys.strays(archive, &walked, &waiting).await? {
            Ok(left_behind) => report.unreferenced = left_behind,
            Err(stray) => fault = Some(stray),
        }
    }
    report.checkpoint = checkpoints.current().filter(|_| fault.is_none()).cloned();
    report.key = walked.links.active_key().filter(|_| fault.is_none());
    (report.fault, report.also) = match walked.unreadable {
        Some(unreadable) => (Some(unreadable), fault),
        None => (fault, None),
    };
    telemetry::verified(report.is_sound());
    if let Some(fault) = &report.fault {
        tracing::error!(%fault, also = report.also.as_ref().map(tracing::field::display), "the audit log does not verify");
    }
    Ok(report)
}
