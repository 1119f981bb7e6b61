//! What is measured on: a server, a client of it, and 64 sessions.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use watchdog_core::KeyRing;
use watchdog_session::{
    Client, Issued, Place, RedisStore, SessionConfig, Sessions, Subject, TokenKeys,
};
use watchdog_storage::redis::{Key, Redis, RedisConfig};
use watchdog_storage::testing::redis::{RedisServer, is_available};

/// How many callers there are at once, each with a session of its own.
pub(crate) const TASKS: usize = 64;

/// A browser as it writes itself down.
pub(crate) const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

pub(crate) struct Bed {
    pub(crate) server: RedisServer,
    pub(crate) runtime: Runtime,
    pub(crate) sessions: Sessions,
    pub(crate) redis: Redis,
    pub(crate) issued: Vec<Issued>,
    tokens: TokenKeys,
    /// Where their records are: the key and the field.
    pub(crate) places: Vec<(Key, String)>,
}

pub(crate) fn client() -> Client {
    Client::new("192.0.2.1".parse().ok(), Some(USER_AGENT.into()))
}

/// The id of a user, as long as one of version 4 is.
pub(crate) fn user(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

impl Bed {
    /// Without a local cache. `None` where Redis is not installed.
    pub(crate) fn make() -> Option<Self> {
        Self::with_local_cache(0)
    }

    /// With a local cache of so many sessions.
    pub(crate) fn with_local_cache(local_cache: u32) -> Option<Self> {
        if !is_available() {
            return None;
        }
        let server = RedisServer::start();
        let runtime = Runtime::new().unwrap();
        let config = RedisConfig::from_url(&server.url()).unwrap();
        let redis = runtime.block_on(Redis::connect(&config)).unwrap();
        let keys = KeyRing::ephemeral().unwrap();
        // Tracking starts with the cache, on the runtime of whoever builds it.
        let entered = runtime.enter();
        let sessions = Sessions::builder(&keys)
            .store(Arc::new(RedisStore::new(redis.clone())))
            .config(SessionConfig {
                grace: Duration::ZERO,
                local_cache,
                ..SessionConfig::default()
            })
            .build()
            .unwrap();
        drop(entered);
        let tokens = TokenKeys::new(&keys.secret).unwrap();
        let (mut issued, mut places) = (Vec::new(), Vec::new());
        for number in 0..TASKS {
            let (subject, client) = (Subject::user(user(number)), client());
            let one = runtime.block_on(sessions.issue(subject, &client)).unwrap();
            let place = tokens.session_parts(one.session_token.expose()).unwrap().place;
            let tag = place.location.bucket.to_string();
            let key = redis.keys().key("u", &tag, &[&place.location.user_text()]);
            places.push((key, format!("s:{}", place.session)));
            issued.push(one);
        }
        Some(Self { server, runtime, sessions, redis, issued, tokens, places })
    }

    pub(crate) fn place(&self, issued: &Issued) -> Place {
        self.tokens.session_parts(issued.session_token.expose()).unwrap().place
    }

    /// The words of the next command with a name that reaches the server while `act` runs.
    pub(crate) fn overhear(&self, name: &str, act: impl FnOnce()) -> Vec<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "+OK");
        act();
        lines
            .map(|line| words(&line))
            .find(|words| words[0].eq_ignore_ascii_case(name.as_bytes()))
            .unwrap()
    }
}

/// The words of a line of `MONITOR`: in quotes, with what is not printable escaped.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().skip_while(|&byte| byte != b']');
    while bytes.any(|byte| byte == b'"') {
        let mut word = Vec::new();
        while let Some(byte) = bytes.next().filter(|&byte| byte != b'"') {
            word.push(if byte == b'\\' { unescaped(&mut bytes) } else { byte });
        }
        words.push(word);
    }
    words
}

fn unescaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next().unwrap() {
        b'x' => {
            let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
            u8::try_from(16 * digit() + digit()).unwrap()
        }
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        other => other,
    }
}
