//! The spool: frames on the disk of this machine, until store or archive have them.
//!
//! A frame is written as the store gets it, so that personal fields stay sealed: erasing a subject's
//! key reaches the spool as well. One thread writes; callers wait for its `fdatasync`.

mod disk;
mod files;
mod home;
mod index;
pub(crate) mod record;
mod state;

use std::io;
use std::path::Path;
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
pub use state::SpoolStatus;
use state::State;

/// Where spools are and how much they take.
#[derive(Clone, Debug)]
pub(crate) struct SpoolPlace {
    pub(crate) directory: Arc<Path>,
    pub(crate) max_bytes: u64,
    pub(crate) files: Arc<dyn SpoolFiles>,
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
}

#[derive(Debug)]
enum Order {
    Write(Vec<Arc<Frame>>, oneshot::Sender<io::Result<()>>),
    After(u64, oneshot::Sender<io::Result<Vec<Arc<Frame>>>>),
    Last(oneshot::Sender<Option<u64>>),
    Release(u64),
}

impl Spool {
    /// The spool of a new writer.
    pub(crate) async fn create(place: &SpoolPlace, writer: WriterId) -> Result<Self> {
        let place = place.clone();
        let state = Arc::<State>::default();
        let made = Arc::clone(&state);
        let disk = blocking(move || {
            let home = Home::create(&home::root(&place.directory), writer)?;
            Ok(Disk::new(home, place.files, place.max_bytes, made))
        });
        Self::start(disk.await?, writer, state)
    }

    /// The spools of writers that are gone.
    pub(crate) async fn abandoned(place: &SpoolPlace) -> Result<Vec<Self>> {
        let place = place.clone();
        let disks = blocking(move || {
            let mut disks = Vec::new();
            for home in Home::abandoned(&home::root(&place.directory))? {
                let (writer, state) = (home.writer(), Arc::<State>::default());
                match Disk::adopt(home, Arc::clone(&place.files), Arc::clone(&state)) {
                    Ok(disk) => disks.push((disk, writer, state)),
                    // One that cannot be read does not hold up the others.
                    Err(error) => tracing::error!(%writer, %error, "an audit spool is unreadable"),
                }
            }
            Ok(disks)
        });
        let disks = disks.await?.into_iter();
        disks.map(|(disk, writer, state)| Self::start(disk, writer, state)).collect()
    }

    fn start(disk: Disk, writer: WriterId, state: Arc<State>) -> Result<Self> {
        let (orders, queue) = channel();
        std::thread::Builder::new()
            .name("audit-spool".into())
            .spawn(move || run(disk, &queue))
            .map_err(failed)?;
        Ok(Self { orders, writer, state })
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

    /// The number of the last entry there is.
    pub(crate) async fn last(&self) -> Option<u64> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Last(reply));
        answer.await.ok().flatten()
    }

    /// Lets go of entries up to `last`.
    pub(crate) fn release(&self, last: u64) {
        let _ = self.orders.send(Order::Release(last));
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
            Order::Last(reply) => {
                let _ = reply.send(disk.last());
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
