//! What somebody can forge who has an old key, a copy of the bucket, or the key of today.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, FaultKind, LegalHold, Manifest, TimeRange,
    VerifyOptions,
};
use watchdog_core::audit::{Actor, Category};
use watchdog_core::{Clock as _, SystemClock, Timestamp};
use watchdog_storage::objects::Objects;

use crate::bench::{log, record};
use crate::mutation::Restored;
use crate::rotation::{NEW, OLD, OTHER, Shared, archive, root};
use crate::tampered::{Forger, Log, copy, read};

fn clerk() -> Actor {
    Actor::user("clerk")
}

fn sha256(content: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bucket alone, with a store of its own: what somebody has who got at the bucket.
fn outside(shared: &Shared) -> Shared {
    let own = Shared::new();
    copy(shared.directory.path(), own.directory.path());
    own
}

/// Puts the bucket of a thief in the place of the one it was copied from.
fn put_back(stolen: &Shared, shared: &Shared) {
    std::fs::remove_dir_all(shared.directory.path().join("audit")).unwrap();
    copy(stolen.directory.path(), shared.directory.path());
}

async fn fault(log: &AuditLog) -> Option<FaultKind> {
    log.verify().await.unwrap().fault.map(|fault| fault.kind)
}

#[tokio::test]
async fn a_retired_key_that_never_signed_the_log_does_not_take_it_over() {
    let shared = Shared::new();
    // The old root was stolen and replaced before there was an audit log.
    let honest = shared.process(&root(NEW, &[OLD]), &[]).await;
    archive(&honest, 0..4).await;
    let known = honest.signing_keys().await.unwrap();
    let stolen = outside(&shared);
    archive(&stolen.process(&root(OLD, &[]), &known).await, 4..8).await;
    put_back(&stolen, &shared);
    assert_eq!(fault(&honest).await, Some(FaultKind::UnknownKey));
}

#[tokio::test]
async fn whoever_has_the_secret_root_does_not_take_over_from_a_key_file() {
    let shared = Shared::new();
    let file = shared.directory.path().join("key");
    std::fs::write(&file, [7; 32]).unwrap();
    let config = AuditConfig { signing_key_file: Some(file), ..AuditConfig::default() };
    let honest = shared.process_with(config, &root(NEW, &[]), &[]).await.unwrap();
    archive(&honest, 0..4).await;
    let known = honest.signing_keys().await.unwrap();
    let stolen = outside(&shared);
    archive(&stolen.process(&root(NEW, &[]), &known).await, 4..8).await;
    put_back(&stolen, &shared);
    assert_eq!(fault(&honest).await, Some(FaultKind::UnknownKey));
}

#[tokio::test]
async fn a_manifest_that_was_refused_leaves_no_key_behind() {
    let shared = Shared::new();
    let honest = shared.process(&root(OLD, &[]), &[]).await;
    archive(&honest, 0..4).await;
    archive(&honest, 4..8).await;
    let trusted = Forger::with_the_key_of(&root(OTHER, &[]));
    let keys = [honest.signing_keys().await.unwrap()[0], trusted.public()];
    let path = manifest(&shared, 2);
    let genuine = std::fs::read(&path).unwrap();
    // Signed by a key that may follow, and introducing one that has not agreed.
    let mut forged = read(&path);
    forged.key = trusted.id();
    let rotation = json!({"public": "AAAA", "proof": "AAAA"});
    forged.rotation = Some(serde_json::from_value(rotation).unwrap());
    std::fs::write(&path, trusted.signed(&forged)).unwrap();
    let auditor = shared.process(&root(NEW, &[]), &keys).await;
    assert_eq!(auditor.signing_keys().await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&path, genuine).unwrap();
    assert_eq!(auditor.signing_keys().await.unwrap(), keys[..1]);
}

/// Three processes after each other, so that no writer goes on after the cut.
async fn three_manifests(shared: &Shared) {
    for n in 0..3 {
        archive(&shared.process(&root(OLD, &[]), &[]).await, n * 4..(n + 1) * 4).await;
    }
}

fn manifest(shared: &Shared, number: u64) -> std::path::PathBuf {
    shared.directory.path().join(format!("audit/v1/manifest/{number:020}.jsonl"))
}

async fn assert_refuses(log: &AuditLog, part: &str) {
    let error = log.seal_and_archive().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn nobody_goes_on_from_a_chain_that_was_cut_off() {
    let shared = Shared::new();
    three_manifests(&shared).await;
    let cut: Vec<_> = [2, 3].map(|number| manifest(&shared, number)).into();
    let content: Vec<_> = cut.iter().map(|path| std::fs::read(path).unwrap()).collect();
    cut.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let next = shared.process(&root(OLD, &[]), &[]).await;
    for round in 0..4 {
        record(&next, 100 + round..101 + round).await;
        assert_refuses(&next, "00000000000000000003").await;
    }
    assert_eq!(fault(&next).await, Some(FaultKind::TruncatedChain), "it is still seen");
    for (path, content) in cut.iter().zip(content) {
        std::fs::write(path, content).unwrap();
    }
    next.seal_and_archive().await.unwrap();
    let report = next.verify().await.unwrap();
    assert_eq!((report.fault, report.entries), (None, 16), "nothing was lost");
}

#[tokio::test]
async fn the_checkpoint_tells_a_new_store_that_the_chain_was_cut_off() {
    let shared = Shared::new();
    three_manifests(&shared).await;
    let emptied = outside(&shared);
    for number in [2, 3] {
        std::fs::remove_file(manifest(&emptied, number)).unwrap();
    }
    let next = emptied.process(&root(OLD, &[]), &[]).await;
    for round in 0..12 {
        record(&next, round..round + 1).await;
        assert_refuses(&next, "12 entries").await;
    }
    assert_eq!(fault(&next).await, Some(FaultKind::TruncatedChain));
}

#[tokio::test]
async fn nobody_goes_on_from_another_chain_than_the_store_has_seen() {
    let (shared, other) = (Shared::new(), Shared::new());
    three_manifests(&shared).await;
    three_manifests(&other).await;
    archive(&other.process(&root(OLD, &[]), &[]).await, 12..16).await;
    put_back(&other, &shared);
    let next = shared.process(&root(OLD, &[]), &[]).await;
    record(&next, 16..20).await;
    assert_refuses(&next, "another content").await;
    assert_eq!(fault(&next).await, Some(FaultKind::BrokenChain));
}

#[tokio::test]
async fn a_log_is_held_to_the_key_of_today() {
    let shared = Shared::new();
    archive(&shared.process(&root(OLD, &[]), &[]).await, 0..4).await;
    let before = outside(&shared);
    let honest = shared.process(&root(NEW, &[OLD]), &[]).await;
    archive(&honest, 4..8).await;
    let rotated = outside(&shared);
    archive(&honest, 8..12).await;
    let keys = honest.signing_keys().await.unwrap();
    let found = async |shared: &Shared, key| {
        let auditor = shared.process(&root(OTHER, &[]), &keys[..1]).await;
        let options = VerifyOptions::new().with_key(key);
        let report = auditor.verify_with(&options, &|_| {}).await.unwrap();
        (report.key, report.fault.map(|fault| fault.kind))
    };
    assert_eq!(found(&shared, keys[1]).await, (Some(keys[1]), None));
    assert_eq!(found(&shared, keys[0]).await, (None, Some(FaultKind::UnknownKey)));
    assert_eq!(found(&Shared::new(), keys[1]).await, (None, Some(FaultKind::UnknownKey)));

    // Who has the old key and both bucket and store repeats the rotation over other content: all of
    // it is public.
    let path = manifest(&rotated, 2);
    let mut forged = read(&path);
    forged.created_at = Timestamp::UNIX_EPOCH;
    std::fs::write(&path, Forger::with_the_key_of(&root(OLD, &[])).signed(&forged)).unwrap();
    let checkpoint = |shared: &Shared| shared.directory.path().join("audit/v1/log/checkpoint");
    std::fs::copy(checkpoint(&before), checkpoint(&rotated)).unwrap();
    // Or goes on from before it.
    archive(&before.process(&root(OLD, &[]), &[]).await, 20..24).await;
    for forged in [rotated, before] {
        assert_eq!(forged.fault(&keys[..1]).await, None, "nothing inside tells");
        assert_eq!(found(&forged, keys[1]).await, (None, Some(FaultKind::UnknownKey)));
    }
}

fn hold_file(shared: &Shared, name: &str) -> std::path::PathBuf {
    shared.directory.path().join("audit/v1/holds").join(name)
}

fn all(id: &str) -> LegalHold {
    LegalHold::new(id, "litigation")
}

/// The release of a hold, signed by whoever has this root.
fn forge_release(shared: &Shared, id: &str, forger: &Forger) {
    let hold = std::fs::read(hold_file(shared, &format!("{id}.json"))).unwrap();
    let release = json!({
        "format": "watchdog-audit-hold-release/v1",
        "id": id,
        "hold": sha256(&hold),
        "released_at": SystemClock.now(),
        "key": forger.id(),
    });
    // In the order of the fields of a genuine one: the order is free, the signature is not.
    let path = hold_file(shared, &format!("{id}.released.json"));
    std::fs::write(path, forger.signed(&release)).unwrap();
}

#[tokio::test]
async fn a_key_that_was_replaced_releases_no_hold() {
    let shared = Shared::new();
    let old = shared.process(&root(OLD, &[]), &[]).await;
    old.hold(all("case-1"), clerk()).await.unwrap();
    archive(&old, 0..4).await;
    let forger = Forger::with_the_key_of(&root(OLD, &[]));
    forge_release(&shared, "case-1", &forger);
    assert_eq!(old.holds().await.unwrap().len(), 0, "the forger can sign as the log does today");
    std::fs::remove_file(hold_file(&shared, "case-1.released.json")).unwrap();

    let new = shared.process(&root(NEW, &[OLD]), &[]).await;
    archive(&new, 4..8).await;
    forge_release(&shared, "case-1", &forger);
    assert_eq!(new.holds().await.unwrap(), [all("case-1")], "the log does not tell of it");
    assert!(new.verify().await.unwrap().is_sound(), "what does not count does no harm");
}

#[tokio::test]
async fn what_was_released_before_a_rotation_stays_released() {
    let shared = Shared::new();
    let old = shared.process(&root(OLD, &[]), &[]).await;
    archive(&old, 8..12).await;
    old.hold(all("case-1"), clerk()).await.unwrap();
    old.release_hold("case-1", clerk()).await.unwrap();
    let new = shared.process(&root(NEW, &[OLD]), &[]).await;
    assert_eq!(new.holds().await.unwrap(), [], "the key still signs");
    archive(&new, 0..4).await;
    archive(&new, 4..8).await;
    assert_eq!(new.holds().await.unwrap(), [], "the log tells of it");
    assert!(new.verify().await.unwrap().is_sound());
    // A process that has the old key as its own and the new one as a previous one.
    let late = shared.process(&root(OLD, &[NEW]), &[]).await;
    late.hold(all("case-2"), clerk()).await.unwrap();
    late.release_hold("case-2", clerk()).await.unwrap();
    assert_eq!(new.holds().await.unwrap(), []);
}

#[tokio::test]
async fn holds_stay_what_they_are_when_the_key_that_signed_them_is_gone() {
    let shared = Shared::new();
    archive(&shared.process(&root(OLD, &[]), &[]).await, 0..4).await;
    let middle = shared.process(&root(NEW, &[OLD]), &[]).await;
    archive(&middle, 4..8).await;
    let access = all("case-1").with_category(Category::Access);
    middle.hold(access.clone(), clerk()).await.unwrap();
    middle.hold(all("case-2"), clerk()).await.unwrap();
    middle.release_hold("case-2", clerk()).await.unwrap();
    archive(&shared.process(&root(OTHER, &[NEW, OLD]), &[]).await, 8..12).await;
    // The chain vouches for the key in the middle: nobody needs to have it.
    let first = &middle.signing_keys().await.unwrap()[..1];
    let last = shared.process(&root(OTHER, &[]), first).await;
    assert_eq!(last.holds().await.unwrap(), [access]);
    assert_eq!(fault(&last).await, None);
}

/// An auditor with the bucket alone: no store tells that a manifest was another.
async fn audited(bucket: &Path) -> Option<(FaultKind, std::path::PathBuf)> {
    let auditor =
        log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::local(bucket).unwrap()).await;
    let fault = auditor.verify().await.unwrap().fault;
    fault.map(|fault| (fault.kind, bucket.join(fault.place)))
}

#[tokio::test]
async fn what_a_manifest_says_of_an_object_is_what_the_object_is() {
    let log = Log::new(&[4, 4]).await;
    let bucket = log.directory.path();
    let thief = Forger::with_the_key();
    let last = log.manifest(2);
    let honest = read(&last);
    assert_eq!(audited(bucket).await, None);
    let early = Timestamp::UNIX_EPOCH;
    let object = |change: &dyn Fn(&mut watchdog_audit::ArchivedObject)| {
        let mut forged: Manifest = honest.clone();
        change(&mut forged.objects[0]);
        thief.signed(&forged)
    };
    let recorded = honest.objects[0].recorded;
    let day_later = recorded.to + jiff::SignedDuration::from_hours(24);
    let path = bucket.join(&honest.objects[0].key);
    // An hour early within the day: what it excuses is for the lines to tell.
    let within =
        TimeRange { from: recorded.from, to: recorded.to - jiff::SignedDuration::from_nanos(1) };
    for forged in [
        object(&|object| object.recorded = within),
        object(&|object| object.occurred.from = early),
        object(&|object| object.occurred.to = day_later),
        object(&|object| object.bytes += 1),
        object(&|object| object.raw_bytes += 1),
    ] {
        let _forged = Restored::change(&last, &forged);
        assert_eq!(audited(bucket).await, Some((FaultKind::AlteredObject, path.clone())));
    }
    // What the name of the object says.
    let key = honest.objects[0].key.clone();
    let elsewhere = key.replace("category=application", "category=database");
    assert_ne!(key, elsewhere);
    copy(path.parent().unwrap(), bucket.join(&elsewhere).parent().unwrap());
    for forged in [
        object(&|object| object.recorded = TimeRange { from: early, to: early }),
        object(&|object| object.recorded.to = day_later),
        object(&|object| object.key.clone_from(&elsewhere)),
    ] {
        let _forged = Restored::change(&last, &forged);
        assert_eq!(audited(bucket).await, Some((FaultKind::AlteredManifest, last.clone())));
    }
}

#[tokio::test]
async fn an_object_that_has_expired_was_of_the_category_it_is_said_to_be() {
    let log = Log::new(&[4]).await;
    let bucket = log.directory.path();
    let last = log.manifest(1);
    let mut forged = read(&last);
    // Security entries under the short retention of others, gone with the excuse of it.
    let object = forged.objects.iter_mut().find(|object| object.category == Category::Security);
    let object = object.unwrap();
    let path = bucket.join(&object.key);
    object.category = Category::Database;
    object.key = object.key.replace("category=security", "category=database");
    std::fs::write(&last, Forger::with_the_key().signed(&forged)).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(audited(bucket).await, Some((FaultKind::AlteredManifest, last)));
}

#[tokio::test]
async fn no_proof_is_handed_out_that_does_not_hold() {
    let log = Log::new(&[3, 300]).await;
    let (writer, range) = read(&log.manifest(1)).writers.pop_first().unwrap();
    let kept = log.log.checkpoint().await.unwrap().unwrap();
    log.archive(5).await;
    let key = log.log.signing_keys().await.unwrap()[0];
    let entry = (writer, range.first);
    log.log.prove(entry).await.unwrap().unwrap().verify(&key).unwrap();
    log.log.prove_since(&kept).await.unwrap().verify(&key, &key).unwrap();
    let tile = log.path("log/tile/0/001.p/52");
    let content = std::fs::read(&tile).unwrap();
    let mut altered = content.clone();
    altered[46 * 32] ^= 1;
    let _altered = Restored::change(&tile, &altered);
    assert_eq!(log.log.prove(entry).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(log.log.prove_since(&kept).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
