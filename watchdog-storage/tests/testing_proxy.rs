//! The fault proxy itself, in front of a server that echoes.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};

/// Long enough to tell "not yet" from "never".
const SHORT: Duration = Duration::from_millis(100);

async fn proxy() -> FaultProxy {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    FaultProxy::start(port).await.unwrap()
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

/// Sends and reads as much back; `None` when the connection ends instead.
async fn echo(stream: &mut TcpStream, data: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(data).await.ok()?;
    let mut answer = vec![0; data.len()];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn forwards_and_counts() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    assert_eq!(echo(&mut stream, b"hello").await.unwrap(), b"hello");
    assert_eq!((proxy.connections(), proxy.bytes_to_server(), proxy.bytes_to_client()), (1, 5, 5));
}

#[tokio::test]
async fn delays_each_way() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::Delay { to_server: SHORT, to_client: SHORT / 2 });
    let start = Instant::now();
    echo(&mut stream, b"x").await.unwrap();
    assert!(start.elapsed() >= SHORT + SHORT / 2);
}

#[tokio::test]
async fn slows_down() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::Slow { bytes_per_second: 1_000 });
    let start = Instant::now();
    echo(&mut stream, &[7; 200]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn freezes_and_thaws_without_losing_a_byte() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::Freeze);
    assert!(tokio::time::timeout(SHORT, echo(&mut stream, b"late")).await.is_err());
    let mut second = connect(&proxy).await;
    assert!(tokio::time::timeout(SHORT, echo(&mut second, b"too")).await.is_err());
    proxy.set(Fault::Forward);
    for (stream, expected) in [(&mut stream, b"late".as_slice()), (&mut second, b"too")] {
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn cuts_open_and_new_connections() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"x").await.unwrap();
    proxy.set(Fault::Cut);
    assert_eq!(echo(&mut stream, b"x").await, None);
    assert_eq!(echo(&mut connect(&proxy).await, b"x").await, None);
    proxy.set(Fault::Forward);
    assert!(echo(&mut connect(&proxy).await, b"x").await.is_some());
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"x").await.unwrap();
    proxy.cut_once().await;
    assert_eq!(echo(&mut stream, b"x").await, None);
    assert!(echo(&mut connect(&proxy).await, b"x").await.is_some());
}

#[tokio::test]
async fn loses_one_reply_after_the_request_arrived() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::LoseReply);
    assert_eq!(echo(&mut stream, b"gone").await, None);
    assert_eq!((proxy.lost_replies(), proxy.bytes_to_server()), (1, 4));
    assert_eq!(proxy.fault(), Fault::Forward);
    assert!(echo(&mut connect(&proxy).await, b"x").await.is_some());
}
