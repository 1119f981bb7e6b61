//! What a segment holds. Of one that cannot be read whole, what can be is archived, and the other
//! frames are set aside as they are, so that the segments after it go on.

use std::sync::Arc;

use super::{Archiver, FRAMES_AT_ONCE, Moment, Run, Step};
use crate::archive::{MAX_RAW_BYTES, pack, unreadable_key};
use crate::chain::Chain;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::hex;
use crate::manifest::{Unreadable, UnreadableObject};
use crate::merkle::sha256;
use crate::pack::{Gaps, PackedSegment, distinct, pack_segment};
use crate::segment::{FrameId, ManifestRef, SegmentId, Totals};

/// Bytes of frames that are set aside in one object, one frame more at most.
const ASIDE_BYTES: usize = 16 * 1024 * 1024;

/// What was read of a segment.
#[derive(Debug)]
pub(super) struct Contents {
    /// The frames that are archived.
    pub(super) frames: Arc<Vec<Frame>>,
    /// How many frames the store has, and the last of them.
    pub(super) count: u64,
    pub(super) last: Option<FrameId>,
    pub(super) unreadable: Option<Unreadable>,
    /// Entries that none of the frames explains.
    lost: u64,
}

/// A frame, or what stands in the place of one.
type Decoded = std::result::Result<Frame, Vec<u8>>;

impl Contents {
    pub(super) fn missing(&self) -> u64 {
        self.unreadable.as_ref().map_or(0, |unreadable| unreadable.missing)
    }

    /// What the segment adds to the archive, made off the threads that wait for others.
    async fn packed(
        &self,
        segment: SegmentId,
        may_begin_late: bool,
        chain: &Arc<Chain>,
    ) -> Result<PackedSegment> {
        let (frames, chain, lost) = (Arc::clone(&self.frames), Arc::clone(chain), self.lost);
        blocking(move || {
            let gaps = Gaps::new(&chain, segment.partition, may_begin_late, lost);
            pack_segment(segment, gaps, &frames, &chain)
        })
        .await?
    }

    /// Whether a manifest of the segment names what was set aside.
    pub(super) fn is_named(&self, chain: &Chain, manifest: &ManifestRef) -> bool {
        let Some(own) = &self.unreadable else { return true };
        let named = chain.manifest(manifest.number).and_then(|found| found.unreadable.as_ref());
        named.is_some_and(|named| named.objects == own.objects)
    }
}

