//! The archive checked by what is not ours: Python lists the bucket, the program `zstd` unpacks,
//! DuckDB and pyarrow count. The script is `docs/audit_check.py`.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use uuid::Uuid;
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore};
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};
use watchdog_core::{Clock as _, RootKeys, Secret, SystemClock};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::{require, test_name};

/// What the environment of the checks holds.
const PACKAGES: [&str; 2] = ["duckdb==2.0.0", "pyarrow==26.0.1"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether Python and zstd are here.
fn has_programs() -> bool {
    require("python3", &test_name()) && require("zstd", &test_name())
}

/// Python with the packages, made once below the target directory; `None` without a network.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-audit");
        let output = Command::new("bash")
            .args(["-c", "source scripts/run.sh && python_venv \"$@\"", "bash"])
            .arg(scratch)
            .args(PACKAGES)
            .current_dir(repository())
            .output()
            .unwrap();
        let path = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| PathBuf::from(path.trim()))
    });
    if made.is_none() {
        // As where a program is missing: said, and a failure where everything is required.
        require("python3 with packages", &test_name());
    }
    made.as_deref()
}

fn check(python: &Path, bucket: &Path, args: &[&str]) -> Output {
    Command::new(python)
        .arg(repository().join("docs/audit_check.py"))
        .arg(bucket)
        .args(args)
        .output()
        .unwrap()
}

