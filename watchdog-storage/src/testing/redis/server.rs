//! One Redis server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Control, PROGRAM, Reply};
use crate::testing::certificate::Certificate;
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
    tls: Option<(u16, Certificate)>,
    user: Option<[String; 2]>,
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
    pub fn start_with(settings: &[&str]) -> Self {
        Self::try_ports(settings, false)
    }

    /// Starts a server that speaks TLS on a second port, see [`tls_url`](Self::tls_url).
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_tls() -> Self {
        Self::try_ports(&[], true)
    }

    /// Starts a server that lets in one user only, who may do everything.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_with_user(user: &str, password: &str) -> Self {
        let secret = format!(">{password}");
        let rules =
            ["--user", user, "on", &secret, "~*", "&*", "+@all", "--user", "default", "off"];
        // The log tells when the server is ready; a connection would need the password.
        let mut server = Self::try_ports(&rules, false);
        server.user = Some([user.to_owned(), password.to_owned()]);
        server
    }

    #[expect(clippy::panic, reason = "a test without its server should stop")]
    fn try_ports(settings: &[&str], with_tls: bool) -> Self {
        let mut log = String::new();
        for _ in 0..TRIES {
            match Self::try_start(settings, with_tls) {
                Ok(server) => return server,
                Err(output) => log = output,
            }
        }
        panic!("redis-server does not start: {log}");
    }

    fn try_start(settings: &[&str], with_tls: bool) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?.keep();
        let port = free_port();
        let mut args = plain_arguments(port);
        args.extend(settings.iter().map(|&setting| setting.to_owned()));
        let mut tls = None;
        if with_tls {
            let certificate =
                Certificate::write_to(&directory).map_err(|error| error.to_string())?;
            let tls_port = free_port();
            args.extend(tls_arguments(tls_port, &certificate));
            tls = Some((tls_port, certificate));
        }
        let process = start_in(&directory, &args)?;
        Ok(Self { process, port, args, tls, user: None })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL, for [`RedisConfig::from_url`](crate::redis::RedisConfig::from_url).
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The URL of the TLS port, and the file with the authority to trust.
    ///
    /// # Panics
    ///
    /// When the server was not started with [`start_tls`](Self::start_tls).
    #[expect(clippy::expect_used, reason = "a test states what it expects")]
    pub fn tls_url(&self) -> (String, &Path) {
        let (port, certificate) = self.tls.as_ref().expect("the server was started with TLS");
        (format!("rediss://localhost:{port}"), &certificate.authority)
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
        let mut control = Control::connect(self.port).expect("the server of the test answers");
        if let Some([user, password]) = &self.user {
            control.command(&["AUTH", user, password]).expect("the server of the test answers");
        }
        control
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
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// As [`restart`](Self::restart), with settings that override those of the start.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[expect(clippy::expect_used, reason = "a test without its server should stop")]
    pub fn restart_with(&mut self, settings: &[&str]) {
        let settings = settings.iter().map(|&setting| setting.to_owned());
        let args: Vec<String> = self.args.iter().cloned().chain(settings).collect();
        self.process.replace(PROGRAM, &args).expect("the shell starts");
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
fn plain_arguments(port: u16) -> Vec<String> {
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

fn tls_arguments(port: u16, certificate: &Certificate) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let settings = [
        ["--tls-port", &port.to_string()],
        ["--tls-ca-cert-file", &path(&certificate.authority)],
        ["--tls-cert-file", &path(&certificate.certificate)],
        ["--tls-key-file", &path(&certificate.key)],
        ["--tls-auth-clients", "no"],
    ];
    // A second address that the certificate does not name; left out where the machine lacks it.
    let bind = ["--bind", "127.0.0.1", "-127.0.0.2"];
    settings.concat().into_iter().chain(bind).map(str::to_owned).collect()
}

/// Starts a server and waits until it accepts connections; its output when it does not.
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
