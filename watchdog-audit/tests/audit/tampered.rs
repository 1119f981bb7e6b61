//! What can be done to tree, checkpoint and keys, and to the whole log at once, is named too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use watchdog_audit::{
    AuditLog, Checkpoint, EmbeddedStore, ErrorKind, Fault, FaultKind, Manifest, PublicKey,
    VerifyOptions,
};
use watchdog_core::testing::ManualClock;
use watchdog_core::{Clock, RootKeys};
use watchdog_storage::objects::Objects;

use crate::archive::files;
use crate::bench::{clocked, entry, keys, log, memory, record};
use crate::mutation::Restored;

/// A log in a directory.
pub(crate) struct Log {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) log: AuditLog,
    pub(crate) clock: ManualClock,
}

impl Log {
    /// Archived in steps of so many entries, an hour apart.
    pub(crate) async fn new(steps: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        let bucket = Objects::local(directory.path()).unwrap();
        let log = clocked(memory(), &bucket, &clock).await;
        let log = Self { directory, log, clock };
        for step in steps {
            log.archive(*step).await;
        }
        assert_eq!(log.log.verify().await.unwrap().fault, None);
        log
    }

    pub(crate) async fn archive(&self, count: u64) {
        let made = (0..count).map(|n| self.log.record(entry(n)));
        futures::future::try_join_all(made).await.unwrap();
        self.log.seal_and_archive().await.unwrap();
        self.clock.advance(Duration::from_secs(3600));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("audit/v1").join(name)
    }

    pub(crate) fn manifest(&self, number: u64) -> PathBuf {
        self.path(&format!("manifest/{number:020}.jsonl"))
    }

    fn tiles(&self) -> Vec<PathBuf> {
        files(&self.path("log/tile"))
    }

    pub(crate) async fn fault(&self) -> Option<Fault> {
        self.log.verify().await.unwrap().fault
    }

    /// Asserts that the fault is this one, at this file.
    pub(crate) async fn assert_fault(&self, kind: FaultKind, path: &Path) {
        let fault = self.fault().await.expect("the change is noticed");
        let place = self.directory.path().join(&fault.place);
        assert_eq!((fault.kind, place.as_path()), (kind, path), "{fault}");
    }
}

/// The tiles that the checkpoint rests on: those of earlier sizes are left from before.
fn current(tiles: Vec<PathBuf>) -> Vec<PathBuf> {
    let names = [
        "tile/0/000",
        "tile/0/001.p/52",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/52",
    ];
    let is_current = |path: &PathBuf| names.iter().any(|name| path.ends_with(name));
    let tiles: Vec<_> = tiles.into_iter().filter(is_current).collect();
    assert_eq!(tiles.len(), names.len());
    tiles
}

#[tokio::test]
async fn every_tile_and_bundle_is_named_when_it_is_altered_cut_or_gone() {
    let log = Log::new(&[3, 5, 300]).await;
    for path in &current(log.tiles()) {
        let content = std::fs::read(path).unwrap();
        for position in (0..content.len()).step_by(997).chain([content.len() - 1]) {
            let mut altered = content.clone();
            altered[position] ^= 1;
            let _restored = Restored::change(path, &altered);
            log.assert_fault(FaultKind::AlteredTile, path).await;
        }
        for other in [&content[..content.len() - 1], b"", &[content.as_slice(), b"x"].concat()] {
            let _restored = Restored::change(path, other);
            log.assert_fault(FaultKind::AlteredTile, path).await;
        }
        let _restored = Restored::remove(path);
        log.assert_fault(FaultKind::MissingTile, path).await;
    }
    assert_eq!(log.fault().await, None, "everything is back");
}

#[tokio::test]
async fn every_byte_of_the_checkpoint_counts() {
    let log = Log::new(&[3, 5]).await;
    let path = log.path("log/checkpoint");
    let content = std::fs::read(&path).unwrap();
    for position in 0..content.len() {
        let mut altered = content.clone();
        altered[position] ^= 1;
        let _restored = Restored::change(&path, &altered);
        log.assert_fault(FaultKind::AlteredCheckpoint, &path).await;
    }
    {
        let _restored = Restored::remove(&path);
        log.assert_fault(FaultKind::MissingCheckpoint, &path).await;
    }
    let other = Log::new(&[8]).await;
    let foreign = std::fs::read(other.path("log/checkpoint")).unwrap();
    let _restored = Restored::change(&path, &foreign);
    log.assert_fault(FaultKind::AlteredCheckpoint, &path).await;
}

