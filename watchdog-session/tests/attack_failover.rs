//! Primaries die while sessions are in use: what was acknowledged and replicated holds, nobody is
//! taken for a thief, and the outage ends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests state what they expect")]
#![expect(clippy::print_stdout, reason = "the counts are the result")]

#[path = "support/failover.rs"]
mod failover;
#[path = "support/rig.rs"]
#[expect(dead_code, reason = "shared with the other attacks, which need more of it")]
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use watchdog_session::{
    ErrorKind, Issued, RefreshToken, RevokeReason, SessionConfig, Sessions, Verdict,
};
use watchdog_storage::redis::RedisConfig;
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{RedisCluster, RedisSentinel, is_available};

use failover::{Deployment, quick};
use rig::{Rig, client};

/// Longest outage after a primary died, of which the servers take 2 to 3 s themselves.
const OUTAGE: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
struct Counts {
    granted: AtomicU64,
    repaired: AtomicU64,
    unavailable: AtomicU64,
    false_thefts: AtomicU64,
    lost_sessions: AtomicU64,
    longest_gap_ms: AtomicU64,
    longest_call_ms: AtomicU64,
    probes_refused: AtomicU64,
    probes_unavailable: AtomicU64,
    probes_accepted: AtomicU64,
}

impl Counts {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    fn longest(counter: &AtomicU64, since: Instant) {
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap();
        counter.fetch_max(millis, Ordering::Relaxed);
    }
}

/// Refreshes without pause until it is told to stop.
async fn browse(
    sessions: Sessions,
    mut token: RefreshToken,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) -> RefreshToken {
    let mut last_success = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let answer = sessions.rotate(token.expose(), &client()).await;
        Counts::longest(&counts.longest_call_ms, start);
        match answer.map_err(|error| error.kind()) {
            Ok(rotated) => {
                Counts::longest(&counts.longest_gap_ms, last_success);
                last_success = Instant::now();
                Counts::count(&counts.granted);
                if rotated.verdict == Verdict::Repaired {
                    Counts::count(&counts.repaired);
                }
                token = rotated.refresh_token;
            }
            Err(ErrorKind::Unavailable) => Counts::count(&counts.unavailable),
            Err(ErrorKind::Reused) => {
                Counts::count(&counts.false_thefts);
                return token;
            }
            Err(ErrorKind::Gone) => {
                Counts::count(&counts.lost_sessions);
                return token;
            }
            Err(other) => panic!("{other:?}"),
        }
        // A failover loses what the replica had not yet: no client refreshes more often in that time
        // than the store takes for repairable.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    token
}

