//! The concurrent limit, as any reader sees it at any instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::Barrier;
use watchdog_session::testing::{Sample, time_of};
use watchdog_session::{SessionConfig, SessionStore, Subject};
use watchdog_storage::testing::redis::{Control, shared};

use crate::rig::{Rig, client, sessions_in};

/// Counts the sessions of a user without pause, on a connection of its own.
struct Watcher {
    stop: Arc<AtomicBool>,
    samples: Arc<AtomicU64>,
    thread: JoinHandle<usize>,
}

impl Watcher {
    fn start(port: u16, key: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(AtomicU64::new(0));
        let (seen, taken) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = std::thread::spawn(move || {
            let mut control = Control::connect(port).unwrap();
            let mut most = 0;
            while !seen.load(Ordering::Relaxed) {
                most = most.max(sessions_in(&mut control, &key).len());
                taken.fetch_add(1, Ordering::Relaxed);
            }
            most
        });
        Self { stop, samples, thread }
    }

    /// The most sessions seen at once.
    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t12_parallel_logins_never_exceed_the_limit_at_any_instant() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let peers = [
        rig.peer(&server.url(), |_| ()).await,
        rig.peer(&server.url(), |_| ()).await,
        rig.sessions.clone(),
    ];
    let first = rig.issue("crowd").await;
    let key = rig.users_key(rig.place(&first));
    let watcher = Watcher::start(server.port(), key.clone());
    let barrier = Arc::new(Barrier::new(60));
    let tasks: Vec<_> = (0..60)
        .map(|task| {
            let (sessions, barrier) = (peers[task % 3].clone(), Arc::clone(&barrier));
            let samples = Arc::clone(&watcher.samples);
            tokio::spawn(async move {
                barrier.wait().await;
                let mut last = None;
                // Until the watcher has looked often enough, however slow the machine is.
                let mut round = 0;
                while round < 10 || samples.load(Ordering::Relaxed) <= 20 {
                    round += 1;
                    last = Some(sessions.issue(Subject::user("crowd"), &client()).await.unwrap());
                }
                last.unwrap()
            })
        })
        .collect();
    let mut alive = 0;
    let mut issued = Vec::new();
    for task in tasks {
        issued.push(task.await.unwrap());
    }
    assert_eq!(watcher.finish(), 5);
    let left = sessions_in(&mut server.control(), &key);
    for one in &issued {
        let answer = peers[0].authenticate(one.session_token.expose(), &client()).await;
        assert_eq!(answer.is_ok(), left.contains(&one.session.id().to_string()));
        alive += u32::from(answer.is_ok());
    }
    assert_eq!(left.len(), 5);
    assert!(alive >= 1);
}

/// OpenTranscribe#632: the limit was 5 and 1 364 sessions lived, since each login removed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t12_one_login_brings_five_hundred_sessions_down_to_the_limit() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let first = rig.issue("hoarder").await;
    let place = rig.place(&first);
    let now = time_of(&*rig.store).await;
    for age in 0..500 {
        let mut old = Sample::new(place.location, now).older_by(50_000 - age);
        old.header.common.last_seen -= age;
        rig.store.create(&old.create(10_000)).await.unwrap();
    }
    let key = rig.users_key(place);
    assert_eq!(sessions_in(&mut server.control(), &key).len(), 501);
    let newest = rig.issue("hoarder").await;
    let left = sessions_in(&mut server.control(), &key);
    assert_eq!(left.len(), 5);
    assert!(left.contains(&newest.session.id().to_string()));
    assert!(left.contains(&first.session.id().to_string()), "the newest stay");
    let token = newest.session_token.expose();
    assert!(rig.sessions.authenticate(token, &client()).await.is_ok());
}
