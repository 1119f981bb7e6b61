//! A second way to a server under test, beside the client that is tested.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// A blocking connection that sends one command at a time, in RESP2.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<TcpStream>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple string, a bulk string or an integer, as text.
    Text(String),
    /// Nothing.
    Nil,
    /// A list.
    List(Vec<Self>),
    /// An error.
    Error(String),
}

impl Reply {
    /// The text.
    ///
    /// # Panics
    ///
    /// When it is something else.
    #[expect(clippy::panic, reason = "a test states what it expects")]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("expected text from the server, not {other:?}"),
        }
    }
}

impl Control {
    /// Connects to a port of the loopback interface.
    ///
    /// # Errors
    ///
    /// When nothing answers there.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    ///
    /// When the connection breaks; an error of the server is a [`Reply`].
    pub fn command(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.reply()
    }

    /// How often each command ran, from `INFO commandstats`: to count round trips.
    ///
    /// # Errors
    ///
    /// When the connection breaks.
    pub fn calls(&mut self) -> io::Result<BTreeMap<String, u64>> {
        let info = self.command(&["INFO", "commandstats"])?;
        let calls = info.text().lines().filter_map(|line| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = numbers.split(',').find_map(|number| number.strip_prefix("calls="))?;
            Some((name.to_owned(), calls.parse().ok()?))
        });
        Ok(calls.collect())
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = || rest.parse::<i64>().map_err(io::Error::other);
        match kind {
            "+" | ":" => Ok(Reply::Text(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            "$" => match usize::try_from(length()?) {
                Ok(length) => {
                    let mut text = vec![0; length + 2];
                    self.stream.read_exact(&mut text)?;
                    text.truncate(length);
                    Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
                }
                Err(_) => Ok(Reply::Nil),
            },
            "*" => match length()? {
                length if length >= 0 => {
                    (0..length).map(|_| self.reply()).collect::<io::Result<_>>().map(Reply::List)
                }
                _ => Ok(Reply::Nil),
            },
            _ => Err(io::Error::other("no reply in RESP2")),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
