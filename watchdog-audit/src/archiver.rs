//! The archiver: seal, read, write, verify, commit, let expire.
//!
//! Any replica may run it at any time. The lease saves work; what makes it right is that a
//! manifest is created once, that its number and content decide what is archived, and that the
//! gate of the store refuses a token older than the newest. Killed at any point, the next run
//! finds the same segments and writes the same objects, or finds them done.

mod contents;
mod epoch;
mod forgotten;
mod holds;
mod seen;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use watchdog_core::Clock;

use crate::archive::{Archive, manifest_key};
use crate::chain::Chain;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{MANIFEST_FORMAT, Manifest, Unreadable};
use crate::millis::millis_of;
use crate::pack::PackedSegment;
use crate::personal::SubjectKeys;
use crate::rotation::signing;
use crate::segment::{
    ArchiveProof, Gate, ManifestRef, Partition, SegmentId, SegmentLimits, Totals,
};
use crate::signed;
use crate::store::SegmentStore;
use crate::telemetry;
use crate::tlog::Tiling;
use crate::writer_id::WriterId;
use contents::{Contents, blocking};
use holds::{Examined, Watch};

/// How long the right to archive lasts without being renewed.
const LEASE: Duration = Duration::from_secs(30);
/// How long an explicit run waits for another archiver.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(10);
const FRAMES_AT_ONCE: usize = 64;
/// How often a segment is brought to the gate while legal holds change.
const MAX_GATE_TRIES: usize = 5;

/// A step of the archiver, told before it is taken and after.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A new epoch is begun.
    Epoch,
    /// A segment is sealed.
    Seal(SegmentId),
    /// A sealed segment, which was read, is sorted, compressed and hashed.
    Pack(SegmentId),
    /// An object is written and read back.
    Object(String),
    /// A manifest is committed.
    Manifest(u64),
    /// The tiles of the tree after this manifest are written.
    Tiles(u64),
    /// The checkpoint after this manifest is written.
    Checkpoint(u64),
    /// A segment passes the gate.
    Gate(SegmentId),
}

/// Whether a step is about to be taken or has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is about to be taken.
    Before,
    /// It has been taken.
    After,
}

/// Hears of every step; with `Break` the run ends there and the next one resumes.
pub type Observer<'a> = dyn Fn(&Step, Moment) -> ControlFlow<()> + Send + Sync + 'a;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Segments that passed the gate.
    pub segments: u64,
    /// Entries that were added to the archive.
    pub entries: u64,
    /// Objects that were written.
    pub objects: u64,
    /// Segments of which something could not be read: it was archived as it is.
    pub unreadable: u64,
}

/// Moves sealed segments into the archive.
#[derive(Debug)]
pub struct Archiver {
    store: Arc<dyn SegmentStore>,
    archive: Archive,
    keys: Option<Arc<dyn SubjectKeys>>,
    clock: Arc<dyn Clock>,
    limits: SegmentLimits,
    ttl: Duration,
    holder: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The epoch this archiver has begun, its fencing token.
    epoch: Option<u64>,
    is_probed: bool,
    examined: Examined,
    open: Open,
    /// The last manifest whose writers the store was told to forget.
    forgotten: u64,
}

/// By partition: the open segment with something in it, and since when this archiver has seen it.
type Open = HashMap<u16, (u64, Instant)>;

/// One run, with what it needs at every step.
struct Run<'a> {
    archiver: &'a Archiver,
    observer: &'a Observer<'a>,
    token: u64,
    watch: Watch,
    open: &'a mut Open,
    archived: Archived,
}

impl Archiver {
    pub(crate) fn new(
        store: Arc<dyn SegmentStore>,
        archive: Archive,
        keys: Option<Arc<dyn SubjectKeys>>,
        clock: Arc<dyn Clock>,
        limits: SegmentLimits,
        ttl: Duration,
    ) -> Result<Self> {
        let holder = WriterId::random()?.to_string();
        Ok(Self { store, archive, keys, clock, limits, ttl, holder, state: Mutex::default() })
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Seals the segments that are due and archives every sealed one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] when another process archives, else as of store and bucket. Running
    /// again resumes.
    pub async fn run_once(&self) -> Result<Archived> {
        self.run(false, &|_, _| ControlFlow::Continue(())).await
    }

