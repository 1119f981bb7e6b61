//! Attributes under concurrency: no update is lost, none happens twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use watchdog_session::{Changes, ErrorKind, SessionConfig, Sessions};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::shared;

use crate::rig::{Dice, Rig, client};

/// Adds one, however often somebody else was faster. `false` when nobody can tell whether it did.
async fn increment(sessions: &Sessions, session: &watchdog_session::Session) -> bool {
    loop {
        let one_more = |old: Option<u32>| Some(old.unwrap_or(0) + 1);
        match sessions.update(session, "count", one_more).await.map_err(|error| error.kind()) {
            Ok(_) => return true,
            Err(ErrorKind::Conflict) => {}
            Err(ErrorKind::Unavailable) => return false,
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn count(sessions: &Sessions, session: &watchdog_session::Session) -> Option<u32> {
    sessions.attributes(session).await.unwrap().get("count").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t13_a_thousand_concurrent_increments_make_a_thousand() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let peer = rig.peer(&server.url(), |_| ()).await;
    let issued = rig.issue("counter").await;
    let barrier = Arc::new(Barrier::new(20));
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let sessions = if task % 2 == 0 { rig.sessions.clone() } else { peer.clone() };
            let (barrier, token) = (Arc::clone(&barrier), issued.session_token.clone());
            tokio::spawn(async move {
                let session = sessions.authenticate(token.expose(), &client()).await.unwrap();
                barrier.wait().await;
                for _ in 0..50 {
                    assert!(increment(&sessions, &session).await);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count(&rig.sessions, &issued.session).await, Some(1000));
}

/// The same with answers lost, and scripts sent again by the client library, while others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t13_increments_whose_answers_are_lost_happen_once() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let proxy = Arc::new(FaultProxy::start(server.port()).await.unwrap());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let remote = rig.peer(&url, |redis| {
        redis.attempts = 8;
        redis.command_timeout = Duration::from_secs(5);
        redis.reconnect_min = Duration::from_millis(5);
    });
    let remote = remote.await;
    let issued = rig.issue("counter").await;
    let losing = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move {
            loop {
                proxy.set(Fault::LoseReply);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let sessions = if task == 0 { remote.clone() } else { rig.sessions.clone() };
            let session = issued.session.clone();
            let rounds = if task == 0 { 100 } else { 200 };
            tokio::spawn(async move {
                let mut made = 0;
                for _ in 0..rounds {
                    made += u32::from(increment(&sessions, &session).await);
                }
                (made, rounds - made)
            })
        })
        .collect();
    let (mut made, mut unknown) = (0, 0);
    for task in tasks {
        let counted = task.await.unwrap();
        (made, unknown) = (made + counted.0, unknown + counted.1);
    }
    losing.abort();
    assert!(proxy.lost_replies() > 3, "hardly an answer was lost");
    // Each that was acknowledged, and no other twice.
    let total = count(&rig.sessions, &issued.session).await.unwrap();
    assert!((made..=made + unknown).contains(&total), "{made} made, {unknown} unknown: {total}");
    assert!(unknown < made / 10, "hardly anything was acknowledged");
}

/// connect-redis#75: a slow request wrote back the whole session it had read, over what a fast one
/// had changed. Here each attribute is written by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t13_writers_of_different_attributes_do_not_undo_each_other() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let issued = rig.issue("tabs").await;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (sessions, session) = (rig.sessions.clone(), issued.session.clone());
            tokio::spawn(async move {
                for value in 0..10_u32 {
                    sessions.insert(&session, &format!("tab-{task}"), &value).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = rig.sessions.attributes(&issued.session).await.unwrap();
    assert_eq!((all.len(), all.version()), (16, 160));
    for task in 0..16 {
        assert_eq!(all.get::<u32>(&format!("tab-{task}")).unwrap(), Some(9));
    }
}

/// Of several who change the same version as a whole, one wins; the others are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t13_of_many_who_replace_one_version_exactly_one_wins() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let issued = rig.issue("race").await;
    let mut dice = Dice::new(13);
    for round in 0..20 {
        let tasks: Vec<_> = (0..2 + dice.roll(6))
            .map(|task| {
                let (sessions, session) = (rig.sessions.clone(), issued.session.clone());
                tokio::spawn(async move {
                    let changes = Changes::new().insert("winner", &task).unwrap();
                    sessions.replace(&session, round, changes).await
                })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(version) => {
                    assert_eq!(version, round + 1);
                    won += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
            }
        }
        assert_eq!(won, 1, "round {round}");
    }
}
