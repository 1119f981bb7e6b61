//! Probing in the background: bounds in time, isolation, staleness, startup, drain.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::support::{Act, Told};
use tokio::time::sleep;
use watchdog_core::health::{CheckReport, Status};
use watchdog_health::{CheckSpec, ErrorKind, Health, Impact, Probe};

const SECOND: Duration = Duration::from_secs(1);

/// Every 10 s, at most 1 s long, no damping.
fn spec(name: &str) -> CheckSpec {
    CheckSpec::new(name).with_interval(10 * SECOND).with_timeout(SECOND).with_hysteresis(1, 1)
}

/// Waits for real threads to bring something about, 30 s at most.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(30 * SECOND, wait).await.unwrap();
}

fn status(health: &Health, name: &str) -> Status {
    health.check(name).unwrap().status
}

#[tokio::test(start_paused = true)]
async fn a_change_shows_within_interval_and_timeout() {
    let redis = Told::pass();
    let health = Health::builder().check(spec("redis"), redis.port()).build().unwrap();
    health.first_results().await;
    assert_eq!(health.readiness(), Status::Pass);

    redis.now(Act::Hang);
    sleep(11 * SECOND).await;
    assert_eq!(health.readiness(), Status::Fail);
    let output = health.check("redis").unwrap().last.unwrap().output.unwrap();
    assert_eq!(output, "no answer within 1s");

    redis.now(Act::Answer(CheckReport::warn("slow")));
    sleep(11 * SECOND).await;
    assert_eq!(health.readiness(), Status::Warn);
}

#[tokio::test(start_paused = true)]
async fn one_probe_per_interval_and_one_more_within_the_first() {
    let redis = Told::pass();
    let health = Health::builder().check(spec("redis"), redis.port()).build().unwrap();
    sleep(1000 * SECOND).await;
    // At 0, then once in each of the hundred intervals; the last may be just due.
    assert!((100..=102).contains(&redis.probes()), "{} probes", redis.probes());
    drop(health);
    let probes = redis.probes();
    sleep(1000 * SECOND).await;
    assert_eq!(redis.probes(), probes, "the last owner is gone");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_harms_only_itself() {
    let (hangs, panics, works) = (Told::to(Act::Hang), Told::to(Act::Panic), Told::pass());
    let health = Health::builder()
        .check(spec("hangs").with_impact(Impact::Degrading), hangs.port())
        .check(spec("panics").with_impact(Impact::Degrading), panics.port())
        .check(spec("works"), works.port())
        .build()
        .unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(status(&health, "hangs"), Status::Fail);
    assert_eq!(status(&health, "panics"), Status::Fail);
    assert_eq!(status(&health, "works"), Status::Pass);
    assert_eq!(health.liveness(), Status::Pass);
    assert_eq!(health.readiness(), Status::Warn);
    for check in [&hangs, &panics, &works] {
        assert!(check.probes() >= 10, "every check goes on: {}", check.probes());
    }
    panics.now(Act::Answer(CheckReport::pass()));
    sleep(10 * SECOND).await;
    assert_eq!(status(&health, "panics"), Status::Pass, "and recovers");
}

/// Real time and real threads: a blocked thread cannot be simulated. Enough of them that a mistake
/// fails the test instead of blocking it.
#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_check_that_blocks_is_not_started_again_and_harms_only_itself() {
    let millis = Duration::from_millis;
    let (gate, closed) = mpsc::channel();
    let blocks = Told::pass();
    let works = Told::pass();
    let fast = |name| CheckSpec::new(name).with_interval(millis(50)).with_timeout(millis(20));
    let health = Health::builder()
        .check(fast("blocks").with_hysteresis(1, 1), blocks.port())
        .check(fast("works"), works.port())
        .build()
        .unwrap();
    // Every thread is idle when the probe that blocks begins.
    health.first_results().await;
    let before = blocks.probes();
    blocks.now(Act::Block(Arc::new(Mutex::new(closed))));
    until(|| status(&health, "blocks") == Status::Fail).await;
    let ran_on = works.probes() + 5;
    until(|| works.probes() >= ran_on).await;
    // A probe may have begun between the count and the change.
    assert!(blocks.probes() <= before + 2, "one blocked thread is enough");
    assert_eq!(status(&health, "works"), Status::Pass);

    blocks.now(Act::Answer(CheckReport::pass()));
    drop(gate);
    until(|| status(&health, "blocks") == Status::Pass).await;
}

#[tokio::test(start_paused = true)]
async fn hysteresis_damps_the_status_and_shows_the_last_result() {
    let redis = Told::pass();
    let spec = spec("redis").with_hysteresis(3, 2);
    let health = Health::builder().check(spec, redis.port()).build().unwrap();
    sleep(15 * SECOND).await;
    let probes = redis.probes();
    redis.now(Act::Answer(CheckReport::fail("down")));
    while redis.probes() < probes + 2 {
        sleep(SECOND).await;
    }
    let state = health.check("redis").unwrap();
    assert_eq!((state.status, state.last.unwrap().status), (Status::Pass, Status::Fail));
    sleep(10 * SECOND).await;
    assert_eq!(status(&health, "redis"), Status::Fail);
}

