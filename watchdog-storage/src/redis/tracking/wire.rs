//! One connection: bytes out, frames of RESP3 in.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use redis_protocol::resp3::decode::complete::decode;
use redis_protocol::resp3::types::OwnedFrame;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, ErrorKind, Result};

/// Longest frame that is waited for, in bytes. One push names all keys that one turn of the
/// server's loop changed.
const MAX_FRAME: usize = 16 * 1024 * 1024;
/// What a read makes room for, in bytes.
const CHUNK: usize = 16 * 1024;

/// Longest frame whose room is kept for the next ones, in bytes.
const SPARE: usize = 64 * 1024;

/// Host and port.
pub(super) type Address = (String, u16);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, with what was read and not yet understood.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    /// A long frame has gone through the buffer.
    is_swollen: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) async fn dial(
        (host, port): &Address,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Self> {
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| {
                    Error::new(ErrorKind::Config, "no host name for TLS").with_source(error)
                })?;
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(name, stream).await.map_err(broken)?)
            }
        };
        Ok(Self { stream, buffer: BytesMut::new(), is_swollen: false })
    }

    /// Sends commands in one write.
    pub(super) async fn send(&mut self, commands: &[Vec<&str>]) -> Result<()> {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| encoded(words)).collect();
        self.stream.write_all(&bytes).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    /// The next whole frame of what was read.
    pub(super) fn frame(&mut self) -> Result<Option<OwnedFrame>> {
        let unreadable =
            |error| Error::new(ErrorKind::Unexpected, "not a frame of RESP3").with_source(error);
        match decode(&self.buffer).map_err(unreadable)? {
            Some((frame, size)) => {
                self.buffer.advance(size);
                self.is_swollen |= size > SPARE;
                if self.is_swollen && self.buffer.len() <= SPARE {
                    // One burst must not hold its memory for ever.
                    self.buffer = BytesMut::from(&self.buffer[..]);
                    self.is_swollen = false;
                }
                Ok(Some(frame))
            }
            None if self.buffer.len() > MAX_FRAME => {
                Err(Error::new(ErrorKind::Unexpected, "a frame is too long"))
            }
            None => Ok(None),
        }
    }

    /// Reads some more. Dropping the call loses nothing.
    pub(super) async fn fill(&mut self) -> Result<()> {
        // A long frame is parsed anew with each piece: larger pieces keep that cheap.
        self.buffer.reserve(CHUNK.max(self.buffer.len()));
        match self.stream.read_buf(&mut self.buffer).await.map_err(broken)? {
            0 => Err(Error::new(ErrorKind::Unavailable, "the server closed the connection")),
            _ => Ok(()),
        }
    }

    /// Waits for the next frame.
    pub(super) async fn next(&mut self) -> Result<OwnedFrame> {
        loop {
            if let Some(frame) = self.frame()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }
}

fn broken(error: io::Error) -> Error {
    // TLS that cannot succeed arrives as an I/O error of this kind.
    let kind = match error.kind() {
        io::ErrorKind::InvalidData => ErrorKind::Config,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "a connection for tracking failed").with_source(error)
}

fn encoded(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What an error answer means; `None` for any other frame.
pub(super) fn refusal(frame: &OwnedFrame) -> Option<Error> {
    let text = match frame {
        OwnedFrame::SimpleError { data, .. } => data.as_str(),
        OwnedFrame::BlobError { data, .. } => std::str::from_utf8(data).unwrap_or_default(),
        _ => return None,
    };
    // The rest of the text may hold arguments, and with them a password.
    let code = text.split(' ').next().unwrap_or_default();
    let kind = match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => ErrorKind::Denied,
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "OOM" => ErrorKind::Refusing,
        _ => ErrorKind::Unexpected,
    };
    Some(Error::new(kind, format!("tracking was refused: {code}")))
}

/// The elements of a list; empty for what is none.
pub(super) fn elements(frame: &OwnedFrame) -> &[OwnedFrame] {
    match frame {
        OwnedFrame::Array { data, .. } | OwnedFrame::Push { data, .. } => data,
        _ => &[],
    }
}