#[tokio::test]
async fn a_checkpoint_may_be_one_manifest_late_and_no_more() {
    let log = Log::new(&[]).await;
    let path = log.path("log/checkpoint");
    let mut kept = Vec::new();
    for step in [4, 4, 4] {
        log.archive(step).await;
        kept.push(std::fs::read(&path).unwrap());
    }
    {
        let _late = Restored::change(&path, &kept[1]);
        assert_eq!(log.fault().await, None, "a run may have broken off here");
    }
    let _rolled_back = Restored::change(&path, &kept[0]);
    log.assert_fault(FaultKind::CheckpointRolledBack, &path).await;
}

#[tokio::test]
async fn neighbours_that_are_gone_do_not_hide_each_other() {
    let log = Log::new(&[4; 7]).await;
    for (from, to) in [(1, 2), (2, 5), (3, 6), (1, 6)] {
        let paths: Vec<_> = (from..=to).map(|number| log.manifest(number)).collect();
        let _removed: Vec<_> = paths.iter().map(|path| Restored::remove(path)).collect();
        log.assert_fault(FaultKind::MissingManifest, &log.manifest(from)).await;
    }
    let objects = files(&log.path("category=access"));
    let _removed: Vec<_> = objects.iter().map(|path| Restored::remove(path)).collect();
    assert_eq!(log.fault().await.map(|fault| fault.kind), Some(FaultKind::MissingObject));
}

#[tokio::test]
async fn files_that_were_moved_are_named() {
    let log = Log::new(&[4, 300]).await;
    let moved = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(from, to).unwrap();
    };
    let object = files(&log.path("category=access"))[0].clone();
    let elsewhere = PathBuf::from(object.to_string_lossy().replace("=access", "=security"));
    moved(&object, &elsewhere);
    log.assert_fault(FaultKind::MissingObject, &object).await;
    moved(&elsewhere, &object);
    let (tile, bundle) = (log.path("log/tile/0/000"), log.path("log/tile/entries/000"));
    let [content, other] = [&tile, &bundle].map(|path| std::fs::read(path).unwrap());
    let _swapped = [Restored::change(&tile, &other), Restored::change(&bundle, &content)];
    assert_eq!(log.fault().await.map(|fault| fault.kind), Some(FaultKind::AlteredTile));
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
}

/// Bucket and store are set back to an older state of both: by itself that is a sound log.
#[tokio::test]
async fn a_whole_log_that_was_set_back_is_noticed_with_a_checkpoint_kept_elsewhere() {
    let full = Log::new(&[4, 4]).await;
    let (older, emptied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(full.directory.path(), older.path());
    let early = full.log.checkpoint().await.unwrap().unwrap();
    full.archive(4).await;
    let pinned = full.log.verify().await.unwrap().checkpoint.unwrap();
    assert_eq!((early.size(), pinned.size()), (8, 12));
    for (directory, entries) in [(older.path(), 8), (emptied.path(), 0)] {
        let bucket = Objects::local(directory).unwrap();
        let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
        let report = log.verify().await.unwrap();
        assert_eq!((report.fault, report.entries), (None, entries), "nothing inside tells");
        let fault = log.verify_since(&pinned).await.unwrap().fault.unwrap();
        assert_eq!(fault.kind, FaultKind::LogRolledBack);
        assert_eq!(log.verify_since(&early).await.unwrap().is_sound(), entries == 8);
    }
    for kept in [&early, &pinned] {
        assert_eq!(full.log.verify_since(kept).await.unwrap().fault, None);
    }
}

#[tokio::test]
async fn another_log_of_the_same_key_is_not_the_one_that_was_kept() {
    let (one, two) = (Log::new(&[4, 4]).await, Log::new(&[4, 4, 4]).await);
    let pinned = one.log.checkpoint().await.unwrap().unwrap();
    let fault = two.log.verify_since(&pinned).await.unwrap().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::LogRolledBack, "{fault}");
}

