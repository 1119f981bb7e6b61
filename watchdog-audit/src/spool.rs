//! The spool: frames on the disk of this machine, until store or archive have them.
//!
//! A frame is written as the store gets it, so that personal fields stay sealed: erasing a subject's
//! key reaches the spool as well. One thread writes; callers wait for its `fdatasync`.

mod disk;
mod files;
mod home;
mod index;
mod note;
mod quota;
pub(crate) mod record;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;
use watchdog_core::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::writer_id::WriterId;

use disk::Disk;
pub(crate) use files::SystemFiles;
pub use files::{SpoolFile, SpoolFiles};
use home::Home;
pub(crate) use home::Unusable;
pub(crate) use note::{Heir, Origin};
pub use state::SpoolStatus;
use state::State;

/// Where spools are and how much they take.
#[derive(Clone, Debug)]
pub(crate) struct SpoolPlace {
    pub(crate) directory: Arc<Path>,
    pub(crate) max_bytes: u64,
    pub(crate) files: Arc<dyn SpoolFiles>,
    /// The address of the store behind the log, and how many partitions it has.
    pub(crate) store: Arc<str>,
    pub(crate) partitions: u16,
}

/// Of which writers that are gone the spools are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// Those that are for another store.
    Strangers,
}

/// The spool of one writer. A clone is the same spool.
///
/// When the last clone goes, an empty spool removes its directory; another one leaves it to the
/// next process.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    orders: Sender<Order>,
    writer: WriterId,
    state: Arc<State>,
    place: Arc<Place>,
}

/// Where a spool is, and for which store.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    origin: Option<Origin>,
    origin_path: PathBuf,
    heir_path: PathBuf,
}

#[derive(Debug)]
enum Order {
    Write(Vec<Arc<Frame>>, oneshot::Sender<io::Result<()>>),
    After(u64, oneshot::Sender<io::Result<Vec<Arc<Frame>>>>),
    Range(oneshot::Sender<Option<(u64, u64)>>),
    Newest(oneshot::Sender<io::Result<Option<Arc<Frame>>>>),
    Release(u64),
}

impl Spool {
    /// The spool of a new writer.
    pub(crate) async fn create(place: &SpoolPlace, writer: WriterId) -> Result<Self> {
        let place = place.clone();
        let state = Arc::<State>::default();
        let made = Arc::clone(&state);
        let disk = blocking(move || {
            let partition = writer.partition(place.partitions);
            let origin = Origin { store: place.store.as_ref().into(), partition };
            let home = Home::create(&home::root(&place.directory), writer, origin)?;
            Ok(Disk::new(home, place.files, place.max_bytes, made))
        });
        Self::start(disk.await?, state)
    }

    /// The spools of writers that are gone, and the directories of which none comes.
    pub(crate) async fn abandoned(
        place: &SpoolPlace,
        wanted: Wanted,
    ) -> Result<(Vec<Self>, Vec<Unusable>)> {
        let place = place.clone();
        let found = blocking(move || {
            let (mut disks, mut unusable) = (Vec::new(), Vec::new());
            for home in Home::abandoned(&home::root(&place.directory))? {
                let home = match home {
                    Ok(home) => home,
                    Err(error) => {
                        unusable.push(error);
                        continue;
                    }
                };
                let is_strange = home.origin().is_some_and(|origin| *origin.store != *place.store);
                if wanted == Wanted::Strangers && !is_strange {
                    continue;
                }
                let (writer, path) = (home.writer(), home.path().to_owned());
                let state = Arc::<State>::default();
                match Disk::adopt(home, Arc::clone(&place.files), Arc::clone(&state)) {
                    Ok(disk) => disks.push((disk, state)),
                    Err(error) => unusable.push(Unusable { writer, path, error }),
                }
            }
            Ok((disks, unusable))
        });
        let (disks, unusable) = found.await?;
        let spools = disks.into_iter().map(|(disk, state)| Self::start(disk, state));
        Ok((spools.collect::<Result<_>>()?, unusable))
    }

    fn start(disk: Disk, state: Arc<State>) -> Result<Self> {
        let (orders, queue) = channel();
        let home = disk.home();
        let writer = home.writer();
        let place = Arc::new(Place {
            path: home.path().to_owned(),
            origin: home.origin().cloned(),
            origin_path: home.origin_path(),
            heir_path: home.heir_path(),
        });
        std::thread::Builder::new()
            .name("audit-spool".into())
            .spawn(move || run(disk, &queue))
            .map_err(failed)?;
        Ok(Self { orders, writer, state, place })
    }

    pub(crate) fn writer(&self) -> WriterId {
        self.writer
    }

    /// Writes frames, which are synced when the receiver hears `Ok`.
    pub(crate) fn write(&self, frames: Vec<Arc<Frame>>) -> oneshot::Receiver<io::Result<()>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Write(frames, reply));
        answer
    }

    /// The next frames that end after an entry, in order; empty at the end.
    pub(crate) async fn after(&self, number: u64) -> Result<Vec<Arc<Frame>>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::After(number, reply));
        answered(answer.await)
    }

    /// The numbers of the first and the last entry there is.
    pub(crate) async fn range(&self) -> Option<(u64, u64)> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Range(reply));
        answer.await.ok().flatten()
    }

    /// The newest frame.
    pub(crate) async fn newest(&self) -> Result<Option<Arc<Frame>>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Newest(reply));
        answered(answer.await)
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.place.path
    }

    /// The store its entries are for, where that is known.
    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.place.origin.as_ref()
    }

    /// The file that says so.
    pub(crate) fn origin_path(&self) -> &Path {
        &self.place.origin_path
    }

    /// Under which id its entries are recorded again, where somebody has begun that.
    pub(crate) async fn heir(&self) -> Result<Option<Heir>> {
        let place = Arc::clone(&self.place);
        blocking(move || note::read(&place.heir_path)).await
    }

    /// Takes note of that, synced.
    pub(crate) async fn set_heir(&self, heir: Heir) -> Result<()> {
        let place = Arc::clone(&self.place);
        blocking(move || note::write(&place.heir_path, &heir)).await
    }

    /// Lets go of entries up to `last`.
    pub(crate) fn release(&self, last: u64) {
        let _ = self.orders.send(Order::Release(last));
    }

    #[cfg(test)]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.state.bytes_read()
    }

    pub(crate) fn status(&self, now: Timestamp) -> SpoolStatus {
        self.state.status(now)
    }
}

/// What the thread answered, as this crate's result.
pub(crate) fn answered<T>(
    answer: std::result::Result<io::Result<T>, oneshot::error::RecvError>,
) -> Result<T> {
    match answer {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(Error::new(ErrorKind::Unavailable, "the thread of the spool has ended")),
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the audit spool cannot be used").with_source(error)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(failed),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// The thread of a spool: ends when the last handle is gone.
fn run(mut disk: Disk, queue: &Receiver<Order>) {
    while let Ok(order) = queue.recv() {
        match order {
            Order::Write(frames, reply) => {
                let _ = reply.send(disk.write(&frames));
            }
            Order::After(number, reply) => {
                let _ = reply.send(disk.after(number));
            }
            Order::Range(reply) => {
                let _ = reply.send(disk.range());
            }
            Order::Newest(reply) => {
                let _ = reply.send(disk.newest());
            }
            Order::Release(last) => disk.release(last),
        }
    }
    if disk.is_empty()
        && let Err(error) = disk.home().remove()
    {
        tracing::debug!(%error, "the directory of an audit spool is not removed");
    }
}