fn answer(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

/// An archive in a directory, and the log of what was acknowledged.
struct Scene {
    directory: tempfile::TempDir,
}

const ENTRIES: u64 = 250;

impl Scene {
    /// Two writers after one another, five actors, several segments and runs.
    async fn new(is_sealed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Objects::local(directory.path().join("bucket")).unwrap();
        let mut noted = String::new();
        for half in 0..2 {
            let log = log(&bucket, &directory.path().join("store"), is_sealed).await;
            for n in half * ENTRIES / 2..(half + 1) * ENTRIES / 2 {
                log.record(entry(n)).await.unwrap();
                writeln!(noted, "{n}").unwrap();
                if n % 40 == 0 {
                    log.seal_and_archive().await.unwrap();
                }
            }
            log.seal_and_archive().await.unwrap();
            log.shutdown(std::time::Duration::from_secs(5)).await.unwrap();
        }
        std::fs::write(directory.path().join("log"), noted).unwrap();
        Self { directory }
    }

    fn bucket(&self) -> PathBuf {
        self.directory.path().join("bucket")
    }

    fn log(&self) -> String {
        self.directory.path().join("log").display().to_string()
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.bucket(), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(".zst"));
        found.sort();
        found
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

async fn log(bucket: &Objects, store: &Path, is_sealed: bool) -> AuditLog {
    let secret = Secret::from("a secret of at least thirty-two bytes");
    let keys = RootKeys::new(&secret, &[]).unwrap();
    let config = AuditConfig {
        segment_max_bytes: 10_000,
        encryption_enabled: is_sealed,
        ..AuditConfig::default()
    };
    AuditLog::builder()
        .with_config(&config)
        .with_shared_store(Arc::new(EmbeddedStore::open(store).unwrap()))
        .with_archive(bucket.clone(), &keys)
        .with_encryption(&keys)
        .without_background()
        .build()
        .await
        .unwrap()
}

fn entry(n: u64) -> Entry {
    Entry::new(
        Uuid::now_v7(),
        SystemClock.now(),
        Category::ALL[usize::try_from(n % 4).unwrap()],
        Actor::user(
            ["alice", "bob", "carol", "dave", "\u{e9}ve \"e\""][usize::try_from(n % 5).unwrap()],
        ),
        "file.written",
        Resource::new("file", n.to_string()),
    )
    .with_outcome(Outcome::Success)
    .with_detail("size", n)
}

#[tokio::test]
async fn python_and_zstd_find_every_acknowledged_entry_exactly_once() {
    if !has_programs() {
        return;
    }
    for is_sealed in [true, false] {
        let scene = Scene::new(is_sealed).await;
        let output = check(Path::new("python3"), &scene.bucket(), &["--log", &scene.log()]);
        let report = answer(&output);
        assert!(output.status.success(), "{report}");
        assert_eq!((&report["entries"], &report["logged"]), (&ENTRIES.into(), &ENTRIES.into()));
        assert_eq!((&report["writers"], &report["leftovers"]), (&2.into(), &0.into()));
        assert_eq!(report["objects"], scene.objects().len());
    }
}

#[tokio::test]
async fn python_names_what_was_done_to_the_archive() {
    if !has_programs() {
        return;
    }
    let scene = Scene::new(true).await;
    let (bucket, noted) = (scene.bucket(), scene.log());
    let fault = |part: &str| {
        let output = check(Path::new("python3"), &bucket, &["--log", &noted]);
        let report = answer(&output);
        assert!(!output.status.success(), "{report}");
        assert!(report["fault"].as_str().unwrap().contains(part), "{report}");
    };
    let object = scene.objects().remove(3);
    let content = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    fault("is missing");
    let mut altered = content.clone();
    altered[10] ^= 1;
    std::fs::write(&object, altered).unwrap();
    fault("another SHA-256");
    std::fs::write(&object, &content).unwrap();
    let manifest = bucket.join("audit/v1/manifest/00000000000000000002.jsonl");
    let kept = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    fault("is not the next manifest");
    std::fs::write(&manifest, kept).unwrap();
    let stray = object.with_file_name("seg=00000000000000000099.0123456789abcdef.jsonl.zst");
    std::fs::write(&stray, &content).unwrap();
    fault("no manifest names");
    std::fs::remove_file(stray).unwrap();
    let checkpoint = bucket.join("audit/v1/log/checkpoint");
    let stated = std::fs::read_to_string(&checkpoint).unwrap();
    std::fs::write(&checkpoint, stated.replacen("\n250\n", "\n251\n", 1)).unwrap();
    fault("states 251 entries");
    std::fs::remove_file(&checkpoint).unwrap();
    fault("is missing");
    std::fs::write(&checkpoint, stated).unwrap();
    let text = std::fs::read_to_string(&noted).unwrap();
    std::fs::write(&noted, text + "999999\n").unwrap();
    fault("1 entries of the log are not in the archive");
}

#[tokio::test]
async fn duckdb_and_pyarrow_count_the_entries_of_each_actor() {
    if !has_programs() {
        return;
    }
    let Some(python) = python() else { return };
    for is_sealed in [true, false] {
        let scene = Scene::new(is_sealed).await;
        for tool in ["duckdb", "pyarrow"] {
            let output = check(python, &scene.bucket(), &["--groups", tool]);
            let report = answer(&output);
            assert!(output.status.success(), "{report}");
            assert_eq!(report["actors"], 5, "{report}");
        }
    }
}

/// Manifests after the cut, and what only they name, are gone.
#[tokio::test]
async fn python_names_a_chain_that_was_cut_off() {
    if !has_programs() {
        return;
    }
    let scene = Scene::new(true).await;
    let manifests = scene.bucket().join("audit/v1/manifest");
    let mut names: Vec<_> =
        std::fs::read_dir(&manifests).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names.split_off(names.len() - 2) {
        let text = std::fs::read_to_string(&path).unwrap();
        let manifest: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        for object in manifest["objects"].as_array().unwrap() {
            std::fs::remove_file(scene.bucket().join(object["key"].as_str().unwrap())).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }
    let report = answer(&check(Path::new("python3"), &scene.bucket(), &[]));
    assert!(report["fault"].as_str().unwrap().contains("checkpoint states 250"), "{report}");
}

/// A zstd frame of run-length blocks (RFC 8878): 4 bytes for each 128 KiB of one byte.
fn bomb(megabytes: u32) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    for block in 1..=megabytes * 8 {
        let header = u32::from(block == megabytes * 8) | (1 << 1) | ((128 * 1024) << 3);
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.push(b'\n');
    }
    bytes
}

#[tokio::test]
async fn python_unpacks_no_more_than_a_manifest_announces() {
    if !has_programs() {
        return;
    }
    let scene = Scene::new(true).await;
    let path = scene.bucket().join("audit/v1/manifest/00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut manifest: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let object = &mut manifest["objects"][0];
    let bomb = bomb(4096);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bomb);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(scene.bucket().join(object["key"].as_str().unwrap()), &bomb).unwrap();
    object["sha256"] = digest.into();
    object["bytes"] = bomb.len().into();
    // The script does not look at signatures.
    std::fs::write(&path, format!("{manifest}\n{{}}\n")).unwrap();
    // With 512 MiB of address space for the script.
    let output = Command::new("bash")
        .args(["-c", "ulimit -v 524288; exec python3 \"$@\"", "bash"])
        .arg(repository().join("docs/audit_check.py"))
        .arg(scene.bucket())
        .output()
        .unwrap();
    let report = answer(&output);
    assert!(report["fault"].as_str().unwrap().contains("more than it announces"), "{report}");
}

#[cfg(feature = "parquet")]
#[tokio::test]
async fn pyarrow_finds_every_entry_in_an_export() {
    use watchdog_audit::{ExportForm, Query};

    if !has_programs() {
        return;
    }
    let Some(python) = python() else { return };
    let scene = Scene::new(true).await;
    let bucket = Objects::local(scene.bucket()).unwrap();
    let log = log(&bucket, &scene.directory.path().join("store"), true).await;
    let export = scene.directory.path().join("export");
    std::fs::create_dir(&export).unwrap();
    let file = |name: &str| std::fs::File::create(export.join(name)).unwrap();
    let query = Query::new();
    let exported =
        log.export_parquet(&query, ExportForm::Sealed, file("all.parquet")).await.unwrap();
    assert_eq!(exported.records, ENTRIES);
    let found = |part: Option<&str>| {
        let directory = export.display().to_string();
        let output = check(python, &scene.bucket(), &["--parquet", &directory]);
        let report = answer(&output);
        match part {
            None => assert_eq!(report["rows"], ENTRIES, "{report}"),
            Some(part) => assert!(report["fault"].as_str().unwrap().contains(part), "{report}"),
        }
    };
    found(None);
    let some = query.with_category(Category::Access);
    log.export_parquet(&some, ExportForm::Sealed, file("some.parquet")).await.unwrap();
    found(Some("twice"));
    std::fs::remove_file(export.join("all.parquet")).unwrap();
    found(Some("the export lacks"));
    std::fs::remove_file(export.join("some.parquet")).unwrap();
    found(Some("holds no Parquet"));
}
