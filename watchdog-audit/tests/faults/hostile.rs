//! Objects that are small and unpack to gigabytes, say that they are huge, or are.
//!
//! A process of its own reads them, and the most memory it ever had is compared with before. On
//! systems that do not tell that, only the verdict is checked.

use std::path::{Path, PathBuf};

use serde_json::json;
use watchdog_audit::FaultKind;

use crate::archive::{assert_kept, manifests, sha256};
use crate::child::{Child, Work};
use crate::forge::{said, signed};
use crate::ledger::Ledger;
use crate::load::entry;
use crate::place::{PATIENCE, Place, files};

/// A zstd frame of run-length blocks, as RFC 8878 has them: 4 bytes for each 128 KiB of one byte.
/// With `announced`, the header says that the content has this size.
fn bomb(megabytes: u32, announced: Option<u64>) -> Vec<u8> {
    const BLOCK: u32 = 128 * 1024;
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd];
    match announced {
        // A size of 8 bytes, no checksum, a window of 2 MiB.
        Some(size) => {
            bytes.extend_from_slice(&[0b1100_0000, 0x58]);
            bytes.extend_from_slice(&size.to_le_bytes());
        }
        None => bytes.extend_from_slice(&[0, 0x58]),
    }
    let blocks = megabytes * 8;
    for block in 1..=blocks {
        let header = u32::from(block == blocks) | (1 << 1) | (BLOCK << 3);
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.push(b'\n');
    }
    bytes
}

/// What a reader found, and by how many KiB its memory grew.
#[derive(Debug)]
struct Seen {
    verdict: String,
    query: String,
    grown: u64,
}

fn look(place: &Place) -> Seen {
    let mut child = Child::start(place, &Work::Look);
    let mut next = || child.hears().unwrap();
    Seen { verdict: next(), query: next(), grown: next().parse().unwrap() }
}

/// An archive in a directory, without a store behind it.
async fn archived(directory: &Path, entries: u64) -> Place {
    let place = Place::at(directory);
    let log = place.log().await;
    let ledger = Ledger::open(&place.ledger());
    for n in 0..entries {
        log.record(entry(n * 4, 20)).await.unwrap();
        ledger.note(n * 4);
    }
    assert_kept(&log, &place).await;
    // The file is free for the process that looks.
    log.shutdown(PATIENCE).await.unwrap();
    place
}

fn objects(place: &Place) -> Vec<PathBuf> {
    let is_object = |path: &PathBuf| path.to_string_lossy().contains("category=");
    files(&place.bucket()).into_iter().filter(is_object).collect()
}

const MIB: u64 = 1024;

#[test]
fn the_bomb_is_one() {
    let unpacked = zstd::decode_all(bomb(8, None).as_slice()).unwrap();
    assert_eq!(unpacked.len(), 8 * 1024 * 1024);
    assert_eq!(bomb(4096, None).len(), 4 * 8 * 4096 + 6);
}

#[tokio::test]
async fn a_bomb_in_the_place_of_an_object_is_named_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let place = archived(directory.path(), 5).await;
    let object = objects(&place).remove(0);
    for bomb in [bomb(4096, None), bomb(4096, Some(4096 << 20)), bomb(1, Some(1 << 50))] {
        std::fs::write(&object, bomb).unwrap();
        let seen = look(&place);
        assert!(seen.verdict.starts_with(&format!("{:?}", FaultKind::AlteredObject)), "{seen:?}");
        assert_eq!(seen.query, "Corrupt");
        assert!(seen.grown < 16 * MIB, "{seen:?}");
    }
}

/// Whoever has the signing key can announce what they like: the bound holds all the same.
#[tokio::test]
async fn a_bomb_that_a_signed_manifest_announces_is_bounded_too() {
    let directory = tempfile::tempdir().unwrap();
    let place = archived(directory.path(), 5).await;
    let object = objects(&place).remove(0);
    let bomb = bomb(4096, None);
    std::fs::write(&object, &bomb).unwrap();
    let path = manifests(&place.bucket()).remove(0);
    let mut manifest = said(&std::fs::read(&path).unwrap().into());
    manifest["objects"][0]["sha256"] = json!(sha256(&bomb));
    manifest["objects"][0]["bytes"] = json!(bomb.len());
    manifest["objects"][0]["raw_bytes"] = json!(u64::MAX);
    std::fs::write(&path, signed(manifest)).unwrap();
    let seen = look(&place);
    assert!(seen.verdict.starts_with("Altered"), "{seen:?}");
    assert_eq!(seen.query, "Corrupt");
    assert!(seen.grown < 128 * MIB, "{seen:?}");
}

/// Sparse files: they cost the disk nothing.
#[tokio::test]
async fn objects_and_manifests_of_gigabytes_are_named_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let place = archived(directory.path(), 5).await;
    let inflated = |path: &Path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(3 << 30).unwrap();
        length
    };
    for (path, kind) in [
        (objects(&place).remove(0), FaultKind::AlteredObject),
        (manifests(&place.bucket()).remove(0), FaultKind::AlteredManifest),
    ] {
        let length = inflated(&path);
        let seen = look(&place);
        assert!(seen.verdict.starts_with(&format!("{kind:?}")), "{seen:?}");
        assert_eq!(seen.query, "Corrupt");
        assert!(seen.grown < 16 * MIB, "{seen:?}");
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
    }
    assert_eq!(look(&place).verdict, "sound");
}