/// Presents the tokens of revoked sessions without pause.
async fn probe(
    sessions: Sessions,
    revoked: Vec<Issued>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        for issued in &revoked {
            let by_session =
                sessions.authenticate(issued.session_token.expose(), &client()).await.err();
            let by_refresh = sessions.rotate(issued.refresh_token.expose(), &client()).await.err();
            for error in [by_session, by_refresh] {
                match error.map(|error| error.kind()) {
                    None => Counts::count(&counts.probes_accepted),
                    Some(ErrorKind::Gone) => Counts::count(&counts.probes_refused),
                    Some(ErrorKind::Unavailable) => Counts::count(&counts.probes_unavailable),
                    Some(other) => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Sessions whose revocation was acknowledged and has reached the replicas.
async fn revoked(rig: &Rig, deployment: &Deployment) -> Vec<Issued> {
    let mut revoked = Vec::new();
    for user in 0..20 {
        let issued = rig.issue(&format!("revoked-{user}")).await;
        assert!(rig.sessions.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
        deployment.replicated(rig.place(&issued));
        revoked.push(issued);
    }
    revoked
}

async fn failover_under_load(mut deployment: Deployment) {
    let rig = Rig::start(&deployment.url(), SessionConfig::default()).await;
    let processes =
        [rig.peer(&deployment.url(), quick).await, rig.peer(&deployment.url(), quick).await];
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let revoked = revoked(&rig, &deployment).await;
    let mut browsers = Vec::new();
    let mut issued = Vec::new();
    for user in 0..24_usize {
        let one = rig.issue(&format!("browser-{user}")).await;
        deployment.replicated(rig.place(&one));
        let (sessions, token) = (processes[user % 2].clone(), one.refresh_token.clone());
        browsers.push(tokio::spawn(browse(
            sessions,
            token,
            Arc::clone(&counts),
            Arc::clone(&stop),
        )));
        issued.push(one);
    }
    let probes: Vec<_> = processes
        .iter()
        .map(|sessions| {
            let (counts, stop) = (Arc::clone(&counts), Arc::clone(&stop));
            tokio::spawn(probe(sessions.clone(), revoked.clone(), counts, stop))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = Counts::read(&counts.granted);
    let killed = deployment.kill_primary_of(rig.place(&issued[0]));
    // Served again: also the users of the shard that died.
    eventually("everybody is served again", OUTAGE, async || {
        let mut all = true;
        for one in &issued {
            let token = one.session_token.expose();
            all &= processes[0].authenticate(token, &client()).await.is_ok();
        }
        all
    })
    .await;
    let outage = killed.elapsed();
    deployment.restart_killed();
    deployment.is_whole_again();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    for probe in probes {
        probe.await.unwrap();
    }
    let mut tokens = Vec::new();
    for browser in browsers {
        tokens.push(browser.await.unwrap());
    }
    println!("{}: served again after {outage:?}; {counts:?}", deployment.name());
    assert_eq!(Counts::read(&counts.probes_accepted), 0, "a revoked session was accepted");
    assert_eq!(Counts::read(&counts.false_thefts), 0, "somebody was taken for a thief");
    assert_eq!(Counts::read(&counts.lost_sessions), 0, "a session was lost");
    assert!(Counts::read(&counts.probes_refused) > 100);
    assert!(Counts::read(&counts.granted) > before + 100, "hardly anything went on");
    assert!(u128::from(Counts::read(&counts.longest_gap_ms)) < OUTAGE.as_millis());
    // A call answers within its timeout of a second, however bad the times.
    assert!(Counts::read(&counts.longest_call_ms) < 3_000);
    for (one, token) in issued.iter().zip(tokens) {
        let next = processes[1].rotate(token.expose(), &client()).await.unwrap();
        assert!(next.verdict.is_granted());
        let session = one.session_token.expose();
        assert!(processes[1].authenticate(session, &client()).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_failover_of_a_cluster_under_load() {
    if is_available() {
        failover_under_load(Deployment::Cluster(RedisCluster::start())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_failover_under_sentinel_under_load() {
    if is_available() {
        failover_under_load(Deployment::Sentinel(RedisSentinel::start())).await;
    }
}

/// Replication breaks, the primary acknowledges five rotations that nobody else ever sees, and dies.
async fn rotations_are_lost(mut deployment: Deployment) {
    let rig = Rig::start(&deployment.url(), SessionConfig::default()).await;
    let process = rig.peer(&deployment.url(), quick).await;
    let issued = rig.issue("alice").await;
    let kept = rig.sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    deployment.replicated(rig.place(&issued));
    let primary = deployment.cut_replication_of(rig.place(&issued));
    let mut newest = kept.refresh_token.clone();
    for _ in 0..5 {
        let rotated = rig.sessions.rotate(newest.expose(), &client()).await.unwrap();
        assert_eq!(rotated.verdict, Verdict::Rotated);
        newest = rotated.refresh_token;
    }
    deployment.kill(primary);
    let mut verdict = None;
    eventually("the newest token is taken", OUTAGE, async || {
        match process.rotate(newest.expose(), &client()).await {
            Ok(rotated) => {
                verdict = Some(rotated.verdict);
                newest = rotated.refresh_token;
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                false
            }
        }
    })
    .await;
    assert_eq!(verdict, Some(Verdict::Repaired));
    let next = process.rotate(newest.expose(), &client()).await.unwrap();
    assert_eq!(next.verdict, Verdict::Rotated);
    let session = issued.session_token.expose();
    assert!(process.authenticate(session, &client()).await.is_ok());
    // What the replica held is an old token now: whoever has it is a thief.
    let error = process.rotate(kept.refresh_token.expose(), &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_rotations_lost_in_a_cluster_failover_are_repaired() {
    if is_available() {
        rotations_are_lost(Deployment::Cluster(RedisCluster::start())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_rotations_lost_in_a_sentinel_failover_are_repaired() {
    if is_available() {
        rotations_are_lost(Deployment::Sentinel(RedisSentinel::start())).await;
    }
}

/// A primary is frozen, not dead: a replica takes over, the session is revoked there, and the old
/// primary wakes up with its old memory. What it still answers, and for how long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_a_primary_that_was_frozen_does_not_accept_revoked_sessions_for_long() {
    if !is_available() {
        return;
    }
    let deployment = Deployment::Cluster(RedisCluster::start());
    let rig = Rig::start(&deployment.url(), SessionConfig::default()).await;
    // A process that has not called anybody since before the failover.
    let idle = rig.peer(&deployment.url(), quick).await;
    let issued = rig.issue("alice").await;
    let token = issued.session_token.expose().to_owned();
    assert!(idle.authenticate(&token, &client()).await.is_ok());
    deployment.replicated(rig.place(&issued));
    let frozen = deployment.primary_of(rig.place(&issued));
    frozen.pause();
    deployment.has_taken_over_from(frozen);
    // A process that was started since knows the new primary only.
    eventually("the session is revoked at the new primary", OUTAGE, async || {
        let impatient =
            |redis: &mut RedisConfig| redis.connect_timeout = Duration::from_millis(500);
        let Ok(fresh) = rig.try_peer(&deployment.url(), impatient).await else { return false };
        fresh.revoke(&issued.session, RevokeReason::Logout).await.is_ok()
    })
    .await;
    // A call is on its way to the frozen one when it wakes up.
    let first = tokio::spawn({
        let (idle, token) = (idle.clone(), token.clone());
        async move { idle.authenticate(&token, &client()).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    frozen.resume();
    let woken = Instant::now();
    let (mut accepted, mut last) = (u32::from(first.await.unwrap()), Duration::ZERO);
    while woken.elapsed() < Duration::from_millis(1500) {
        if idle.authenticate(&token, &client()).await.is_ok() {
            (accepted, last) = (accepted + 1, woken.elapsed());
        }
    }
    println!("frozen primary: {accepted} answers from its old memory, the last after {last:?}");
    assert!(last < Duration::from_secs(1), "a revoked session lived for {last:?}");
    let error = idle.authenticate(&token, &client()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
}

/// The host of a primary hangs or loses its network: nothing closes the connections. A process with
/// traffic on them has to find the replica that took over, as one without traffic does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t49_a_primary_that_hangs_is_left_for_the_one_that_took_over() {
    if !is_available() {
        return;
    }
    let deployment = Deployment::Cluster(RedisCluster::start());
    let rig = Rig::start(&deployment.url(), SessionConfig::default()).await;
    let process = rig.peer(&deployment.url(), quick).await;
    let issued = rig.issue("alice").await;
    deployment.replicated(rig.place(&issued));
    let token = issued.session_token.expose();
    assert!(process.authenticate(token, &client()).await.is_ok());
    let frozen = deployment.primary_of(rig.place(&issued));
    frozen.pause();
    let start = Instant::now();
    eventually("sessions are served again", OUTAGE, async || {
        process.authenticate(token, &client()).await.is_ok()
    })
    .await;
    println!("hanging primary: served again after {:?}", start.elapsed());
    frozen.resume();
}

/// Replication breaks, the primary acknowledges a revocation that nobody else ever sees, and dies.
/// The process that revoked remembers it for a minute and asserts it again at the new primary.
async fn a_revocation_is_lost(mut deployment: Deployment) {
    let rig = Rig::start(&deployment.url(), SessionConfig::default()).await;
    let process = rig.peer(&deployment.url(), quick).await;
    let other = rig.peer(&deployment.url(), quick).await;
    let issued = rig.issue("alice").await;
    deployment.replicated(rig.place(&issued));
    let primary = deployment.cut_replication_of(rig.place(&issued));
    assert!(process.revoke(&issued.session, RevokeReason::Logout).await.unwrap());
    deployment.kill(primary);
    let killed = Instant::now();
    let mut accepted = 0;
    eventually("the session is revoked at the new primary too", OUTAGE, async || {
        let token = issued.session_token.expose();
        // Whoever revoked never takes it again, whatever the new primary says.
        let own = process.authenticate(token, &client()).await.unwrap_err().kind();
        assert!(matches!(own, ErrorKind::Gone | ErrorKind::Unavailable), "{own:?}");
        match other.authenticate(token, &client()).await.map_err(|error| error.kind()) {
            Ok(_) => accepted += 1,
            Err(ErrorKind::Unavailable) => {}
            Err(ErrorKind::Gone) => return true,
            Err(other) => panic!("{other:?}"),
        }
        false
    })
    .await;
    let (name, after) = (deployment.name(), killed.elapsed());
    println!("{name}: revoked again {after:?} after the crash, accepted {accepted} times before");
    for sessions in [&process, &other] {
        let error = sessions.rotate(issued.refresh_token.expose(), &client()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_a_revocation_lost_in_a_cluster_failover_is_asserted_again() {
    if is_available() {
        a_revocation_is_lost(Deployment::Cluster(RedisCluster::start())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_a_revocation_lost_in_a_sentinel_failover_is_asserted_again() {
    if is_available() {
        a_revocation_is_lost(Deployment::Sentinel(RedisSentinel::start())).await;
    }
}
