//! Refreshes by the thousand, with answers lost, calls doubled and answers in any order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use watchdog_session::record::Header;
use watchdog_session::{
    ErrorKind, Rotated, SessionConfig, SessionStore, Sessions, Subject, Verdict,
};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, is_available, shared, shared_cluster};

use crate::rig::{Dice, Rig, client, is_long, sessions_in};

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    granted: AtomicU64,
    graces: AtomicU64,
    unavailable: AtomicU64,
    forgotten: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// Somebody with several tabs who refreshes as long as calls are left.
struct Browser {
    processes: Arc<Vec<Sessions>>,
    counts: Arc<Counts>,
    dice: Dice,
    token: String,
    steps: u32,
}

impl Browser {
    async fn run(mut self, calls: u64) -> Self {
        let mut is_answered = true;
        // A burst that ran and got no answer is asked about once more.
        while self.counts.calls.load(Ordering::Relaxed) < calls || !is_answered {
            let answers = self.burst().await;
            is_answered = !answers.is_empty();
            if !is_answered {
                continue;
            }
            let first = answers[0].refresh_token.expose().to_owned();
            let same = answers.iter().all(|one| one.refresh_token.expose() == first);
            assert!(same, "one token, two successors");
            if self.dice.roll(8) == 0 {
                // All answers are lost on their way to the browser: it has the old token still.
                Counts::add(&self.counts.forgotten, 1);
                let again = self.burst().await;
                assert!(again.iter().all(|one| one.refresh_token.expose() == first));
            }
            // Any of the answers is as good as the first.
            let any = usize::try_from(self.dice.roll(answers.len() as u64)).unwrap();
            answers[any].refresh_token.expose().clone_into(&mut self.token);
            self.steps += 1;
        }
        self
    }

    /// One to four tabs at once, each in whichever process; the answers in any order.
    async fn burst(&mut self) -> Vec<Rotated> {
        let tabs: Vec<_> = (0..=self.dice.roll(4))
            .map(|_| {
                let process = usize::try_from(self.dice.roll(self.processes.len() as u64)).unwrap();
                let (sessions, token) = (self.processes[process].clone(), self.token.clone());
                tokio::spawn(async move { sessions.rotate(&token, &client()).await })
            })
            .collect();
        Counts::add(&self.counts.calls, tabs.len() as u64);
        let mut granted = Vec::new();
        for tab in tabs {
            match tab.await.unwrap() {
                Ok(rotated) => {
                    let is_grace = rotated.verdict == Verdict::Grace;
                    assert!(is_grace || rotated.verdict == Verdict::Rotated);
                    Counts::add(&self.counts.graces, is_grace.into());
                    granted.push(rotated);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                    Counts::add(&self.counts.unavailable, 1);
                }
            }
        }
        Counts::add(&self.counts.granted, granted.len() as u64);
        granted
    }
}

/// Loses answers and holds data back, at random, until it is aborted.
async fn trouble(proxy: Arc<FaultProxy>, mut dice: Dice) {
    loop {
        let millis = |dice: &mut Dice| Duration::from_millis(dice.roll(3));
        match dice.roll(4) {
            0 | 1 => proxy.set(Fault::LoseReply),
            2 => proxy
                .set(Fault::Delay { to_server: millis(&mut dice), to_client: millis(&mut dice) }),
            _ => proxy.set(Fault::Forward),
        }
        tokio::time::sleep(Duration::from_millis(20 + dice.roll(40))).await;
    }
}

