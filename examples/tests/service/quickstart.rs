//! The quickstart as a newcomer runs it: embedded, and with variables that name real servers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use watchdog_storage::testing::require;

use crate::running::program;
use crate::servers::RealServers;

fn quickstart(variables: &BTreeMap<&str, String>, folder: &Path) -> String {
    let output = Command::new(program("quickstart"))
        .env_clear()
        .envs(variables)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

fn assert_the_whole_path(text: &str) {
    for step in [
        "issued       session",
        "forged       session token does not verify",
        "the same for both: true",
        "refused      refresh token was replaced before; the session is revoked",
        "session.refresh_token_reused",
        "archived     ",
        "every object, hash and signature, sound: true",
        "found        AlteredObject",
        "mended       sound: true",
        "ready        pass",
    ] {
        assert!(text.contains(step), "{step} is not in\n{text}");
    }
}

#[test]
fn the_quickstart_needs_no_server_and_ends_in_under_a_second() {
    let folder = tempfile::tempdir().unwrap();
    // The first run reads the program from the disk.
    assert_the_whole_path(&quickstart(&BTreeMap::new(), folder.path()));
    let quickest = (0..3)
        .map(|_| {
            let started = Instant::now();
            quickstart(&BTreeMap::new(), folder.path());
            started.elapsed()
        })
        .min();
    assert!(quickest < Some(Duration::from_secs(1)), "{quickest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_does_the_same_on_redis_postgres_and_s3() {
    if !require("redis-server", "the_quickstart_does_the_same_on_redis_postgres_and_s3") {
        return;
    }
    let Some(servers) = RealServers::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    // Twice: the second run meets what the first has left on the servers.
    for _ in 0..2 {
        let (variables, folder) = (servers.variables(), folder.path().to_owned());
        let run = tokio::task::spawn_blocking(move || quickstart(&variables, &folder));
        let text = run.await.unwrap();
        assert_the_whole_path(&text);
        for line in
            ["sessions     Redis", "audit log    Redis", "archive      S3", "db           pass"]
        {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