/// The bytes of a string; `None` for what is none.
pub(super) fn bytes(frame: &OwnedFrame) -> Option<&[u8]> {
    match frame {
        OwnedFrame::BlobString { data, .. }
        | OwnedFrame::SimpleString { data, .. }
        | OwnedFrame::VerbatimString { data, .. } => Some(data),
        _ => None,
    }
}

/// A string in UTF-8.
pub(super) fn text(frame: &OwnedFrame) -> Option<&str> {
    std::str::from_utf8(bytes(frame)?).ok()
}

/// A number, also one that is written as a string.
pub(super) fn number<T: TryFrom<i64>>(frame: &OwnedFrame) -> Option<T> {
    match frame {
        OwnedFrame::Number { data, .. } => (*data).try_into().ok(),
        _ => text(frame)?.parse::<i64>().ok()?.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wire(input: impl AsyncRead + Send + Unpin + 'static) -> Wire {
        let stream = Box::new(tokio::io::join(input, tokio::io::sink()));
        Wire { stream, buffer: BytesMut::new(), is_swollen: false }
    }

    #[test]
    fn commands_are_encoded_with_their_lengths_in_bytes() {
        assert_eq!(
            encoded(&["ROLE", "é", ""]),
            "*3\r\n$4\r\nROLE\r\n$2\r\né\r\n$0\r\n\r\n".as_bytes()
        );
    }

    #[tokio::test]
    async fn frames_arrive_whole_however_they_are_cut() {
        let input = b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$4\r\nb\r\nc\r\n+OK\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n";
        for size in 1..input.len() {
            let (client, mut server) = tokio::io::duplex(size);
            let writing = tokio::spawn(async move { server.write_all(input).await });
            let mut wire = wire(client);
            let push = wire.next().await.unwrap();
            let keys = elements(&elements(&push)[1]);
            assert_eq!(keys.iter().filter_map(bytes).collect::<Vec<_>>(), [&b"a"[..], b"b\r\nc"]);
            assert_eq!(text(&wire.next().await.unwrap()), Some("OK"));
            assert_eq!(elements(&wire.next().await.unwrap())[1], OwnedFrame::Null);
            assert_eq!(wire.next().await.unwrap_err().kind(), ErrorKind::Unavailable);
            writing.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn room_for_a_long_frame_is_given_back() {
        let (client, mut server) = tokio::io::duplex(1024);
        let writing = tokio::spawn(async move {
            let long = [b"$1000000\r\n", vec![b'x'; 1_000_000].as_slice(), b"\r\n"].concat();
            server.write_all(&long).await?;
            server.write_all(b"+OK\r\n").await
        });
        let mut wire = wire(client);
        assert_eq!(bytes(&wire.next().await.unwrap()).map(<[u8]>::len), Some(1_000_000));
        assert_eq!(text(&wire.next().await.unwrap()), Some("OK"));
        assert!(wire.buffer.capacity() <= SPARE, "{}", wire.buffer.capacity());
        writing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn noise_and_endless_frames_are_errors() {
        for noise in [&b"?\r\n"[..], b"HTTP/1.1 400\r\n", b"$-7\r\n", b":x\r\n", b"*-1\r\n"] {
            let mut wire = wire(noise);
            let error = tokio::time::timeout(Duration::from_secs(1), wire.next()).await.unwrap();
            assert!(error.is_err(), "{noise:?}");
        }
        let mut endless = wire(tokio::io::repeat(b'x'));
        endless.buffer.extend_from_slice(b"+");
        assert_eq!(endless.next().await.unwrap_err().kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn a_refusal_names_its_code_only() {
        let frame = |text: &str| OwnedFrame::SimpleError { data: text.into(), attributes: None };
        let error = refusal(&frame("WRONGPASS user secret")).unwrap();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(!format!("{error:?}").contains("secret"));
        assert_eq!(refusal(&frame("LOADING x")).unwrap().kind(), ErrorKind::Refusing);
        assert_eq!(refusal(&frame("ERR x")).unwrap().kind(), ErrorKind::Unexpected);
        assert!(refusal(&OwnedFrame::Null).is_none());
    }
}
