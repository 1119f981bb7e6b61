//! Server processes that cannot outlive the process that started them.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The watcher: starts the server, which says its process id first, and waits for the end of its
/// own input.
///
/// A line on the input means "stop, keep the directory"; its end means "stop and tidy up". The
/// kernel closes the other side of the pipe when the starting process ends, however it ends.
const WATCHER: &str = r#"
directory=$1 signal=$2
shift 2
sh -c 'echo "$$"; exec "$@"' sh "$@" </dev/null 2>&1 &
server=$!
exec >/dev/null 2>&1
keep=
read -r keep
kill -"$signal" "$server"
kill -CONT "$server"
if [ "$signal" != KILL ]; then
    tries=0
    while [ "$tries" -lt 50 ] && kill -0 "$server"; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -KILL "$server"
fi
wait "$server"
[ -n "$keep" ] || rm -rf "$directory"
"#;

/// How much of a server's output is kept, in bytes.
const LOG_LIMIT: usize = 256 * 1024;

/// A server in a process of its own, with a directory of its own.
///
/// Dropping it stops the server and removes the directory. So does the end of this process, by
/// whatever signal: a small shell watches a pipe that only this process holds open.
#[derive(Debug)]
pub struct ServerProcess {
    watcher: Child,
    lifeline: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    log: Arc<Mutex<String>>,
    server: u32,
    directory: PathBuf,
    signal: &'static str,
}

impl ServerProcess {
    /// Starts `program`, which must stay in the foreground, and hands `directory` over to it.
    ///
    /// `signal` stops the server: `KILL` for servers that have nothing to lose, `QUIT` for those
    /// that leave shared memory behind otherwise (`KILL` follows after 5 s).
    ///
    /// # Errors
    ///
    /// When no process can be started. A program that fails later shows in
    /// [`is_running`](Self::is_running) and [`log`](Self::log).
    pub fn start<A: AsRef<OsStr>>(
        directory: &Path,
        signal: &'static str,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        let mut watcher = Command::new("sh")
            .args(["-c", WATCHER, "sh"])
            .arg(directory)
            .arg(signal)
            .arg(program)
            .args(args)
            // A group of its own: an interrupt from the keyboard must not kill the watcher before
            // its server.
            .process_group(0)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lifeline = watcher.stdin.take();
        let output = watcher.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut output = BufReader::new(output);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let server = first.trim().parse().map_err(io::Error::other)?;
        let log = Arc::new(Mutex::new(String::new()));
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || collect(output, &log)
        });
        let directory = directory.to_owned();
        Ok(Self { watcher, lifeline, reader: Some(reader), log, server, directory, signal })
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.server
    }

    /// The directory of the server.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the server runs, paused or not.
    pub fn is_running(&self) -> bool {
        // The server and its children alone hold the other side of the pipe.
        self.reader.as_ref().is_some_and(|reader| !reader.is_finished())
    }

    /// What the server printed, the last 256 KiB of it.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the server at once and keeps its directory, until the handle is dropped.
    pub fn kill(&mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            let _ = lifeline.write_all(b"keep\n");
        }
        let _ = self.watcher.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Stops the server, and starts another program in the same directory.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn replace<A: AsRef<OsStr>>(
        &mut self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> io::Result<()> {
        self.kill();
        let next = Self::start(&self.directory, self.signal, program, args)?;
        // The directory belongs to the new process now.
        let mut previous = std::mem::replace(self, next);
        previous.directory = PathBuf::new();
        Ok(())
    }

    /// Freezes the server: connections stay open, nothing answers.
    pub fn pause(&self) {
        send("STOP", self.server);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        send("CONT", self.server);
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let was_killed = self.lifeline.take().is_none();
        let _ = self.watcher.wait();
        if was_killed && !self.directory.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Whether a program is found where the shell looks for one.
pub fn is_installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", r#"command -v "$1""#, "sh", program])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn send(signal: &str, process: u32) {
    let _ = Command::new("sh")
        .args(["-c", r#"kill -"$1" "$2""#, "sh", signal])
        .arg(process.to_string())
        .status();
}

fn collect(output: BufReader<ChildStdout>, log: &Mutex<String>) {
    for line in output.split(b'\n') {
        let Ok(line) = line else { return };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&String::from_utf8_lossy(&line));
        log.push('\n');
        if log.len() > LOG_LIMIT {
            let mut cut = log.len() - LOG_LIMIT / 2;
            while !log.is_char_boundary(cut) {
                cut += 1;
            }
            log.drain(..cut);
        }
    }
}
