//! The test bench itself: no server outlives its handle or its process.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use watchdog_storage::testing::process::ServerProcess;
use watchdog_storage::testing::{free_port, wait_until};

const LIMIT: Duration = Duration::from_secs(10);

fn sleeper() -> ServerProcess {
    let directory = tempfile_directory();
    ServerProcess::start(&directory, "KILL", "sh", ["-c", "echo up; exec sleep 600"]).unwrap()
}

fn tempfile_directory() -> std::path::PathBuf {
    tempfile::tempdir().unwrap().keep()
}

fn exists(process: u32) -> bool {
    Command::new("sh")
        .args(["-c", &format!("kill -0 {process} 2>/dev/null")])
        .status()
        .unwrap()
        .success()
}

#[test]
fn dropping_the_handle_stops_the_server_and_removes_its_directory() {
    let server = sleeper();
    let (process, directory) = (server.id(), server.directory().to_owned());
    wait_until("the output arrives", LIMIT, || server.log() == "up\n");
    assert!(server.is_running());
    drop(server);
    assert!(!exists(process));
    assert!(!directory.exists());
}

#[test]
fn a_paused_server_can_be_stopped() {
    let server = sleeper();
    let process = server.id();
    server.pause();
    assert!(server.is_running());
    drop(server);
    assert!(!exists(process));
}

#[test]
fn a_killed_server_keeps_its_directory_until_the_handle_goes() {
    let mut server = sleeper();
    let (process, directory) = (server.id(), server.directory().to_owned());
    server.kill();
    assert!(!exists(process) && !server.is_running());
    assert!(directory.exists());
    server.replace("sh", ["-c", "echo again; exec sleep 600"]).unwrap();
    assert!(directory.exists());
    wait_until("the successor runs", LIMIT, || server.log() == "again\n");
    server.kill();
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_server_that_ends_by_itself_is_seen() {
    let directory = tempfile_directory();
    let server =
        ServerProcess::start(&directory, "KILL", "sh", ["-c", "echo no >&2; exit 1"]).unwrap();
    wait_until("the server ends", LIMIT, || !server.is_running());
    assert_eq!(server.log(), "no\n");
}

#[test]
fn free_ports_can_be_listened_on() {
    std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
}

/// Run by the next test only: starts a server, says where, and waits to be killed.
#[test]
#[ignore = "the victim of no_server_outlives_a_killed_process"]
fn victim() {
    let server = sleeper();
    let line = format!("\nvictim {} {}\n", server.id(), server.directory().display());
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn no_server_outlives_a_killed_process() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap).find(|line| line.starts_with("victim")).unwrap();
    let mut words = line.split(' ').skip(1);
    let process = words.next().unwrap().parse().unwrap();
    let directory = Path::new(words.next().unwrap());
    assert!(exists(process) && directory.exists());
    // SIGKILL: nothing of the victim runs any more, no destructor and no handler.
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the server is gone", LIMIT, || !exists(process));
    wait_until("its directory is gone", LIMIT, || !directory.exists());
}
