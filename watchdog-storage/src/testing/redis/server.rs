//! One Redis server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Control, PROGRAM, Reply};
use crate::testing::process::ServerProcess;
use crate::testing::{free_port, wait_until};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often another port is tried.
const TRIES: u32 = 5;

/// A Redis server of its own, on a free port of the loopback interface. Nothing is persisted.
#[derive(Debug)]
pub struct RedisServer {
    process: ServerProcess,
    port: u16,
    args: Vec<String>,
}

impl RedisServer {
    /// Starts a server without a password.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further settings, as on its command line: `["--maxmemory", "1mb"]`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[expect(clippy::panic, reason = "a test without its server should stop")]
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut log = String::new();
        for _ in 0..TRIES {
            let port = free_port();
            let mut args = plain_arguments(port);
            args.extend_from_slice(&settings);
            match start(&args) {
                Ok(process) => return Self { process, port, args },
                Err(output) => log = output,
            }
        }
        panic!("redis-server does not start: {log}");
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL, for [`RedisConfig::from_url`](crate::redis::RedisConfig::from_url).
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The process: its log, pausing it.
    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// A connection beside the client under test.
    ///
    /// # Panics
    ///
    /// When the server is not there.
    #[expect(clippy::expect_used, reason = "a test without its server should stop")]
    pub fn control(&self) -> Control {
        Control::connect(self.port).expect("the server of the test answers")
    }

    /// Sends one command on a connection of its own.
    ///
    /// # Panics
    ///
    /// When the server is not there, or answers with an error.
    #[expect(clippy::panic, clippy::expect_used, reason = "a test states what it expects")]
    pub fn command(&self, words: &[&str]) -> Reply {
        match self.control().command(words).expect("the server of the test answers") {
            Reply::Error(error) => panic!("{words:?}: {error}"),
            reply => reply,
        }
    }

    /// How often each command ran, in lower case: to count round trips.
    ///
    /// # Panics
    ///
    /// When the server is not there.
    #[expect(clippy::expect_used, reason = "a test without its server should stop")]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.control().calls().expect("the server of the test answers")
    }

    /// Kills the server, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same port, empty. Kills it first if it runs.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[expect(clippy::expect_used, reason = "a test without its server should stop")]
    pub fn restart(&mut self) {
        self.process.replace(PROGRAM, &self.args).expect("the shell starts");
        let process = &self.process;
        wait_until("the server starts again", PATIENCE, || is_ready(process));
    }

    /// Freezes the server: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.resume();
    }
}

/// The settings every server has: loopback only, nothing on disk.
pub(super) fn plain_arguments(port: u16) -> Vec<String> {
    let port = port.to_string();
    let settings = [
        ["--port", &port],
        ["--bind", "127.0.0.1"],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--daemonize", "no"],
        // The first synchronisation of a replica waits for company otherwise.
        ["--repl-diskless-sync-delay", "0"],
    ];
    settings.concat().into_iter().map(str::to_owned).collect()
}

/// Starts a server and waits until it accepts connections; its output when it does not.
pub(super) fn start(args: &[String]) -> Result<ServerProcess, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?.keep();
    start_in(&directory, args)
}

/// As [`start`], in a directory that holds files of the server.
pub(super) fn start_in(directory: &Path, args: &[String]) -> Result<ServerProcess, String> {
    let process = ServerProcess::start(directory, "KILL", PROGRAM, args)
        .map_err(|error| error.to_string())?;
    wait_until("redis-server starts", PATIENCE, || is_ready(&process) || !process.is_running());
    if is_ready(&process) { Ok(process) } else { Err(process.log()) }
}

fn is_ready(process: &ServerProcess) -> bool {
    let log = process.log();
    // A server, a sentinel.
    log.contains("Ready to accept connections") || log.contains("Sentinel ID is")
}