/// 5 000 calls; 100 000 with `WD_TEST_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the counts are the result")]
async fn t10_lost_doubled_and_reordered_refreshes_are_never_taken_for_theft() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let calls = if is_long() { 100_000 } else { 5_000 };
    // One process sits beside Redis; one repeats a call by itself, one leaves that to the browser.
    let mut processes = vec![rig.peer(&server.url(), |_| ()).await];
    let (mut proxies, mut troubles) = (Vec::new(), Vec::new());
    for attempts in [1, 2] {
        let proxy = Arc::new(FaultProxy::start(server.port()).await.unwrap());
        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let process = rig.peer(&url, |redis| {
            redis.attempts = attempts;
            redis.reconnect_min = Duration::from_millis(5);
            redis.reconnect_max = Duration::from_millis(20);
        });
        processes.push(process.await);
        troubles.push(tokio::spawn(trouble(Arc::clone(&proxy), Dice::new(attempts.into()))));
        proxies.push(proxy);
    }
    let (processes, counts) = (Arc::new(processes), Arc::new(Counts::default()));
    let start = Instant::now();
    let mut browsers = Vec::new();
    for seed in 0..40 {
        let user = Subject::user(format!("user-{}", seed / 4));
        let issued = processes[0].issue(user, &client()).await.unwrap();
        let browser = Browser {
            processes: Arc::clone(&processes),
            counts: Arc::clone(&counts),
            dice: Dice::new(seed),
            token: issued.refresh_token.expose().to_owned(),
            steps: 0,
        };
        browsers.push((rig.place(&issued), issued, tokio::spawn(browser.run(calls))));
    }
    let mut ended = Vec::new();
    for (place, issued, browser) in browsers {
        ended.push((place, issued, browser.await.unwrap()));
    }
    let (elapsed, lost) =
        (start.elapsed(), proxies.iter().map(|it| it.lost_replies()).sum::<u64>());
    troubles.iter().for_each(tokio::task::JoinHandle::abort);
    let steps: u64 = ended.iter().map(|(_, _, browser)| u64::from(browser.steps)).sum();
    println!("{counts:?}, lost answers {lost}, generations {steps}, false thefts 0, {elapsed:?}");
    assert!(lost > 10 && counts.graces.load(Ordering::Relaxed) > 100, "no trouble was met");
    for (index, (place, issued, browser)) in ended.iter().enumerate() {
        // Exactly one generation lives: one record, as many steps as the browser took.
        let record = rig.store.read(place).await.unwrap().record.unwrap();
        assert_eq!(Header::decode(&record).unwrap().generation, browser.steps);
        let next = rig.sessions.rotate(&browser.token, &client()).await.unwrap();
        assert_eq!(next.verdict, Verdict::Rotated);
        assert_eq!(sessions_in(&mut server.control(), &rig.users_key(*place)).len(), 4 - index % 4);
        let first = rig.sessions.rotate(issued.refresh_token.expose(), &client()).await;
        assert_eq!(first.unwrap_err().kind(), ErrorKind::Reused);
    }
}

/// Fifty calls with one token, over two processes: one step, one successor, on a Cluster too.
async fn fifty_at_once(url: &str) {
    let rig = Rig::start(url, SessionConfig::default()).await;
    let processes = [rig.peer(url, |_| ()).await, rig.peer(url, |_| ()).await];
    let issued = rig.issue("parallel").await;
    let barrier = Arc::new(Barrier::new(50));
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let (sessions, barrier) = (processes[task % 2].clone(), Arc::clone(&barrier));
            let token = issued.refresh_token.clone();
            tokio::spawn(async move {
                barrier.wait().await;
                sessions.rotate(token.expose(), &client()).await.unwrap()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let count = |wanted| answers.iter().filter(|one| one.verdict == wanted).count();
    assert_eq!((count(Verdict::Rotated), count(Verdict::Grace)), (1, 49));
    let successor = answers[0].refresh_token.expose();
    assert!(answers.iter().all(|one| one.refresh_token.expose() == successor));
    let record = rig.store.read(&rig.place(&issued)).await.unwrap().record.unwrap();
    assert_eq!(Header::decode(&record).unwrap().generation, 1);
    let token = issued.session_token.expose();
    assert!(rig.sessions.authenticate(token, &client()).await.is_ok());
    let next = processes[0].rotate(successor, &client()).await.unwrap();
    assert_eq!(next.verdict, Verdict::Rotated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t09_fifty_parallel_refreshes_are_one_step_with_one_successor() {
    let Some(server) = shared() else { return };
    fifty_at_once(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t09_fifty_parallel_refreshes_are_one_step_on_a_cluster_too() {
    let Some(cluster) = shared_cluster() else { return };
    fifty_at_once(&cluster.url()).await;
}