#[tokio::test(start_paused = true)]
async fn without_a_result_nothing_passes() {
    let (db, nova) = (Told::to(Act::Hang), Told::to(Act::Hang));
    let degrading = spec("nova").with_impact(Impact::Degrading);
    let health = Health::builder().check(spec("db"), db.port()).build().unwrap();
    assert_eq!(status(&health, "db"), Status::Unknown);
    assert_eq!(health.readiness(), Status::Fail);
    assert_eq!(health.startup(), Status::Fail);
    assert_eq!(health.liveness(), Status::Pass);
    let health = Health::builder().check(degrading, nova.port()).build().unwrap();
    assert_eq!(health.readiness(), Status::Warn);
    assert_eq!(health.startup(), Status::Fail, "not before the first result");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_tell_never_counts_as_a_pass() {
    let told = Told::to(Act::Answer(CheckReport::unknown("no permission to ask")));
    let health = Health::builder().check(spec("redis"), told.port()).build().unwrap();
    health.first_results().await;
    assert_eq!(status(&health, "redis"), Status::Unknown);
    assert_eq!(health.readiness(), Status::Fail);
}

#[tokio::test(start_paused = true)]
async fn startup_passes_once_and_for_good() {
    let (db, other) = (Told::fail(), Told::fail());
    let health = Health::builder()
        .check(spec("db").with_probes([Probe::Startup, Probe::Readiness]), db.port())
        .check(spec("other"), other.port())
        .build()
        .unwrap();
    health.first_results().await;
    assert_eq!(health.startup(), Status::Fail);
    db.now(Act::Answer(CheckReport::pass()));
    sleep(11 * SECOND).await;
    assert_eq!(health.startup(), Status::Pass, "a check for readiness alone does not matter");
    db.now(Act::Answer(CheckReport::fail("down")));
    sleep(11 * SECOND).await;
    assert_eq!(health.readiness(), Status::Fail);
    assert_eq!(health.startup(), Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn draining_fails_readiness_and_nothing_else() {
    let health = Health::builder().check(spec("db"), Told::pass().port()).build().unwrap();
    health.first_results().await;
    assert_eq!(health.readiness(), Status::Pass);
    let clone = health.clone();
    clone.drain();
    assert!(health.is_draining());
    assert_eq!(health.readiness(), Status::Fail);
    assert_eq!(health.liveness(), Status::Pass);
    assert_eq!(health.startup(), Status::Pass);
    assert_eq!(health.overall(), Status::Pass);
}

/// The probing runtime stands still while another one asks: what a management port with a runtime
/// of its own sees when the service is wedged.
#[test]
fn a_stale_result_is_a_failure_and_a_wedged_runtime_is_not_alive() {
    let probing = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let health = probing.block_on(async {
        let health = Health::builder().check(spec("db"), Told::pass().port()).build().unwrap();
        health.first_results().await;
        health
    });
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    asking.block_on(async {
        assert_eq!(health.readiness(), Status::Pass);
        assert_eq!(health.liveness(), Status::Pass);
        tokio::time::advance(15 * SECOND).await;
        assert_eq!(health.liveness(), Status::Fail, "no heartbeat for 10 s");
        assert_eq!(health.readiness(), Status::Pass, "31 s are allowed");
        tokio::time::advance(17 * SECOND).await;
        assert_eq!(health.readiness(), Status::Fail);
        let state = health.check("db").unwrap();
        assert!(state.is_stale());
        assert_eq!(state.last.unwrap().status, Status::Pass);
    });
}

#[tokio::test]
async fn build_refuses_every_mistake_at_once() {
    let check = Told::pass();
    let error = Health::builder()
        .check(spec("db"), check.port())
        .check(spec("db"), check.port())
        .check(spec("no interval").with_interval(Duration::ZERO), check.port())
        .check(spec("slow").with_timeout(10 * SECOND), check.port())
        .with_stall_limit(SECOND)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!error.is_retryable());
    let text = error.to_string();
    for part in [
        "\"db\" is taken twice",
        "\"no interval\" is not",
        "interval of zero",
        "timeout of 10s",
        "stall limit",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn build_needs_a_runtime() {
    let error = Health::builder().check(spec("db"), Told::pass().port()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRuntime);
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_cut() {
    let told = Told::to(Act::Answer(CheckReport::fail("x".repeat(10_000))));
    let health = Health::builder().check(spec("db"), told.port()).build().unwrap();
    health.first_results().await;
    assert!(health.check("db").unwrap().last.unwrap().output.unwrap().len() < 600);
}

#[tokio::test(start_paused = true)]
async fn nothing_registered_is_ready() {
    let health = Health::builder().build().unwrap();
    assert_eq!(health.readiness(), Status::Pass);
    assert_eq!(health.startup(), Status::Pass);
    assert!(health.checks().is_empty());
    let _: Arc<dyn Send> = Arc::new(health);
}
