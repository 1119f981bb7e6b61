//! A TCP proxy that breaks connections on demand.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What the proxy does to its connections, those that are open included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    Forward,
    /// Holds back each piece of data on its way to the server and to the client.
    Delay {
        /// On the way to the server.
        to_server: Duration,
        /// On the way to the client.
        to_client: Duration,
    },
    /// Passes on so many bytes a second in each direction.
    Slow {
        /// Bytes a second, at least 1.
        bytes_per_second: u32,
    },
    /// Accepts connections and data, and passes on nothing: a server that hangs.
    Freeze,
    /// Closes every connection, and each new one at once: a server that is down.
    Cut,
    /// Lets the next request reach the server, drops the reply, closes that connection, and goes
    /// on as [`Forward`](Self::Forward): the client cannot know whether its command ran.
    LoseReply,
}

/// A TCP proxy on the loopback interface in front of a server.
///
/// It lives on the runtime of the test; dropping it closes its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    counters: Arc<Counters>,
    accept: AbortHandle,
}

/// What went through the proxy.
#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    open: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
    lost_replies: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl FaultProxy {
    /// Listens on a free port and forwards to a port of the loopback interface.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let fault = Arc::new(watch::Sender::new(Fault::Forward));
        let counters = Arc::new(Counters::default());
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
        let accepting = accept(listener, server, Arc::clone(&fault), Arc::clone(&counters));
        let accept = tokio::spawn(accepting).abort_handle();
        Ok(Self { address, fault, counters, accept })
    }

    /// The port the proxy listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes what happens from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// What happens now; after a lost reply [`Fault::Forward`] again.
    pub fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Closes every open connection, once; new ones are served as before.
    pub async fn cut_once(&self) {
        let before = self.fault();
        self.set(Fault::Cut);
        while self.counters.open.load(Ordering::Acquire) > 0 {
            tokio::task::yield_now().await;
        }
        self.set(before);
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.counters.connections.load(Ordering::Relaxed)
    }

    /// Bytes passed on to the server so far.
    pub fn bytes_to_server(&self) -> u64 {
        self.counters.to_server.load(Ordering::Relaxed)
    }

    /// Bytes passed on to clients so far.
    pub fn bytes_to_client(&self) -> u64 {
        self.counters.to_client.load(Ordering::Relaxed)
    }

    /// Replies dropped by [`Fault::LoseReply`] so far.
    pub fn lost_replies(&self) -> u64 {
        self.counters.lost_replies.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Owns the tasks of all connections: aborting it closes them.
async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    counters: Arc<Counters>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        counters.connections.fetch_add(1, Ordering::Relaxed);
        while connections.try_join_next().is_some() {}
        if *fault.borrow() == Fault::Cut {
            continue;
        }
        let (fault, counters) = (Arc::clone(&fault), Arc::clone(&counters));
        counters.open.fetch_add(1, Ordering::AcqRel);
        connections.spawn(async move {
            let ended = serve(client, server, &fault, &counters).await;
            counters.open.fetch_sub(1, Ordering::AcqRel);
            ended
        });
    }
}

/// One connection, until either side or the fault ends it.
async fn serve(
    client: TcpStream,
    server: SocketAddr,
    fault: &watch::Sender<Fault>,
    counters: &Counters,
) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pump(Direction::ToServer, from_client, to_server, fault, counters);
    let replies = pump(Direction::ToClient, from_server, to_client, fault, counters);
    tokio::select! {
        ended = requests => ended,
        ended = replies => ended,
    }
}

async fn pump(
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: &watch::Sender<Fault>,
    counters: &Counters,
) -> io::Result<()> {
    let mut changes = fault.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *changes.borrow_and_update();
        let size = match now {
            Fault::Cut => return Ok(()),
            Fault::Freeze => {
                let _ = changes.changed().await;
                continue;
            }
            _ => tokio::select! {
                biased;
                _ = changes.changed() => continue,
                size = from.read(&mut buffer) => size?,
            },
        };
        if size == 0 {
            return Ok(());
        }
        // The fault may have been set while the data was on its way.
        let now = *changes.borrow_and_update();
        match now {
            Fault::LoseReply if direction == Direction::ToClient => {
                counters.lost_replies.fetch_add(1, Ordering::Relaxed);
                fault.send_replace(Fault::Forward);
                return Ok(());
            }
            Fault::Cut => return Ok(()),
            Fault::Freeze => {
                // What was read arrives when the server thaws.
                let _ = changes.changed().await;
            }
            Fault::Delay { to_server, to_client } => {
                let delay = if direction == Direction::ToServer { to_server } else { to_client };
                tokio::time::sleep(delay).await;
            }
            _ => {}
        }
        pass_on(now, direction, &buffer[..size], &mut to, counters).await?;
    }
}

async fn pass_on(
    fault: Fault,
    direction: Direction,
    data: &[u8],
    to: &mut OwnedWriteHalf,
    counters: &Counters,
) -> io::Result<()> {
    let counter = match direction {
        Direction::ToServer => &counters.to_server,
        Direction::ToClient => &counters.to_client,
    };
    let Fault::Slow { bytes_per_second } = fault else {
        to.write_all(data).await?;
        counter.fetch_add(data.len() as u64, Ordering::Relaxed);
        return Ok(());
    };
    // Twenty pieces a second, so that slow is not the same as late.
    let piece = (bytes_per_second.max(1) as usize).div_ceil(20);
    for part in data.chunks(piece) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        to.write_all(part).await?;
        counter.fetch_add(part.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}