impl Run<'_> {
    /// What a segment adds to the archive, given what was read of it. Where that is not the whole,
    /// see [`salvage`](Self::salvage).
    pub(super) async fn packed(
        &self,
        (segment, totals): (SegmentId, Totals),
        read: Result<Contents>,
        may_begin_late: bool,
        chain: &Arc<Chain>,
    ) -> Result<(Contents, PackedSegment)> {
        let is_corrupt = |error: &Error| error.kind() == ErrorKind::Corrupt;
        let why = match read {
            Ok(contents) => match contents.packed(segment, may_begin_late, chain).await {
                Ok(packed) => return Ok((contents, packed)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !is_corrupt(&why) {
            return Err(why);
        }
        let contents = self.salvage(segment, totals, &why).await?;
        let packed = contents.packed(segment, may_begin_late, chain).await?;
        Ok((contents, packed))
    }

    /// Reads what can be read of a segment and writes the rest into objects of its own.
    async fn salvage(&self, segment: SegmentId, totals: Totals, why: &Error) -> Result<Contents> {
        let (store, archive) = (&self.archiver.store, &self.archiver.archive);
        let chain = archive.refreshed().await?;
        let held = store.partition(segment.partition).await?;
        // Where the chain was cut off, more than this segment is wrong.
        if held.head.is_some_and(|head| chain.reference(head.number).as_ref() != Some(&head)) {
            return Err(Error::corrupt(format_args!(
                "{segment} cannot be read ({why}), and the store knows a manifest that the archive \
                 does not have"
            )));
        }
        let unarchived = chain.unarchived(segment.partition).unwrap_or(held.unarchived);
        let mut aside = Aside::new(self, segment);
        let (mut readable, mut bytes) = (Vec::new(), 0);
        let (mut count, mut last) = (0, None);
        loop {
            let page = store.raw_frames(segment, last, FRAMES_AT_ONCE).await?;
            let Some((id, _)) = page.last() else { break };
            last = Some(*id);
            count += page.len() as u64;
            for (id, length, decoded) in decoded(page).await? {
                match decoded {
                    Ok(frame) if bytes + length <= MAX_RAW_BYTES => {
                        bytes += length;
                        readable.push((id, frame));
                    }
                    Ok(frame) => aside.push(id, &frame.encode()).await?,
                    Err(raw) => aside.push(id, &raw).await?,
                }
            }
        }
        self.still_sealed(segment, totals).await?;
        let lost = totals.entries.saturating_sub(distinct(readable.iter().map(|(_, frame)| frame)));
        let gaps = Gaps::new(&chain, segment.partition, unarchived > 0, lost);
        let (frames, others) = gaps.part(readable);
        for (id, frame) in others {
            aside.push(id, &frame.encode()).await?;
        }
        let unreadable = Unreadable {
            entries: totals.entries.saturating_sub(distinct(frames.iter())),
            missing: totals.frames.saturating_sub(count),
            objects: aside.finish().await?,
        };
        tracing::error!(
            %segment, error = %why, entries = unreadable.entries, missing = unreadable.missing,
            "a segment cannot be read whole: what cannot be read is archived as it is"
        );
        let (frames, unreadable) = (Arc::new(frames), Some(unreadable));
        Ok(Contents { frames, count, last, unreadable, lost })
    }
}

impl Run<'_> {
    /// Whether the store says of a segment what it said before it was read. One that was restarted
    /// with an older log, or a promoted replica, may have gone back to before it was sealed: then
    /// nothing is damaged, and its writers send again what it lacks.
    async fn still_sealed(&self, segment: SegmentId, totals: Totals) -> Result<()> {
        let sealed = self.archiver.store.sealed(segment.partition).await?;
        let found = sealed.iter().find(|(number, _)| *number == segment.number);
        if found.is_some_and(|(_, found)| *found == totals) {
            return Ok(());
        }
        let context = format_args!("{segment} is no longer what it was when it was sealed");
        Err(Error::new(ErrorKind::Unavailable, context))
    }
}

impl Archiver {
    /// Reads a sealed segment and checks that nothing is missing. It may hold a frame twice: Redis
    /// keeps the half of a script that a crash has cut off its log, and runs it with the next one
    /// when it starts once more.
    pub(super) async fn read(&self, segment: SegmentId, totals: Totals) -> Result<Contents> {
        let mut frames = Vec::new();
        let mut last = None;
        loop {
            let page = self.store.frames(segment, last, FRAMES_AT_ONCE).await?;
            let Some((id, _)) = page.last() else { break };
            last = Some(*id);
            frames.extend(page.into_iter().map(|(_, frame)| frame));
        }
        let entries: u64 = frames.iter().map(Frame::count).sum();
        let count = frames.len() as u64;
        if entries >= totals.entries && count >= totals.frames {
            let frames = Arc::new(frames);
            return Ok(Contents { frames, count, last, unreadable: None, lost: 0 });
        }
        Err(Error::corrupt(format_args!(
            "{segment} was sealed with {} entries in {} frames, the store has {entries} in {count}",
            totals.entries, totals.frames,
        )))
    }
}

/// Decodes a page, with the length of each.
async fn decoded(page: Vec<(FrameId, Vec<u8>)>) -> Result<Vec<(FrameId, u64, Decoded)>> {
    blocking(move || {
        let decode = |(id, bytes): (FrameId, Vec<u8>)| {
            let frame = Frame::decode(&bytes).and_then(Frame::checked);
            (id, bytes.len() as u64, frame.map_err(|_| bytes))
        };
        page.into_iter().map(decode).collect()
    })
    .await
}

/// Frames on their way into objects of their own.
struct Aside<'r, 'a> {
    run: &'r Run<'a>,
    segment: SegmentId,
    raw: Vec<u8>,
    frames: u64,
    objects: Vec<UnreadableObject>,
}

impl<'r, 'a> Aside<'r, 'a> {
    fn new(run: &'r Run<'a>, segment: SegmentId) -> Self {
        Self { run, segment, raw: Vec::new(), frames: 0, objects: Vec::new() }
    }

    async fn push(&mut self, id: FrameId, bytes: &[u8]) -> Result<()> {
        self.raw.extend_from_slice(&id.millis.to_be_bytes());
        self.raw.extend_from_slice(&id.number.to_be_bytes());
        // Redis takes no value of 4 GiB.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.raw.extend_from_slice(&length.to_be_bytes());
        self.raw.extend_from_slice(bytes);
        self.frames += 1;
        if self.raw.len() >= ASIDE_BYTES { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<()> {
        let raw = std::mem::take(&mut self.raw);
        let frames = std::mem::take(&mut self.frames);
        let content = blocking(move || pack(&raw)).await??;
        let sha256 = hex::encode(&sha256(&[&content]));
        let key = unreadable_key(self.segment, &sha256);
        let bytes = content.len() as u64;
        let step = Step::Object(key.clone());
        self.run.tell(&step, Moment::Before)?;
        self.run.archiver.archive.write_object(&key, content.into()).await?;
        self.run.tell(&step, Moment::After)?;
        self.objects.push(UnreadableObject { key, frames, bytes, sha256 });
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<UnreadableObject>> {
        if self.frames > 0 {
            self.write().await?;
        }
        Ok(self.objects)
    }
}

/// Runs work that takes long on a thread where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Closed, "the archiver was cut off").with_source(error)
    })
}
