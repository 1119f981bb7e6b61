//! One throw-away server.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Certificates, cluster};
use crate::postgres::DbConfig;
use crate::testing::free_port;
use crate::testing::process::ServerProcess;

/// A role that needs a password.
pub const APP_USER: &str = "app";
/// The password of [`APP_USER`].
pub const APP_PASSWORD: &str = "app-password-0123456789";

const START_LIMIT: Duration = Duration::from_secs(30);

/// A PostgreSQL server with a directory of its own; dropping it ends it.
#[derive(Debug)]
pub struct PostgresServer {
    process: ServerProcess,
    port: u16,
    certificates: Option<Certificates>,
    databases: AtomicU32,
}

impl PostgresServer {
    /// Starts a server without TLS.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts a server with TLS and a certificate for `localhost`, not for `127.0.0.1`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_tls() -> Self {
        Self::start_with(Some(Certificates::generate()))
    }

    #[expect(clippy::expect_used, reason = "a test without its server should stop")]
    fn start_with(certificates: Option<Certificates>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("watchdog-postgres-")
            // The user of the server must reach its files.
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .expect("a temporary directory can be made")
            .keep();
        let data = cluster::create(&directory);
        if let Some(certificates) = &certificates {
            write_certificates(&directory, &data, certificates);
        }
        let port = free_port();
        let process = run(&directory, &command(&data, port, certificates.is_some()));
        let databases = AtomicU32::new(0);
        let mut server = Self { process, port, certificates, databases };
        for _ in 0..4 {
            if is_ready(&server.process) {
                break;
            }
            // Most likely another process took the port.
            server.port = free_port();
            server.run_again();
        }
        assert!(is_ready(&server.process), "{}", server.process.log());
        server
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The settings that reach the server as its superuser, in the database `postgres`.
    pub fn config(&self) -> DbConfig {
        self.config_of("postgres")
    }

    /// Makes an empty database and returns the settings that reach it.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub fn create_database(&self) -> DbConfig {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.config_of(&name)
    }

    fn config_of(&self, database: &str) -> DbConfig {
        let has_tls = self.certificates.is_some();
        DbConfig {
            host: Some(if has_tls { "localhost" } else { "127.0.0.1" }.to_owned()),
            port: self.port,
            name: Some(database.to_owned()),
            user: Some("postgres".to_owned()),
            ssl: has_tls,
            tls_ca: has_tls.then(|| self.authority_file()),
            ..DbConfig::default()
        }
    }

    /// The file with the authority that signed the server's certificate.
    pub fn authority_file(&self) -> PathBuf {
        self.process.directory().join("authority.pem")
    }

    /// A directory for files of the test; it goes with the server.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// Runs a statement with `psql`, past the client under test; returns what it printed.
    ///
    /// # Panics
    ///
    /// When the server refuses it.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let args = ["-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        let rest = ["-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql];
        let args: Vec<&str> = args.into_iter().chain(rest).collect();
        cluster::run(&cluster::program("psql"), &args, None).trim().to_owned()
    }

    /// How many clients a database has, without the one that asks.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub fn clients(&self, database: &str) -> usize {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' \
             AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        );
        self.execute(database, &sql).parse().unwrap_or(usize::MAX)
    }

    /// Ends the session of every client of a database.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub fn terminate_clients(&self, database: &str) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = '{database}' AND backend_type = 'client backend' \
             AND pid <> pg_backend_pid()"
        );
        self.execute(database, &sql);
    }

    /// What the server printed since its last start.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops the server and every session at once, without a shutdown; the files stay.
    pub fn kill(&mut self) {
        self.resume();
        self.process.kill();
    }

    /// Stops the server and starts it again on the same port, with the same files.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&mut self) {
        self.resume();
        self.run_again();
        assert!(is_ready(&self.process), "{}", self.process.log());
    }

    #[expect(clippy::expect_used, reason = "a test without its server should stop")]
    fn run_again(&mut self) {
        let data = self.process.directory().join("data");
        let words = command(&data, self.port, self.certificates.is_some());
        let (program, args) = words.split_first().expect("a command has a program");
        self.process.replace(program, args).expect("the shell starts");
    }

    /// Freezes the server and its sessions: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.process.pause();
        self.signal_sessions("STOP");
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        if self.process.is_running() {
            self.signal_sessions("CONT");
            self.process.resume();
        }
    }

    fn signal_sessions(&self, signal: &str) {
        let server = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let children = children.unwrap_or_default();
        if children.trim().is_empty() {
            return;
        }
        // A session may have ended since; the others get the signal all the same.
        let script = format!("kill -{signal} {children} 2>/dev/null; true");
        cluster::run("sh", &["-c", &script], None);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // A frozen session would outlive its server.
        self.resume();
    }
}

fn write_certificates(directory: &Path, data: &Path, certificates: &Certificates) {
    cluster::write(&directory.join("authority.pem"), &certificates.authority);
    cluster::write(&data.join("server.crt"), &certificates.certificate);
    cluster::write(&data.join("server.key"), &certificates.key);
    cluster::hand_over(&data.join("server.crt"), "600");
    cluster::hand_over(&data.join("server.key"), "600");
}

fn command(data: &Path, port: u16, has_tls: bool) -> Vec<String> {
    let mut words = cluster::as_user("postgres");
    words.extend(["-D".to_owned(), cluster::text(data), "-p".to_owned(), port.to_string()]);
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "log_connections=on",
        "shared_buffers=16MB",
        if has_tls { "ssl=on" } else { "ssl=off" },
    ];
    words.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting.to_owned()]));
    words
}

#[expect(clippy::expect_used, reason = "a test without its server should stop")]
fn run(directory: &Path, words: &[String]) -> ServerProcess {
    let (program, args) = words.split_first().expect("a command has a program");
    // Immediate shutdown: the sessions end too, and no shared memory stays behind.
    ServerProcess::start(directory, "QUIT", program, args).expect("the shell starts")
}

fn is_ready(process: &ServerProcess) -> bool {
    let end = Instant::now() + START_LIMIT;
    while Instant::now() < end && process.is_running() {
        if process.log().contains("ready to accept connections") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
