//! Redis killed, frozen, emptied and without its scripts under load.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::AuditLog;
use watchdog_storage::testing::redis::{RedisServer, is_available};

use crate::archive::assert_kept;
use crate::child::{Child, Kind, Work};
use crate::gate::assert_only_archived_ends;
use crate::ledger::{self, Ledger};
use crate::load::{Archiving, Load, Pace, Tally};
use crate::place::{PATIENCE, Place, files, settled};

/// A server that writes every command to its log before it answers.
const PERSISTENT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// A load on three logs over one server, and an archiver.
struct Rig {
    server: RedisServer,
    place: Place,
    logs: Vec<AuditLog>,
    load: Load,
    archiving: Archiving,
    _directory: tempfile::TempDir,
}

impl Rig {
    async fn start(settings: &[&str]) -> Self {
        let server = RedisServer::start_with(settings);
        let directory = tempfile::tempdir().unwrap();
        let place = Place::redis(&directory, &server.url(), 2);
        let mut logs = Vec::new();
        for _ in 0..3 {
            logs.push(place.log().await);
        }
        let ledger = Arc::new(Ledger::open(&place.ledger()));
        let load = Load::start(&logs, &ledger, 0, Pace { tasks: 6, ..Pace::default() });
        let archiving = Archiving::start(&logs[0]);
        let rig = Self { server, place, logs, load, archiving, _directory: directory };
        rig.more(100).await;
        rig
    }

    /// Waits until so many more entries were acknowledged.
    async fn more(&self, count: usize) {
        let wanted = ledger::read(&self.place.ledger()).len() + count;
        let path = self.place.ledger();
        watchdog_storage::testing::eventually("entries are acknowledged", PATIENCE, async || {
            ledger::read(&path).len() >= wanted
        })
        .await;
    }

    async fn restart(&mut self) {
        tokio::task::block_in_place(|| {
            self.server.kill();
            self.server.restart();
        });
        self.more(100).await;
    }

    fn only_archived_ends(&self) {
        assert_only_archived_ends(&mut self.server.control(), &self.place);
    }

    async fn end(self) -> (usize, Tally) {
        let tally = self.load.stop().await;
        self.archiving.stop().await;
        settled(&self.logs.iter().collect::<Vec<_>>(), &self.place).await;
        let kept = assert_kept(&self.logs[0], &self.place).await;
        let lives = assert_only_archived_ends(&mut self.server.control(), &self.place);
        assert_eq!(lives.endless, 0, "everything has passed the gate");
        (kept, tally)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_syncs_always_is_killed_and_nothing_is_lost() {
    if !is_available() {
        return;
    }
    let mut rig = Rig::start(&PERSISTENT).await;
    for _ in 0..3 {
        rig.restart().await;
        rig.only_archived_ends();
    }
    let (kept, tally) = rig.end().await;
    assert!(kept >= 400, "{kept}");
    assert_eq!(kept as u64, tally.acknowledged);
}

/// The end of the log of commands, as a machine loses it that syncs every second.
fn cut_the_log(server: &RedisServer, bytes: u64) -> u64 {
    let directory = server.process().directory().join("appendonlydir");
    let log: Vec<PathBuf> = files(&directory)
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    let log = std::fs::OpenOptions::new().write(true).open(log.last().unwrap()).unwrap();
    let length = log.metadata().unwrap().len();
    let cut = bytes.min(length / 2);
    log.set_len(length - cut).unwrap();
    cut
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_redis_that_syncs_every_second_loses_is_sent_again() {
    if !is_available() {
        return;
    }
    let mut rig = Rig::start(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    for bytes in [7, 5_000, 60_000] {
        tokio::task::block_in_place(|| {
            rig.server.kill();
            assert!(cut_the_log(&rig.server, bytes) > 0);
            rig.server.restart();
        });
        rig.more(100).await;
        rig.only_archived_ends();
    }
    let (kept, tally) = rig.end().await;
    assert_eq!(kept as u64, tally.acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_is_given_everything_again() {
    if !is_available() {
        return;
    }
    let mut rig = Rig::start(&[]).await;
    for _ in 0..2 {
        rig.restart().await;
        rig.only_archived_ends();
    }
    let (kept, tally) = rig.end().await;
    assert_eq!(kept as u64, tally.acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_flushed_under_load_is_given_everything_again() {
    if !is_available() {
        return;
    }
    let rig = Rig::start(&[]).await;
    for _ in 0..4 {
        rig.server.command(&["FLUSHALL"]);
        rig.more(60).await;
        rig.only_archived_ends();
    }
    let (kept, tally) = rig.end().await;
    assert_eq!(kept as u64, tally.acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed_under_load_are_sent_again() {
    if !is_available() {
        return;
    }
    let rig = Rig::start(&[]).await;
    let before = ledger::read(&rig.place.ledger()).len();
    for _ in 0..40 {
        rig.server.command(&["SCRIPT", "FLUSH"]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.more(50).await;
    assert!(ledger::read(&rig.place.ledger()).len() > before + 50);
    let (kept, tally) = rig.end().await;
    assert_eq!((kept as u64, tally.refused.len()), (tally.acknowledged, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_freezes_for_a_while_holds_entries_up_and_loses_none() {
    if !is_available() {
        return;
    }
    let rig = Rig::start(&[]).await;
    rig.server.pause();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    rig.server.resume();
    rig.more(100).await;
    let (kept, tally) = rig.end().await;
    assert_eq!((kept as u64, tally.refused.len()), (tally.acknowledged, 0));
}

/// An archiver that has read a segment, and finds another one under its number at the gate: Redis
/// was emptied in between and has taken as many frames again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_about_a_segment_that_was_flushed_lets_no_other_segment_end() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let old = place.log().await;
    old.record(crate::load::entry(1, 20)).await.unwrap();
    let mut archiver = Child::start(&place, &Work::ArchiveBefore(Kind::Gate));
    assert!(archiver.hears().unwrap().contains("Gate"));
    server.command(&["FLUSHALL"]);
    let new = place.log().await;
    new.record(crate::load::entry(2, 20)).await.unwrap();
    let first = watchdog_audit::segment::SegmentId { partition: 0, number: 1 };
    new.store().seal(first, None).await.unwrap();
    archiver.go_on();
    let outcome = tokio::task::spawn_blocking(move || archiver.hears()).await.unwrap().unwrap();
    assert!(outcome.starts_with("failed"), "{outcome}");
    let lives = assert_only_archived_ends(&mut server.control(), &place);
    assert_eq!((lives.ending, lives.endless), (0, 1));
    let ledger = Ledger::open(&place.ledger());
    ledger.note(2);
    assert_eq!(assert_kept(&new, &place).await, 1);
}
