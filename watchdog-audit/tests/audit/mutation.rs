//! Everything that can be done to an archive is named by its verification.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use watchdog_audit::{AuditLog, EmbeddedStore, Fault, FaultKind};
use watchdog_storage::objects::Objects;

use crate::archive::files;
use crate::bench::{log, record};

struct Archive {
    directory: TempDir,
    log: AuditLog,
}

impl Archive {
    /// Four manifests over a few entries each, in a local directory.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Objects::local(directory.path()).unwrap();
        let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
        for round in 0..4 {
            record(&log, round * 8..(round + 1) * 8).await;
            log.seal_and_archive().await.unwrap();
        }
        assert_eq!(log.verify().await.unwrap().fault, None);
        Self { directory, log }
    }

    fn manifest(&self, number: usize) -> PathBuf {
        self.manifests()[number - 1].clone()
    }

    fn manifests(&self) -> Vec<PathBuf> {
        files(&self.directory.path().join("audit/v1/manifest"))
    }

    fn objects(&self) -> Vec<PathBuf> {
        let all = files(&self.directory.path().join("audit/v1"));
        let objects: Vec<_> =
            all.into_iter().filter(|path| path.to_string_lossy().contains("category=")).collect();
        assert_eq!(objects.len(), 16);
        objects
    }

    async fn fault(&self) -> Fault {
        self.log.verify().await.unwrap().fault.expect("the change is noticed")
    }

    /// Asserts that the fault is this one, at this file.
    async fn assert_fault(&self, kind: FaultKind, path: &Path) {
        let fault = self.fault().await;
        assert_eq!((fault.kind, self.directory.path().join(&fault.place)), (kind, path.into()));
    }
}

/// Puts a file's content back.
pub(crate) struct Restored<'a>(&'a Path, Vec<u8>);

impl<'a> Restored<'a> {
    pub(crate) fn change(path: &'a Path, content: &[u8]) -> Self {
        let before = std::fs::read(path).unwrap();
        std::fs::write(path, content).unwrap();
        Self(path, before)
    }

    pub(crate) fn remove(path: &'a Path) -> Self {
        let before = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        Self(path, before)
    }
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        std::fs::write(self.0, &self.1).unwrap();
    }
}

#[tokio::test]
async fn every_altered_byte_is_noticed_where_it_is() {
    let archive = Archive::new().await;
    let watched = [archive.manifest(1), archive.manifest(4), archive.objects()[0].clone()];
    for path in &watched {
        let content = std::fs::read(path).unwrap();
        // Every bit of a manifest is tried where manifests are decoded.
        for position in (0..content.len()).step_by(13).chain([content.len() - 1]) {
            let mut altered = content.clone();
            altered[position] ^= 1 << (position % 8);
            let _restored = Restored::change(path, &altered);
            let fault = archive.fault().await;
            let place = archive.directory.path().join(&fault.place);
            assert_eq!(place, *path, "byte {position}: {fault}");
        }
    }
    assert_eq!(archive.log.verify().await.unwrap().fault, None, "everything is back");
}

#[tokio::test]
async fn every_missing_object_is_named() {
    let archive = Archive::new().await;
    for path in &archive.objects() {
        let _restored = Restored::remove(path);
        archive.assert_fault(FaultKind::MissingObject, path).await;
    }
}

#[tokio::test]
async fn every_missing_manifest_is_named_and_so_are_two_neighbours() {
    let archive = Archive::new().await;
    for number in 1..=3 {
        let path = archive.manifest(number);
        let _restored = Restored::remove(&path);
        archive.assert_fault(FaultKind::MissingManifest, &path).await;
    }
    let [first, second, third] = [1, 2, 3].map(|number| archive.manifest(number));
    for (one, two) in [(&first, &second), (&second, &third)] {
        let _restored = [Restored::remove(one), Restored::remove(two)];
        archive.assert_fault(FaultKind::MissingManifest, one).await;
    }
}

#[tokio::test]
async fn a_chain_that_ends_early_is_named() {
    let archive = Archive::new().await;
    let all = archive.manifests();
    for kept in 0..4 {
        let _removed: Vec<_> = all[kept..].iter().map(|path| Restored::remove(path)).collect();
        archive.assert_fault(FaultKind::TruncatedChain, &all[3]).await;
    }
}

#[tokio::test]
async fn swapped_and_copied_manifests_are_named() {
    let archive = Archive::new().await;
    let all = archive.manifests();
    let contents: Vec<_> = all.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (one, two) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
        let _swapped = [
            Restored::change(&all[one], &contents[two]),
            Restored::change(&all[two], &contents[one]),
        ];
        archive.assert_fault(FaultKind::AlteredManifest, &all[one]).await;
    }
    let _replayed = Restored::change(&all[3], &contents[0]);
    archive.assert_fault(FaultKind::AlteredManifest, &all[3]).await;
}

#[tokio::test]
async fn a_whole_older_or_other_log_is_noticed() {
    let archive = Archive::new().await;
    let other = Archive::new().await;
    let (ours, theirs) = (archive.manifests(), other.manifests());
    let contents: Vec<_> = theirs.iter().map(|path| std::fs::read(path).unwrap()).collect();
    // Objects of both are there: only the chain tells them apart.
    for path in other.objects() {
        let place = path.strip_prefix(other.directory.path()).unwrap();
        std::fs::copy(&path, archive.directory.path().join(place)).unwrap();
    }
    let _replaced: Vec<_> =
        ours.iter().zip(&contents).map(|(path, content)| Restored::change(path, content)).collect();
    archive.assert_fault(FaultKind::BrokenChain, &ours[3]).await;
}

#[tokio::test]
async fn dropped_inserted_reordered_and_altered_entries_are_named() {
    let archive = Archive::new().await;
    let path = archive
        .objects()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("category=security"))
        .unwrap();
    let content = std::fs::read(&path).unwrap();
    let text = zstd::decode_all(content.as_slice()).unwrap();
    let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 2);
    let altered =
        String::from_utf8(lines.concat()).unwrap().replacen("file.", "mile.", 1).into_bytes();
    let changes = [
        ([lines[0]].concat(), FaultKind::EntriesDropped),
        ([lines[0], lines[1], lines[1]].concat(), FaultKind::EntriesInserted),
        ([lines[1], lines[0]].concat(), FaultKind::EntriesReordered),
        (altered, FaultKind::AlteredObject),
        (b"not lines".to_vec(), FaultKind::EntriesDropped),
    ];
    for (change, kind) in changes {
        let packed = zstd::encode_all(change.as_slice(), 3).unwrap();
        let _restored = Restored::change(&path, &packed);
        archive.assert_fault(kind, &path).await;
    }
    let _swapped = {
        let other = &archive.objects()[0];
        Restored::change(&path, &std::fs::read(other).unwrap())
    };
    assert_eq!(
        archive.fault().await.place,
        path.strip_prefix(archive.directory.path()).unwrap().to_string_lossy()
    );
}
