//! The process is killed at whatever moment: nothing is left in Redis that would stay for ever.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use watchdog_session::{Changes, Regeneration, RevokeReason, SessionConfig, Subject};
use watchdog_storage::testing::redis::{Control, RedisServer, Reply, is_available};

use crate::rig::{Dice, Rig, client, is_long};

const CHILD: &str = "crash::t14_child";
const TARGET: &str = "WD_ATTACK_TARGET";
const READY: &str = "the child is at work";

/// Uses sessions in every way until it is killed. On its own it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that t14 starts and kills"]
#[expect(clippy::disallowed_methods, reason = "how the test tells its child where Redis is")]
#[expect(clippy::print_stdout, reason = "how the child tells the test that it is at work")]
async fn t14_child() {
    let Ok(url) = std::env::var(TARGET) else { return };
    // It ends with the process that started it, however that ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().lines().count();
        std::process::exit(1);
    });
    let config = SessionConfig { concurrent_limit: 3, ..SessionConfig::default() };
    let rig = Rig::start(&url, config).await;
    for task in 0..6_u64 {
        let sessions = rig.sessions.clone();
        tokio::spawn(async move {
            let mut dice = Dice::new(u64::from(std::process::id()) * 8 + task);
            loop {
                at_work(&sessions, &mut dice).await;
                if task == 0 {
                    println!("{READY}");
                }
            }
        });
    }
    std::future::pending::<()>().await;
}

/// One session's life, with everything that can happen in it.
async fn at_work(sessions: &watchdog_session::Sessions, dice: &mut Dice) {
    let user = format!("user-{}", dice.roll(4));
    let Ok(issued) = sessions.issue(Subject::user(&user), &client()).await else { return };
    let (mut session, mut token) = (issued.session, issued.refresh_token);
    for _ in 0..dice.roll(12) {
        match dice.roll(9) {
            0 | 1 => drop(sessions.insert(&session, "cart", &dice.roll(9)).await),
            2 => {
                let changes = Changes::new().insert("one", &1).unwrap().remove("cart");
                drop(sessions.replace(&session, dice.roll(3), changes).await);
            }
            3 => drop(sessions.clear(&session).await),
            4 | 5 => {
                if let Ok(rotated) = sessions.rotate(token.expose(), &client()).await {
                    token = rotated.refresh_token;
                }
            }
            6 => {
                let change = Regeneration::privilege_change();
                if let Ok(new) = sessions.regenerate(&session, change, &client()).await {
                    (session, token) = (new.session, new.refresh_token);
                }
            }
            7 => drop(sessions.revoke_others(&session, RevokeReason::User, &client()).await),
            _ => drop(sessions.list(&user).await),
        }
    }
    match dice.roll(4) {
        0 => drop(sessions.revoke_all(&user, RevokeReason::Administrator, &client()).await),
        1 => drop(sessions.revoke(&session, RevokeReason::Logout).await),
        _ => {}
    }
}

/// Looks at every key: all but streams and counters end by themselves, and no attributes are left of
/// a session that is not there.
fn audit(control: &mut Control, round: u64) -> usize {
    let Reply::List(keys) = control.command(&["KEYS", "*"]).unwrap() else { return 0 };
    for key in &keys {
        let key = key.text();
        let kind = key.split(':').nth(1).unwrap();
        let ttl: i64 = control.command(&["PTTL", key]).unwrap().text().parse().unwrap();
        if ["ev", "ed"].contains(&kind) {
            assert_eq!(ttl, -1, "round {round}: {key}");
            continue;
        }
        assert!(ttl > 0, "round {round}: {key} lives for ever ({ttl})");
        if kind == "d" {
            let (users, session) = key.rsplit_once(':').unwrap();
            let users = users.replacen(":d:", ":u:", 1);
            let held = control.command(&["HEXISTS", &users, &format!("s:{session}")]).unwrap();
            assert_eq!(held.text(), "1", "round {round}: {key} belongs to no session");
        }
    }
    keys.len()
}

/// 25 rounds; 300 with `WD_TEST_LONG=1`.
#[test]
fn t14_a_process_killed_at_any_moment_leaves_no_key_for_ever_and_no_orphan() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let mut control = server.control();
    let (mut dice, mut most) = (Dice::new(14), 0);
    for round in 0..if is_long() { 300 } else { 25 } {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .env(TARGET, server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().map_while(Result::ok).any(|line| line.contains(READY)));
        std::thread::sleep(Duration::from_micros(dice.roll(40_000)));
        // SIGKILL: no destructor runs, no reply is awaited.
        child.kill().unwrap();
        child.wait().unwrap();
        most = most.max(audit(&mut control, round));
    }
    assert!(most > 20, "hardly anything happened: {most} keys");
}