#[tokio::test]
async fn a_checkpoint_nobody_signed_is_no_measure() {
    let log = Log::new(&[4]).await;
    let text = log.log.checkpoint().await.unwrap().unwrap().to_string();
    let forged: Checkpoint = text.replace("\n4\n", "\n9\n").parse().unwrap();
    let error = log.log.verify_since(&forged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
}

/// Somebody who has the signing key, or another one, and can write to the bucket.
pub(crate) struct Forger(Ed25519KeyPair);

impl Forger {
    pub(crate) fn with_the_key() -> Self {
        Self::with_the_key_of(&keys())
    }

    pub(crate) fn with_the_key_of(root: &RootKeys) -> Self {
        let seeds = root.derive("audit/manifest/v1").unwrap();
        Self(Ed25519KeyPair::from_seed_unchecked(seeds[0].1.expose()).unwrap())
    }

    fn with_another() -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap())
    }

    pub(crate) fn public(&self) -> PublicKey {
        use aws_lc_rs::signature::KeyPair as _;
        PublicKey::from_bytes(self.0.public_key().as_ref().try_into().unwrap())
    }

    pub(crate) fn id(&self) -> String {
        self.public().id()
    }

    pub(crate) fn signed(&self, document: &impl Serialize) -> Vec<u8> {
        let body = serde_json::to_string(document).unwrap() + "\n";
        let signature = BASE64.encode(self.0.sign(body.as_bytes()));
        format!("{body}{{\"signature\":\"{signature}\"}}\n").into_bytes()
    }
}

