//! Delivering what a process that is gone has left in its spool.
//!
//! Its frames go to the store under its own id, where the store's high water tells what it has, so
//! that nothing stands twice. Where its sequence cannot go on, because entries before are gone from
//! store and archive, that is declared, and its other entries are recorded again under the id of an
//! [`Heir`], which the directory names.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::log::delivery::{Delivery, Undelivered};
use crate::log::heir::{Encoder, Inheritance};
use crate::log::shared::Shared;
use crate::log::sources::Sources;
use crate::log::writer::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::segment::WriterRange;
use crate::spool::{Heir, Spool};
use crate::telemetry;
use crate::writer_id::WriterId;

/// How long a spool rests that cannot be delivered before somebody has mended something.
const BLOCKED_PAUSE: Duration = Duration::from_secs(5);

/// One spool on its way.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) shared: Arc<Shared>,
    pub(crate) delivery: Delivery,
    pub(crate) encoder: Encoder,
    pub(crate) keeps_until_archived: bool,
    pub(crate) every: Duration,
    pub(crate) spool: Spool,
    /// Set when the writer was this process: its entries after this one are recorded again.
    pub(crate) recorded_again_after: Option<u64>,
    /// The first entry of the spool.
    pub(crate) first: u64,
    /// The store has every entry up to here, as far as is known.
    pub(crate) stored: u64,
}

