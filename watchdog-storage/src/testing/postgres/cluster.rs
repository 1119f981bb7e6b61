//! The files of a server.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::server::{APP_PASSWORD, APP_USER};

/// The user that runs the servers where this process is root.
const USER: &str = "postgres";

/// Who may sign in how: the role of the tests with a password, everybody else without.
const SIGN_IN: &str = "\
host all APP_USER 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
";

/// The path of a program of PostgreSQL, or its name where it is on the path at best.
pub(super) fn program(name: &str) -> String {
    installed(name).map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

/// The newest version; Debian keeps the programs off the path.
fn installed(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.is_file().then_some((version, path))
        })
        .max()
        .map(|(_, path)| path)
}

/// The words that run a program of PostgreSQL as somebody who is not root.
pub(super) fn as_user(name: &str) -> Vec<String> {
    let program = program(name);
    if !is_root() {
        return vec![program];
    }
    let mut words: Vec<String> =
        ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"].map(String::from).into();
    words.push(program);
    words
}

/// Gives a file or directory to the user that runs the servers, closed to everybody else.
pub(super) fn hand_over(path: &Path, mode: &str) {
    run("chmod", &[mode, &text(path)], None);
    if is_root() {
        run("chown", &["-R", &format!("{USER}:"), &text(path)], None);
    }
}

/// Makes the files of a server in `data` inside of `directory`.
pub(super) fn create(directory: &Path) -> PathBuf {
    let data = directory.join("data");
    make_directory(&data);
    hand_over(&data, "700");
    run_as_user(
        "initdb",
        &["-D", &text(&data), "-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8"],
        None,
    );
    let sign_in = SIGN_IN.replace("APP_USER", APP_USER);
    write(&data.join("pg_hba.conf"), &sign_in);
    let role = format!("CREATE ROLE {APP_USER} LOGIN PASSWORD '{APP_PASSWORD}'\n");
    run_as_user(
        "postgres",
        &["--single", "-F", "-D", &text(&data), "-c", "log_min_messages=error", USER],
        Some(&role),
    );
    data
}

#[expect(clippy::expect_used, reason = "a test without its server should stop")]
pub(super) fn write(path: &Path, content: &str) {
    std::fs::write(path, content).expect("the directory of the test can be written");
}

#[expect(clippy::expect_used, reason = "a test without its server should stop")]
fn make_directory(path: &Path) {
    std::fs::create_dir(path).expect("the directory of the test can be written");
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run_as_user(name: &str, args: &[&str], input: Option<&str>) {
    let words = as_user(name);
    let args: Vec<&str> = words.iter().skip(1).map(String::as_str).chain(args.to_vec()).collect();
    run(words.first().map_or(name, String::as_str), &args, input);
}

/// Runs a program and returns what it printed.
#[expect(clippy::panic, clippy::expect_used, reason = "a test without its server should stop")]
pub(super) fn run(program: &str, args: &[&str], input: Option<&str>) -> String {
    let mut child = Command::new(program)
        .args(args)
        // A directory that every user may enter.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.unwrap_or_default().as_bytes()).expect("the program reads");
    }
    let output = child.wait_with_output().expect("the program ends");
    if !output.status.success() {
        panic!("{program} {args:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
