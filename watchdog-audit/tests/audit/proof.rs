//! Proofs of entries and of checkpoints, checked by us, by others' code, and by the published script.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{HashReader as _, Tile, TileHashReader, TileReader};
use uuid::Uuid;
use watchdog_audit::{
    AuditLog, Checkpoint, EmbeddedStore, ErrorKind, InclusionProof, PublicKey, Receipt,
};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::{require, test_name};

use crate::bench::{entry, keys, log};

/// A log in a directory, archived in steps of these sizes; answers receipts and ids of all entries.
async fn archived(directory: &Path, steps: &[u64]) -> (AuditLog, Vec<(Receipt, Uuid)>) {
    let bucket = Objects::local(directory).unwrap();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    let mut entries = Vec::new();
    for step in steps {
        entries.extend(more(&log, *step, entries.len() as u64).await);
    }
    (log, entries)
}

async fn more(log: &AuditLog, count: u64, first: u64) -> Vec<(Receipt, Uuid)> {
    let made: Vec<_> = (first..first + count).map(entry).collect();
    let ids: Vec<_> = made.iter().map(|entry| entry.id).collect();
    let recorded = futures::future::join_all(made.into_iter().map(|entry| log.record(entry))).await;
    log.seal_and_archive().await.unwrap();
    recorded.into_iter().map(Result::unwrap).zip(ids).collect()
}

async fn key(log: &AuditLog) -> PublicKey {
    *log.signing_keys().await.unwrap().last().unwrap()
}

#[tokio::test]
async fn every_entry_is_proven_with_the_public_key_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (log, entries) = archived(directory.path(), &[1, 2, 5, 250, 1, 30]).await;
    let key = key(&log).await;
    let mut places = Vec::new();
    for (at, (receipt, id)) in entries.iter().enumerate() {
        let proof = log.prove(*receipt).await.unwrap().unwrap();
        if at % 40 == 0 {
            assert_eq!(log.prove(*id).await.unwrap().as_ref(), Some(&proof));
        }
        let text = proof.to_string();
        let read: InclusionProof = text.parse().unwrap();
        assert_eq!(read, proof);
        read.verify(&key).unwrap();
        let line = String::from_utf8(read.line().to_vec()).unwrap();
        assert!(line.contains(&id.to_string()), "{line}");
        assert!(
            !line.contains("\"alice\"") && !line.contains("\"bob\""),
            "personal fields are sealed"
        );
        places.push(read.index());
    }
    places.sort_unstable();
    assert!(places.into_iter().eq(0..289), "every place is somebody's");
    assert_eq!(log.prove(Uuid::now_v7()).await.unwrap(), None);
    let waiting = log.record(entry(999)).await.unwrap();
    assert_eq!(log.prove(waiting).await.unwrap(), None, "it is not archived yet");
}

/// Other texts that say nearly the same.
fn mutations(proof: &str) -> Vec<(&'static str, String)> {
    let lines: Vec<_> = proof.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        lines.join("\n") + "\n"
    };
    let flipped = |line: &str, byte: usize| {
        let mut bytes = BASE64.decode(line).unwrap();
        bytes[byte] ^= 1;
        BASE64.encode(bytes)
    };
    let entry = lines[1].strip_prefix("extra ").unwrap();
    let index: u64 = lines[2].strip_prefix("index ").unwrap().parse().unwrap();
    let gap = lines.iter().position(|line| line.is_empty()).unwrap();
    let (origin, size, root) = (gap + 1, gap + 2, gap + 3);
    let signed = lines[gap + 5];
    let (name, signature) = signed.rsplit_once(' ').unwrap();
    let size_of: u64 = lines[size].parse().unwrap();
    vec![
        ("another entry", with(1, &format!("extra {}", flipped(entry, 150)))),
        ("no entry", with(1, "extra ")),
        ("the next place", with(2, &format!("index {}", index + 1))),
        ("the first place", with(2, &format!("index {}", if index == 0 { 2 } else { 0 }))),
        ("a place outside", with(2, &format!("index {size_of}"))),
        ("another step", with(3, &flipped(lines[3], 0))),
        ("another last step", with(gap - 1, &flipped(lines[gap - 1], 31))),
        ("a step less", without(3)),
        ("the last step less", without(gap - 1)),
        ("a step more", with(3, &format!("{}\n{}", lines[3], lines[3]))),
        ("another log", with(origin, &format!("{}x", lines[origin]))),
        ("another size", with(size, &(size_of + 1).to_string())),
        ("another root", with(root, &flipped(lines[root], 7))),
        ("another key id", with(gap + 5, &format!("{name} {}", flipped(signature, 0)))),
        ("another signature", with(gap + 5, &format!("{name} {}", flipped(signature, 40)))),
        ("no signature", without(gap + 5)),
        ("another format", with(0, "c2sp.org/tlog-proof@v2")),
        ("nothing", String::new()),
    ]
}

