//! The examples of sessions as a reader runs them: no server, no variable, an end by themselves.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::running::program;

/// Each drives itself over HTTP and fails when an answer is not the one it explains.
fn run(example: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output =
        Command::new(program(example)).env_clear().current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it leaves nothing behind");
    text
}

fn assert_lines(text: &str, lines: &[&str]) {
    let mut rest = text.lines();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let is_it = |shown: &str| {
            let shown: Vec<_> = shown.split_whitespace().collect();
            shown.windows(words.len()).any(|window| window == words)
        };
        assert!(rest.any(is_it), "{line:?} is not there, or out of order, in\n{text}");
    }
}

#[test]
fn cookie_sessions_keep_a_cart_and_refuse_planted_and_old_cookies() {
    assert_lines(
        &run("cookie_sessions"),
        &[
            "GET /cart 401",
            "POST /login 401",
            "POST /login 200",
            "alice GET / 200 Good day, alice.",
            "alice GET /cart 200 2 in the cart",
            "POST /login 200",
            "tab two GET /cart 401",
            "tab two GET /cart 401",
            "POST /logout 200",
            "tab two GET /cart 401",
        ],
    );
}

#[test]
fn step_up_asks_for_the_password_and_kills_the_old_cookie() {
    assert_lines(
        &run("step_up"),
        &[
            "POST /mail 200",
            "GET /account 200",
            "POST /mail 401 {\"error\":\"step_up_required\"}",
            "POST /reauthenticate 401",
            "POST /reauthenticate 200",
            "POST /mail 200",
            "thief GET /account 401",
        ],
    );
}

#[test]
fn the_device_list_shows_three_devices_and_ends_them() {
    assert_lines(
        &run("device_list"),
        &[
            "laptop GET /devices 200",
            "404",
            "204",
            "phone GET /devices 401",
            "laptop DELETE /devices/others 200 {\"ended\":1}",
            "tablet GET /devices 401",
            "bob DELETE /users/alice/sessions 403",
            "root DELETE /users/alice/sessions 200 {\"ended\":1}",
            "laptop GET /devices 401",
            "bob GET /devices 200",
        ],
    );
}

#[test]
fn the_audit_archive_shows_how_far_it_is_and_holds_every_entry() {
    assert_lines(
        &run("audit_archive"),
        &[
            "1000 entries, each acknowledged",
            "[##############################]",
            "1000 entries in",
            "0 entries: nothing is there twice",
            "security",
        ],
    );
}

#[test]
fn the_audit_verification_names_what_was_altered() {
    assert_lines(
        &run("audit_verify"),
        &["manifests", "sound: 1000 entries", "found:", "found:", "sound: true"],
    );
}

#[test]
fn the_audit_erasure_leaves_an_archive_that_verifies() {
    assert_lines(
        &run("audit_erase"),
        &[
            "carol's readable: 110",
            "keys destroyed: 1",
            "carol's readable: 0",
            "sound: true, 300 entries",
        ],
    );
}

#[test]
fn the_audit_query_pages_over_archive_and_store() {
    assert_lines(
        &run("audit_query"),
        &[
            "25 entries,",
            "25 entries,",
            "25 entries,",
            "alice",
            "Authentication: Logon",
            "watchdog.audit.v1.auth.login",
        ],
    );
}