pub(crate) fn read(path: &Path) -> Manifest {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

#[tokio::test]
async fn a_manifest_that_was_signed_again_is_named() {
    let log = Log::new(&[4, 4, 4]).await;
    let last = log.manifest(3);
    let honest = read(&last);
    let (thief, other) = (Forger::with_the_key(), Forger::with_another());
    assert_eq!(thief.signed(&honest), std::fs::read(&last).unwrap(), "the forger can sign");
    let signed = [
        (other.signed(&Manifest { key: other.id(), ..honest.clone() }), FaultKind::UnknownKey),
        (other.signed(&honest), FaultKind::WrongSignature),
    ];
    for (content, kind) in signed {
        let _forged = Restored::change(&last, &content);
        log.assert_fault(kind, &last).await;
    }
    // With the key of the log: what the tree states must still be what the objects hold.
    let mut trees = vec![honest.tree.clone(); 3];
    trees[0].root = "00".repeat(32);
    trees[1].size += 1;
    trees[2].root = "no root".into();
    for tree in trees {
        let _forged = Restored::change(&last, &thief.signed(&Manifest { tree, ..honest.clone() }));
        log.assert_fault(FaultKind::WrongTree, &last).await;
    }
}

#[tokio::test]
async fn a_rotation_that_the_new_key_has_not_signed_is_named() {
    let log = Log::new(&[4, 4]).await;
    let last = log.manifest(2);
    let (thief, other) = (Forger::with_the_key(), Forger::with_another());
    let mut forged = read(&last);
    let rotation = serde_json::json!({
        "public": BASE64.encode({
            use aws_lc_rs::signature::KeyPair as _;
            other.0.public_key().as_ref().to_vec()
        }),
        "proof": BASE64.encode(thief.0.sign(b"anything")),
    });
    forged.rotation = Some(serde_json::from_value(rotation).unwrap());
    let _forged = Restored::change(&last, &thief.signed(&forged));
    log.assert_fault(FaultKind::UnknownKey, &last).await;
}

#[tokio::test]
async fn what_has_expired_stays_in_the_tree() {
    let log = Log::new(&[40, 300]).await;
    for path in files(&log.path("category=application")) {
        std::fs::remove_file(path).unwrap();
    }
    log.clock.advance(Duration::from_secs(91 * 86_400));
    let report = log.log.verify().await.unwrap();
    assert_eq!((report.fault, report.expired, report.entries), (None, 2, 255));
    log.archive(8).await;
    assert_eq!(log.fault().await, None);
    // What stands for it is all that is left of it: it is held against the signed root.
    let bundle = log.path("log/tile/entries/000");
    let content = std::fs::read(&bundle).unwrap();
    for position in [0, 1, 2, 30] {
        let mut altered = content.clone();
        altered[position] ^= 1;
        let _restored = Restored::change(&bundle, &altered);
        log.assert_fault(FaultKind::AlteredTile, &bundle).await;
    }
    let _restored = Restored::remove(&bundle);
    log.assert_fault(FaultKind::MissingTile, &bundle).await;
}

#[tokio::test]
async fn a_range_reads_its_objects_and_no_others() {
    let log = Log::new(&[]).await;
    let begin = log.clock.now();
    for step in [40, 300, 4, 8] {
        log.archive(step).await;
    }
    let hour = |n: i64| begin + jiff::SignedDuration::from_secs(n * 3600);
    let whole = log.log.verify().await.unwrap();
    assert_eq!((whole.objects, whole.skipped, whole.tiles > 0), (16, 0, true));
    let wanted = [(0, 1, 4, 40), (1, 2, 4, 300), (1, 3, 8, 304), (3, 9, 4, 8), (7, 9, 0, 0)];
    for (from, to, objects, entries) in wanted {
        let report = log.log.verify_range(hour(from), hour(to)).await.unwrap();
        assert_eq!((report.fault, report.manifests), (None, 4), "{from} to {to}");
        assert_eq!((report.objects, report.entries), (objects, entries), "{from} to {to}");
        assert_eq!(report.objects + report.skipped, 16);
    }
    let second = read(&log.manifest(2)).objects[0].key.clone();
    let path = log.directory.path().join(second);
    let _altered = Restored::change(&path, b"altered");
    assert!(log.log.verify_range(hour(0), hour(1)).await.unwrap().is_sound());
    let report = log.log.verify_range(hour(1), hour(2)).await.unwrap();
    assert_eq!(log.directory.path().join(report.fault.unwrap().place), path);
}

#[tokio::test]
async fn a_range_over_a_tree_that_does_not_lead_to_the_checkpoint_is_named() {
    let log = Log::new(&[]).await;
    let begin = log.clock.now();
    for step in [40, 300, 4, 8] {
        log.archive(step).await;
    }
    let hour = |n: i64| begin + jiff::SignedDuration::from_secs(n * 3600);
    let path = log.path("log/tile/0/001.p/96");
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    let _altered = Restored::change(&path, &content);
    let report = log.log.verify_range(hour(1), hour(2)).await.unwrap();
    assert_eq!(report.fault.map(|fault| fault.kind), Some(FaultKind::AlteredTile));
}

#[tokio::test]
async fn progress_is_told_to_the_end() {
    let log = Log::new(&[2; 20]).await;
    let told = Mutex::new(Vec::new());
    let report = log.log.verify_observed(&|progress| told.lock().unwrap().push(progress)).await;
    assert!(report.unwrap().is_sound());
    let told = told.into_inner().unwrap();
    assert_eq!((told[0].total, told.last().unwrap().done), (20, 20));
    assert!(told.windows(2).all(|two| two[0].done < two[1].done));
}

#[tokio::test]
async fn archiving_tells_its_progress_too() {
    let log = Log::new(&[]).await;
    record(&log.log, 0..4).await;
    let told = Mutex::new(Vec::new());
    let progress = |progress| told.lock().unwrap().push(progress);
    log.log.seal_and_archive_observed(&progress).await.unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(
        told.iter().map(|told| (told.done, told.total)).collect::<Vec<_>>(),
        [(0, 1), (1, 1)]
    );
}

/// An object that became enormous is named and not read.
#[tokio::test]
async fn an_object_that_was_blown_up_is_named_without_being_read() {
    let log = Log::new(&[4]).await;
    let object = files(&log.path("category=access"))[0].clone();
    let manifest = log.manifest(1);
    for (path, kind) in [(object, FaultKind::AlteredObject), (manifest, FaultKind::AlteredManifest)]
    {
        let content = std::fs::read(&path).unwrap();
        // A hole takes no room on the disk.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(1 << 33).unwrap();
        log.assert_fault(kind, &path).await;
        std::fs::write(&path, content).unwrap();
    }
}

#[tokio::test]
async fn everything_can_be_asked_for_at_once() {
    let log = Log::new(&[4, 4]).await;
    let pinned = log.log.checkpoint().await.unwrap().unwrap();
    let now = log.clock.now();
    log.archive(4).await;
    let options = VerifyOptions::new().with_range(now, log.clock.now()).with_since(pinned);
    let report = log.log.verify_with(&options, &|_| {}).await.unwrap();
    assert_eq!((report.fault, report.objects, report.skipped), (None, 4, 8));
}

/// The tiles follow from the manifests: who deletes them all has taken nothing away.
#[tokio::test]
async fn tiles_that_are_all_gone_are_made_again_by_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Objects::local(directory.path()).unwrap();
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let first = log(store.clone(), &bucket).await;
    for round in 0..3 {
        record(&first, round * 4..(round + 1) * 4).await;
        first.seal_and_archive().await.unwrap();
    }
    std::fs::remove_dir_all(directory.path().join("audit/v1/log")).unwrap();
    let fault = first.verify().await.unwrap().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::MissingCheckpoint);
    let second = log(store, &bucket).await;
    second.seal_and_archive().await.unwrap();
    let report = second.verify().await.unwrap();
    assert_eq!((report.fault, report.checkpoint.map(|kept| kept.size())), (None, Some(12)));
}