    /// Seals every segment that holds something and archives every sealed one; waits up to ten
    /// seconds for another process that archives.
    ///
    /// # Errors
    ///
    /// As of [`run_once`](Self::run_once).
    pub async fn run_now(&self) -> Result<Archived> {
        self.run_observed(&|_, _| ControlFlow::Continue(())).await
    }

    /// As [`run_now`](Self::run_now), telling `observer` every step.
    ///
    /// # Errors
    ///
    /// As of [`run_once`](Self::run_once); [`ErrorKind::Closed`] when the observer ended the run.
    pub async fn run_observed(&self, observer: &Observer<'_>) -> Result<Archived> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            match self.run(true, observer).await {
                Err(error) if is_other(&error) && begun.elapsed() < WAIT_FOR_OTHERS => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                outcome => return outcome,
            }
        }
    }

    async fn run(&self, seals_all: bool, observer: &Observer<'_>) -> Result<Archived> {
        // One run at a time in this process; the lease keeps other processes out.
        let mut state = self.state.lock().await;
        if !self.store.lease(&self.holder, LEASE).await? {
            return Err(Error::new(ErrorKind::Busy, "another process archives"));
        }
        let outcome = self.run_leased(&mut state, seals_all, observer).await;
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy) {
            // Somebody newer exists: the next run begins an epoch of its own.
            state.epoch = None;
        }
        if let Err(error) = self.store.release(&self.holder).await {
            tracing::debug!(%error, "the lease of the archiver was not given back");
        }
        outcome
    }

    async fn run_leased(
        &self,
        state: &mut State,
        seals_all: bool,
        observer: &Observer<'_>,
    ) -> Result<Archived> {
        self.probe(state).await?;
        let seen = self.seen().await?;
        let chain = self.archive.refreshed().await?;
        seen.check(&chain, self.archive.signer())?;
        let token = self.token(state, &chain, observer).await?;
        let watch = self.watch().await?;
        // What a run that broke off has left to be written.
        self.archive.edge_at(&chain).await?;
        self.archive.mend_checkpoint(&chain).await?;
        let archived = Archived::default();
        let mut run =
            Run { archiver: self, observer, token, watch, open: &mut state.open, archived };
        let mut failed = None;
        for partition in 0..self.store.partitions() {
            // One partition that cannot be archived does not hold up the others.
            if let Err(error) = run.partition(partition, seals_all).await {
                if error.kind() != ErrorKind::Corrupt {
                    return Err(error);
                }
                tracing::error!(%error, partition, "a segment cannot be archived");
                failed.get_or_insert(error);
            }
        }
        self.settle(&run.watch, &mut state.examined).await?;
        self.forget_writers(&chain, &mut state.forgotten).await?;
        self.store.sweep().await?;
        failed.map_or(Ok(run.archived), Err)
    }
}