#[tokio::test]
async fn a_proof_that_was_altered_proves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (log, entries) = archived(directory.path(), &[3, 270]).await;
    let key = key(&log).await;
    for (receipt, _) in [entries[0], entries[100], entries[272]] {
        let proof = log.prove(receipt).await.unwrap().unwrap();
        for (what, text) in mutations(&proof.to_string()) {
            let read = text.parse::<InclusionProof>();
            assert!(read.and_then(|proof| proof.verify(&key)).is_err(), "{what}:\n{text}");
        }
        let other = PublicKey::from_bytes([3; 32]);
        assert_eq!(proof.verify(&other).unwrap_err().kind(), ErrorKind::Key);
    }
}

/// Runs the published script: what it prints, when it finds the entry proven.
fn script(proof: &str, key: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), proof).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit_proof.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(file.path())
        .arg(key)
        .output()
        .expect("python3 runs");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("Traceback"), "{said}");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_published_script_finds_the_same() {
    if !require("python3", &test_name()) || !require("openssl", &test_name()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (log, entries) = archived(directory.path(), &[5, 270]).await;
    let public = key(&log).await;
    let base64 = BASE64.encode(public.as_bytes());
    let hex: String = public.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for at in [0, 5, 274] {
        let proof = log.prove(entries[at].0).await.unwrap().unwrap();
        let line = String::from_utf8(proof.line().to_vec()).unwrap();
        assert_eq!(script(&proof.to_string(), &base64), Some(format!("{line}\n")));
        assert_eq!(script(&proof.to_string(), &hex), Some(format!("{line}\n")));
    }
    let proof = log.prove(entries[137].0).await.unwrap().unwrap().to_string();
    for (what, text) in mutations(&proof) {
        assert_eq!(script(&text, &base64), None, "{what}:\n{text}");
    }
    assert_eq!(script(&proof, &BASE64.encode([3; 32])), None, "another key");
    assert_eq!(script(&proof, "key"), None);
}

#[test]
fn the_published_script_is_short_and_uses_the_standard_library_only() {
    let script = include_str!("../../../docs/audit_proof.py");
    assert!(script.lines().count() <= 60);
    let imports: Vec<_> = script.lines().filter(|line| line.starts_with("import")).collect();
    assert_eq!(imports, ["import base64, functools, hashlib, json, re, subprocess, sys, tempfile"]);
    assert!(!script.contains("from "), "no other import");
}

#[tokio::test]
async fn every_log_goes_on_from_every_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = archived(directory.path(), &[]).await;
    assert_eq!(log.checkpoint().await.unwrap(), None);
    let mut kept = Vec::new();
    for step in [1, 7, 248, 1, 300] {
        more(&log, step, 0).await;
        kept.push(log.checkpoint().await.unwrap().unwrap());
        let key = key(&log).await;
        for old in &kept {
            let proof = log.prove_since(old).await.unwrap();
            proof.verify(&key, &key).unwrap();
            assert_eq!(proof.new_checkpoint().size(), kept.last().unwrap().size());
        }
    }
    let other = tempfile::tempdir().unwrap();
    let (other, _) = archived(other.path(), &[1, 7]).await;
    let foreign = other.checkpoint().await.unwrap().unwrap();
    let error = log.prove_since(&foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "another log of the same key");
    let last = kept.last().unwrap();
    assert_eq!(other.prove_since(last).await.unwrap_err().kind(), ErrorKind::Corrupt, "shorter");
}

