//! The archive as it lies in the bucket, read without the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde_json::Value;
use watchdog_audit::AuditLog;

use crate::ledger;
use crate::place::{Place, files};

/// What the manifests name.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    /// Each line and how often it stands there.
    pub(crate) lines: HashMap<String, u64>,
    /// By partition and segment: `<number>:<SHA-256>` of each manifest about it.
    pub(crate) covering: BTreeMap<(u64, u64), Vec<String>>,
}

impl Archive {
    /// Reads every object that a manifest names and compares its hash.
    pub(crate) fn read(bucket: &Path) -> Self {
        let mut archive = Self::default();
        for path in manifests(bucket) {
            let content = std::fs::read(&path).unwrap();
            let first = content.split(|byte| *byte == b'\n').next().unwrap();
            let manifest: Value = serde_json::from_slice(first).unwrap();
            let segment = &manifest["segment"];
            let place = (number(&segment["partition"]), number(&segment["number"]));
            let reference = format!("{}:{}", number(&manifest["number"]), sha256(&content));
            archive.covering.entry(place).or_default().push(reference);
            for object in manifest["objects"].as_array().unwrap() {
                archive.object(bucket, object);
            }
        }
        archive
    }

    fn object(&mut self, bucket: &Path, object: &Value) {
        let key = object["key"].as_str().unwrap();
        let content = std::fs::read(bucket.join(key)).unwrap();
        assert_eq!(sha256(&content), object["sha256"].as_str().unwrap(), "{key}");
        let lines = String::from_utf8(zstd::decode_all(content.as_slice()).unwrap()).unwrap();
        assert_eq!(lines.lines().count() as u64, number(&object["entries"]), "{key}");
        for line in lines.lines() {
            *self.lines.entry(line.to_owned()).or_default() += 1;
        }
    }

    /// The numbers of the load generator's entries, each with how often it stands there.
    pub(crate) fn numbers(&self) -> BTreeMap<u64, u64> {
        let mut numbers = BTreeMap::new();
        for (line, count) in &self.lines {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["resource"]["type"] == "file" {
                let number = line["resource"]["id"].as_str().unwrap().parse().unwrap();
                *numbers.entry(number).or_default() += count;
            }
        }
        numbers
    }
}

pub(crate) fn manifests(bucket: &Path) -> Vec<PathBuf> {
    let mut manifests = files(&bucket.join("audit/v1/manifest"));
    // A local bucket has names of its own for what is being written, and a kill leaves them there.
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    manifests
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

pub(crate) fn sha256(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Archives what is left and asserts that every acknowledged entry stands in the archive exactly
/// once, that nothing stands there twice, and that the log verifies. Answers how many entries were
/// acknowledged.
pub(crate) async fn assert_kept(log: &AuditLog, place: &Place) -> usize {
    assert_kept_in(log, &place.bucket(), &place.ledger()).await
}

pub(crate) async fn assert_kept_in(log: &AuditLog, bucket: &Path, path: &Path) -> usize {
    log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((&report.fault, report.waiting), (&None, 0));
    let archive = Archive::read(bucket);
    let held: u64 = archive.lines.values().sum();
    assert_eq!(held, report.entries, "the log counts what lies there");
    let numbers = archive.numbers();
    let twice: Vec<_> = numbers.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "in the archive more than once: {twice:?}");
    let acknowledged = ledger::read(path);
    let lost: BTreeSet<_> =
        acknowledged.iter().filter(|number| !numbers.contains_key(number)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged are gone: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    acknowledged.len()
}