impl Run<'_> {
    async fn partition(&mut self, partition: u16, seals_all: bool) -> Result<()> {
        let store = &self.archiver.store;
        let held = store.partition(partition).await?;
        if held.totals.frames > 0 && (self.is_due(partition, &held) || seals_all) {
            let segment = SegmentId { partition, number: held.open };
            self.tell(&Step::Seal(segment), Moment::Before)?;
            store.seal(segment, None).await?;
            self.tell(&Step::Seal(segment), Moment::After)?;
        }
        let archiver = self.archiver;
        let sealed = store.sealed(partition).await?.into_iter();
        let mut sealed =
            sealed.map(|(number, totals)| (SegmentId { partition, number }, totals)).peekable();
        let mut ahead = None;
        while let Some((segment, totals)) = sealed.next() {
            let read = match ahead.take() {
                Some(read) => read,
                None => archiver.read(segment, totals).await,
            };
            // While one is written the next is read: never more than two are in memory.
            let next = async {
                let (segment, totals) = *sealed.peek()?;
                Some(archiver.read(segment, totals).await)
            };
            let written = self.segment((segment, totals), read, held.unarchived);
            let (written, next) = tokio::join!(written, next);
            written?;
            ahead = next;
            store.lease(&archiver.holder, LEASE).await?;
        }
        Ok(())
    }

    /// Whether a segment has its greatest age, by this clock or by how long it has been seen: the
    /// clock may be late against that of the store.
    fn is_due(&mut self, partition: u16, held: &Partition) -> bool {
        let limits = self.archiver.limits;
        let seen = self.open.entry(partition).or_insert_with(|| (held.open, Instant::now()));
        if seen.0 != held.open {
            *seen = (held.open, Instant::now());
        }
        let now = millis_of(self.archiver.clock.now());
        held.is_due(limits, now) || seen.1.elapsed() >= limits.max_age
    }

    async fn segment(
        &mut self,
        (segment, totals): (SegmentId, Totals),
        read: Result<Contents>,
        unarchived: u64,
    ) -> Result<()> {
        let archive = &self.archiver.archive;
        let chain = archive.refreshed().await?;
        // What the chain says counts: an empty replica that was promoted knows nothing of it.
        let unarchived = chain.unarchived(segment.partition).unwrap_or(unarchived);
        self.tell(&Step::Pack(segment), Moment::Before)?;
        let (contents, packed) =
            self.packed((segment, totals), read, unarchived > 0, &chain).await?;
        self.tell(&Step::Pack(segment), Moment::After)?;
        let manifest = match chain.covering(segment) {
            Some(manifest) if packed.entries == 0 && contents.is_named(&chain, &manifest) => {
                manifest
            }
            _ => {
                let unreadable = contents.unreadable.clone();
                let found = (segment, unarchived, unreadable);
                self.commit(found, totals, packed, &chain).await?
            }
        };
        self.tell(&Step::Gate(segment), Moment::Before)?;
        self.gate(segment, totals, &contents, manifest).await?;
        self.tell(&Step::Gate(segment), Moment::After)
    }

    /// Brings an archived segment to the gate, with the holds the store knows of.
    async fn gate(
        &mut self,
        segment: SegmentId,
        totals: Totals,
        contents: &Contents,
        manifest: ManifestRef,
    ) -> Result<()> {
        for _ in 0..MAX_GATE_TRIES {
            let proof = ArchiveProof {
                entries: totals.entries,
                frames: contents.count,
                missing: contents.missing(),
                last: contents.last,
                token: self.token,
                manifest: manifest.clone(),
                ttl: self.archiver.ttl,
                holds: self.watch.change(segment.partition),
                is_held: self.is_held(contents).await?,
            };
            match self.archiver.store.mark_archived(segment, &proof).await? {
                gate @ (Gate::Archived { .. } | Gate::Held) => {
                    if gate != Gate::Held {
                        self.watch.free.push(segment);
                    }
                    self.archived.segments += 1;
                    telemetry::gated();
                    return Ok(());
                }
                Gate::AlreadyArchived => return Ok(()),
                Gate::HoldsChanged => self.watch = self.archiver.watch().await?,
                Gate::Fenced { newest } => return Err(fenced(self.token, newest)),
                refused @ (Gate::NotSealed | Gate::Mismatch) => {
                    return Err(Error::corrupt(format_args!(
                        "the gate refuses {segment}: {refused:?}"
                    )));
                }
            }
        }
        Err(Error::new(ErrorKind::Busy, "the legal holds change all the time"))
    }

    /// Whether a hold covers an entry of a segment. What cannot be read is covered.
    async fn is_held(&self, contents: &Contents) -> Result<bool> {
        if self.watch.holds.is_empty() || contents.unreadable.is_some() {
            return Ok(!self.watch.holds.is_empty());
        }
        let (holds, frames) = (self.watch.holds.clone(), Arc::clone(&contents.frames));
        blocking(move || holds.cover(frames.iter())).await
    }

    /// Writes the objects of a segment, then the manifest that makes them count.
    async fn commit(
        &mut self,
        (segment, unarchived, unreadable): (SegmentId, u64, Option<Unreadable>),
        totals: Totals,
        packed: PackedSegment,
        chain: &Chain,
    ) -> Result<ManifestRef> {
        let archive = &self.archiver.archive;
        // The chain knows of newer archivers also when the store was rolled back.
        if chain.epoch() > self.token {
            return Err(fenced(self.token, chain.epoch()));
        }
        let signing = signing(chain, archive.signer())?;
        let mut edge = archive.edge_at(chain).await?;
        let mut objects = Vec::with_capacity(packed.objects.len());
        for object in packed.objects {
            object.leaves.iter().for_each(|leaf| edge.push(*leaf));
            let step = Step::Object(object.meta.key.clone());
            self.tell(&step, Moment::Before)?;
            archive.write_object(&object.meta.key, object.content.into()).await?;
            self.tell(&step, Moment::After)?;
            self.archived.objects += 1;
            objects.push(object.meta);
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT.into(),
            number: chain.next(),
            previous: chain.head().map_or_else(String::new, |head| head.sha256.clone()),
            epoch: self.token,
            created_at: self.archiver.clock.now(),
            segment,
            unarchived,
            frames: totals.frames,
            repeated: packed.repeated,
            entries: packed.entries,
            writers: packed.writers,
            objects,
            tree: edge.head(),
            unreadable,
            key: signing.key,
            rotation: signing.rotation,
        };
        let step = Step::Manifest(manifest.number);
        self.tell(&step, Moment::Before)?;
        // Where the bucket overwrites, this is what keeps a paused archiver from committing.
        let newest = self.archiver.store.raise_fence(segment.partition, self.token).await?;
        if newest != self.token {
            return Err(fenced(self.token, newest));
        }
        let key = manifest_key(manifest.number);
        let content = signed::encode(&manifest, archive.signer())?;
        archive.commit(&key, content.clone().into()).await?;
        archive.committed(&key, &content).await?;
        self.tell(&step, Moment::After)?;
        self.archived.entries += manifest.entries;
        telemetry::archived(manifest.entries);
        if manifest.unreadable.is_some() {
            self.archived.unreadable += 1;
            telemetry::unreadable();
        }
        self.publish(manifest.number, edge).await?;
        Ok(crate::manifest::reference(manifest.number, &content))
    }

    /// Writes the tiles after a manifest, then the checkpoint.
    async fn publish(&self, number: u64, mut edge: Tiling) -> Result<()> {
        let archive = &self.archiver.archive;
        self.tell(&Step::Tiles(number), Moment::Before)?;
        archive.write_tiles(&mut edge).await?;
        self.tell(&Step::Tiles(number), Moment::After)?;
        self.tell(&Step::Checkpoint(number), Moment::Before)?;
        archive.keep_edge(number, edge).await;
        let chain = archive.refreshed().await?;
        // Who has gone on from here has written it before.
        if chain.head().is_some_and(|head| head.number == number) {
            archive.mend_checkpoint(&chain).await?;
        }
        self.tell(&Step::Checkpoint(number), Moment::After)
    }

    fn tell(&self, step: &Step, moment: Moment) -> Result<()> {
        told(self.observer, step, moment)
    }
}

fn told(observer: &Observer<'_>, step: &Step, moment: Moment) -> Result<()> {
    match observer(step, moment) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(stopped()),
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Closed, "the observer ended the run")
}

fn fenced(own: u64, newest: u64) -> Error {
    Error::new(
        ErrorKind::Busy,
        format_args!("archiver {own} is fenced off: archiver {newest} has taken over"),
    )
}

/// Whether another archiver is the reason.
fn is_other(error: &Error) -> bool {
    error.kind() == ErrorKind::Busy
}