/// Tiles of a log in a directory, for the referee.
struct Directory<'a>(&'a Path);

impl TileReader for Directory<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            // The referee names the height, which the specification has fixed since.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            std::fs::read(self.0.join("audit/v1/log").join(path)).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn note(checkpoint: &Checkpoint, key: &PublicKey) -> Vec<u8> {
    let verifier = StandardVerifier::new(&key.note_key(checkpoint.origin())).unwrap();
    let note = Note::from_bytes(checkpoint.to_string().as_bytes()).unwrap();
    let (verified, _) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(verified.len(), 1);
    note.text().to_vec()
}

/// Checkpoint, tiles, paths and bundles as an implementation sees them that is not ours.
#[tokio::test]
async fn another_implementation_reads_checkpoint_tiles_and_bundles() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = archived(directory.path(), &[200]).await;
    let key = key(&log).await;
    let before = log.checkpoint().await.unwrap().unwrap();
    let entries = more(&log, 500, 200).await;
    let after = log.checkpoint().await.unwrap().unwrap();
    let [old, new] = [&before, &after]
        .map(|checkpoint| tlog_tiles::Checkpoint::from_bytes(&note(checkpoint, &key)).unwrap());
    assert_eq!((old.size(), new.size()), (200, 700));
    let tiles = Directory(directory.path());
    let reader = TileHashReader::new(new.size(), *new.hash(), &tiles);
    let all: Vec<_> = (0..700).map(|n| tlog_tiles::stored_hash_index(0, n)).collect();
    let leaves = reader.read_hashes(&all).unwrap();
    for (receipt, _) in entries.iter().step_by(60) {
        let proof = log.prove(*receipt).await.unwrap().unwrap();
        let path = tlog_tiles::prove_record(700, proof.index(), &reader).unwrap();
        let ours = proof.to_string();
        assert!(path.iter().all(|hash| ours.contains(&BASE64.encode(hash.0))));
        let leaf = leaves[usize::try_from(proof.index()).unwrap()];
        tlog_tiles::check_record(&path, 700, *new.hash(), proof.index(), leaf).unwrap();
    }
    let path = tlog_tiles::prove_tree(700, 200, &reader).unwrap();
    let ours = log.prove_since(&before).await.unwrap();
    assert!(path.iter().map(|hash| &hash.0).eq(ours.path()));
    tlog_tiles::check_tree(&path, 700, *new.hash(), 200, *old.hash()).unwrap();
    let bundles = [("000", 256), ("001", 256), ("002.p/188", 188)];
    let mut index = 0;
    for (name, width) in bundles {
        let path = directory.path().join("audit/v1/log/tile/entries").join(name);
        let bundle = std::fs::read(path).unwrap();
        assert_eq!(bundle.len(), width * 36);
        for entry in bundle.chunks(36) {
            assert_eq!(entry[..2], 34_u16.to_be_bytes());
            assert_eq!(tlog_tiles::record_hash(&entry[2..]), leaves[index]);
            index += 1;
        }
    }
    assert_eq!(index, 700);
}

#[tokio::test]
async fn a_log_without_an_archive_proves_nothing() {
    let log = AuditLog::builder()
        .with_store(EmbeddedStore::memory().unwrap())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap();
    assert_eq!(log.prove(Uuid::now_v7()).await.unwrap_err().kind(), ErrorKind::Misuse);
}