impl Adoption {
    /// Runs until everything is where it counts; the directory goes with the spool.
    pub(crate) async fn run(mut self) {
        let writer = self.spool.writer();
        self.shared.unblock(&writer);
        let Some((first, last)) = self.spool.range().await else { return };
        let entries = last - first + 1;
        self.shared.adopted.fetch_add(entries, Ordering::Relaxed);
        (self.first, self.stored) = (first, first - 1);
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.bring(last).await {
            if error.is_retryable() {
                telemetry::append_failed(&error);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else {
                self.shared.block(writer, &error, self.spool.path());
                tokio::time::sleep(BLOCKED_PAUSE).await;
            }
        }
        self.shared.unblock(&writer);
        telemetry::adopted(writer, entries);
        self.spool.release(last);
        self.shared.adopted.fetch_sub(entries, Ordering::Relaxed);
    }

    /// Brings everything up to `last` to where it counts.
    async fn bring(&mut self, last: u64) -> Result<()> {
        let heir = match (self.spool.heir().await?, self.recorded_again_after) {
            (Some(heir), _) => heir,
            // This process has declared it already.
            (None, Some(after)) => self.name_heir(after, None).await?,
            (None, None) => match self.deliver(last).await? {
                None => return Ok(()),
                Some(Broken { lost }) => {
                    let after = lost.map_or(self.stored, |lost| lost.last);
                    self.name_heir(after, Some(lost)).await?
                }
            },
        };
        self.record_again(heir).await
    }

    /// Brings the frames to the store, and waits for the archive where the spool keeps them until
    /// then; how the sequence is broken, where it cannot go on.
    async fn deliver(&mut self, last: u64) -> Result<Option<Broken>> {
        let sources = Sources::with_spool(Some(self.spool.clone()));
        let writer = self.spool.writer();
        // A bucket that does not answer holds nothing up: the store passes over what it has, and the
        // archiver over what is archived.
        let archived = self.archived(&writer).await.unwrap_or_default();
        self.stored = self.stored.max(archived.unwrap_or(0));
        let mut newest = None;
        loop {
            while self.stored < last {
                match self.delivery.step(&sources, (self.stored, last)).await {
                    Ok(now) => self.stored = now,
                    Err(Undelivered::Failed(error)) => return Err(error),
                    Err(Undelivered::Superseded { lost }) => {
                        self.refuse_stranger(lost)?;
                        return Ok(Some(Broken { lost }));
                    }
                }
            }
            if !self.keeps_until_archived {
                return Ok(None);
            }
            if newest.is_none() {
                newest = self.spool.newest().await?;
                newest.iter().for_each(|frame| sources.memory().push(Arc::clone(frame)));
            }
            let archived = self.archived(&writer).await?;
            if let Some(archived) = archived {
                self.spool.release(archived);
            }
            if archived.is_some_and(|archived| archived >= last) {
                return Ok(None);
            }
            tokio::time::sleep(self.every).await;
            if archived.is_some() {
                // The store may have lost it since: the newest frame is offered again.
                self.stored = newest.as_ref().map_or(last, |frame| frame.first() - 1);
            }
        }
    }

    /// Records the entries again under the id of an heir; of another one behind each gap.
    async fn record_again(&mut self, mut heir: Heir) -> Result<()> {
        loop {
            let (spool, encoder) = (self.spool.clone(), self.encoder.clone());
            let writer = heir.writer;
            let mut inheritance = Inheritance::new(heir, spool, encoder, &self.delivery);
            let begin = self.archived(&writer).await.unwrap_or_default().unwrap_or(0);
            let (mut stored, mut gap) = inheritance.bring(begin).await?;
            while self.keeps_until_archived
                && self.archived(&writer).await?.is_none_or(|archived| archived < stored)
            {
                tokio::time::sleep(self.every).await;
                let held = inheritance.check(stored).await?;
                (stored, gap) = inheritance.bring(held).await?;
            }
            let Some(first) = gap else { return Ok(()) };
            let old = inheritance.heir.old(stored);
            let lost = WriterRange { first: old + 1, last: first - 1 };
            heir = self.name_heir(lost.last, Some(Some(lost))).await?;
        }
    }

    /// Notes in the directory under which id the entries after one of them are recorded again, and
    /// whether that is to be declared.
    async fn name_heir(&self, after: u64, declared: Option<Option<WriterRange>>) -> Result<Heir> {
        let writer = WriterId::random()?;
        let partition = writer.partition(self.delivery.store.partitions());
        let (declares, lost) = (declared.is_some(), declared.flatten());
        let heir = Heir { writer, partition, after, declares, lost };
        self.spool.set_heir(heir.clone()).await?;
        if declares {
            telemetry::superseded(self.spool.writer(), writer, lost);
        }
        Ok(heir)
    }

    /// How far the archive has a writer; `None` while the bucket does not answer.
    async fn archived(&self, writer: &WriterId) -> Result<Option<u64>> {
        match self.delivery.watermark.of(writer).await {
            Ok(archived) => Ok(Some(archived)),
            Err(error) if error.is_retryable() => {
                telemetry::append_failed(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What another store has is not lost.
    fn refuse_stranger(&self, lost: Option<WriterRange>) -> Result<()> {
        match (self.spool.origin(), lost) {
            (Some(origin), Some(lost))
                if lost.last < self.first
                    && origin.store != self.delivery.store.address()
                    // Somebody may have said meanwhile that the other one is no more.
                    && self.spool.origin_path().exists() =>
            {
                Err(stranger(&self.spool, &self.delivery, lost.last))
            }
            _ => Ok(()),
        }
    }
}

/// A sequence that cannot go on under its id.
struct Broken {
    lost: Option<WriterRange>,
}

/// The spool goes on after entries that only the store has that it was for.
pub(crate) fn stranger(spool: &Spool, delivery: &Delivery, before: u64) -> Error {
    let theirs = spool.origin().map_or("another store", |origin| &origin.store);
    Error::new(
        ErrorKind::Config,
        format_args!(
            "the audit spool {} is for the store {theirs} and goes on after entry {before} of its \
             writer, which {}, the store of this log, does not have: start with the other store once \
             more until that directory is gone; or, if that store is no more, remove {}, and what \
             is in the spool comes here, with the entries before declared as lost",
            spool.path().display(),
            delivery.store.address(),
            spool.origin_path().display(),
        ),
    )
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use watchdog_core::{Clock, SystemClock, Timestamp};

    use super::*;
    use crate::log::watermark::Watermark;
    use crate::segment::SegmentLimits;
    use crate::spool::record::tests::frame;
    use crate::spool::{SpoolPlace, SystemFiles, Wanted};
    use crate::store::{EmbeddedStore, SegmentStore};

    /// Counts how often the store was written to.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Clock for Counting {
        fn now(&self) -> Timestamp {
            self.0.fetch_add(1, Ordering::Relaxed);
            SystemClock.now()
        }
    }

    fn adoption(spool: Spool, store: Arc<dyn SegmentStore>) -> Adoption {
        let limits = SegmentLimits { max_bytes: 1 << 26, max_age: Duration::from_secs(3600) };
        let writer = WriterId::from_bytes([9; 16]);
        let delivery = Delivery::new(store, Watermark::default(), limits, None, writer);
        Adoption {
            shared: Arc::default(),
            delivery: delivery.adopting(spool.writer(), None),
            encoder: Encoder { keys: None, clock: Arc::new(SystemClock) },
            keeps_until_archived: true,
            every: Duration::from_millis(1),
            spool,
            recorded_again_after: None,
            first: 1,
            stored: 0,
        }
    }

    #[tokio::test]
    async fn a_spool_that_waits_for_the_archive_is_read_once() {
        const FRAMES: u64 = 50;
        const ENTRIES: u64 = 200;
        let directory = tempfile::tempdir().unwrap();
        let place = SpoolPlace {
            directory: directory.path().into(),
            max_bytes: 16_000_000,
            files: Arc::new(SystemFiles),
            store: "test".into(),
            partitions: 1,
        };
        let writer = WriterId::from_bytes([7; 16]);
        let spool = Spool::create(&place, writer).await.unwrap();
        for n in 0..FRAMES {
            let frame = frame(n * ENTRIES + 1, ENTRIES);
            spool.write(vec![Arc::new(frame)]).await.unwrap().unwrap();
        }
        let bytes = spool.status(Timestamp::UNIX_EPOCH).bytes;
        drop(spool);
        let spool = loop {
            // Its thread lets go of the lock.
            if let Some(spool) = Spool::abandoned(&place, Wanted::All).await.unwrap().0.pop() {
                break spool;
            }
            tokio::task::yield_now().await;
        };
        let counting = Arc::<Counting>::default();
        let store = EmbeddedStore::memory().unwrap().with_clock(Arc::<Counting>::clone(&counting));
        let mut adoption = adoption(spool.clone(), Arc::new(store));
        let is_offered_often = async {
            while counting.0.load(Ordering::Relaxed) < 4 * FRAMES {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = adoption.bring(FRAMES * ENTRIES) => panic!("it waits for the archive: {ended:?}"),
            () = is_offered_often => {}
        }
        let read = spool.bytes_read();
        assert!(read >= bytes && read < bytes * 3 / 2, "{read} of {bytes}");
    }
}
