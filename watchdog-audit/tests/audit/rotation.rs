//! The signing key in a file of its own, and its rotation in the chain.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, FaultKind, Manifest, PublicKey, SegmentStore,
};
use watchdog_core::{RootKeys, Secret};
use watchdog_storage::objects::Objects;

use crate::archive::files;
use crate::bench::{keys, record};

pub(crate) const OLD: &str = "the old secret, at least 32 bytes long";
pub(crate) const NEW: &str = "the new secret, at least 32 bytes long";
pub(crate) const OTHER: &str = "a foreign secret of at least 32 bytes";

pub(crate) fn root(current: &str, previous: &[&str]) -> RootKeys {
    let previous: Vec<_> = previous.iter().map(|&text| Secret::from(text)).collect();
    RootKeys::new(&Secret::from(current), &previous).unwrap()
}

/// One store and one bucket that processes with different keys share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn SegmentStore>,
    pub(crate) directory: tempfile::TempDir,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let store = Arc::new(EmbeddedStore::memory().unwrap());
        Self { store, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn process(&self, signing: &RootKeys, trusted: &[PublicKey]) -> AuditLog {
        self.process_with(AuditConfig::default(), signing, trusted).await.unwrap()
    }

    pub(crate) async fn process_with(
        &self,
        config: AuditConfig,
        signing: &RootKeys,
        trusted: &[PublicKey],
    ) -> watchdog_audit::Result<AuditLog> {
        AuditLog::builder()
            .with_config(&config)
            .with_shared_store(Arc::clone(&self.store))
            .with_archive_trusting(Objects::local(self.directory.path()).unwrap(), signing, trusted)
            .with_encryption(&keys())
            .without_background()
            .build()
            .await
    }

    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        let paths = files(&self.directory.path().join("audit/v1/manifest"));
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap();
            serde_json::from_str(text.lines().next().unwrap()).unwrap()
        };
        paths.iter().map(read).collect()
    }

    /// What a verifier finds that has these public keys and no secret of the log.
    pub(crate) async fn fault(&self, trusted: &[PublicKey]) -> Option<FaultKind> {
        let auditor = self.process(&RootKeys::ephemeral().unwrap(), trusted).await;
        auditor.verify().await.unwrap().fault.map(|fault| fault.kind)
    }
}

pub(crate) async fn archive(log: &AuditLog, numbers: std::ops::Range<u64>) {
    record(log, numbers).await;
    log.seal_and_archive().await.unwrap();
}

#[tokio::test]
async fn the_first_public_key_is_all_a_verifier_needs() {
    let shared = Shared::new();
    archive(&shared.process(&root(OLD, &[]), &[]).await, 0..4).await;
    let log = shared.process(&root(NEW, &[OLD]), &[]).await;
    archive(&log, 4..8).await;
    archive(&log, 8..12).await;
    archive(&shared.process(&root(OTHER, &[NEW, OLD]), &[]).await, 12..16).await;
    let rotations: Vec<_> =
        shared.manifests().iter().map(|manifest| manifest.rotation.is_some()).collect();
    assert_eq!(rotations, [false, true, false, true]);
    let keys = log.signing_keys().await.unwrap();
    assert_eq!(keys.len(), 3);
    assert_eq!(shared.fault(&keys[..1]).await, None);
    assert_eq!(shared.fault(&keys[1..]).await, Some(FaultKind::UnknownKey));
    let checkpoint = log.checkpoint().await.unwrap().unwrap();
    assert!(checkpoint.is_signed_by(&keys[2]) && !checkpoint.is_signed_by(&keys[0]));
    assert!(checkpoint.origin().ends_with(&keys[0].id()), "the log keeps its name");
}

#[tokio::test]
async fn a_fleet_that_is_replaced_one_by_one_goes_on_with_the_new_key() {
    let shared = Shared::new();
    // The new key is rolled out as a previous one first.
    let old = shared.process(&root(OLD, &[NEW]), &[]).await;
    archive(&old, 0..4).await;
    let new = shared.process(&root(NEW, &[OLD]), &[]).await;
    archive(&new, 4..8).await;
    archive(&old, 8..12).await;
    archive(&new, 12..16).await;
    let manifests = shared.manifests();
    let rotations = manifests.iter().filter(|manifest| manifest.rotation.is_some()).count();
    assert_eq!(rotations, 1, "the key that was replaced does not come back");
    assert_eq!(manifests[2].key, manifests[3].key);
    assert!(new.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_process_that_was_not_told_of_the_new_key_leaves_the_archive_alone() {
    let shared = Shared::new();
    let old = shared.process(&root(OLD, &[]), &[]).await;
    archive(&old, 0..4).await;
    archive(&shared.process(&root(NEW, &[OLD]), &[]).await, 4..8).await;
    record(&old, 8..12).await;
    let error = old.seal_and_archive().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(error.to_string().contains("as a previous one"), "{error}");
    assert!(
        old.verify().await.unwrap().is_sound(),
        "it can verify: the old key vouches for the new"
    );
    let new = shared.process(&root(NEW, &[OLD]), &[]).await;
    new.seal_and_archive().await.unwrap();
    assert_eq!(new.verify().await.unwrap().entries, 12);
}

#[tokio::test]
async fn a_key_that_nobody_introduced_is_named() {
    let shared = Shared::new();
    let first = shared.process(&root(OLD, &[]), &[]).await;
    archive(&first, 0..4).await;
    let keys = first.signing_keys().await.unwrap();
    // Who has the bucket and another key goes on with the chain: the old key is not at hand.
    let intruder = shared.process(&root(OTHER, &[]), &keys).await;
    archive(&intruder, 4..8).await;
    assert_eq!(shared.fault(&keys).await, Some(FaultKind::UnknownKey));
    assert_eq!(
        first.verify().await.unwrap().fault.map(|fault| fault.kind),
        Some(FaultKind::UnknownKey)
    );
    // Unless it is trusted by name.
    let both = intruder.signing_keys().await.unwrap();
    assert_eq!(shared.fault(&both).await, None);
}

fn openssl(path: &Path) -> bool {
    let command = ["genpkey", "-algorithm", "ed25519", "-out"];
    Command::new("openssl").args(command).arg(path).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_key_file_signs_and_introduces_itself() {
    let shared = Shared::new();
    let derived = shared.process(&keys(), &[]).await;
    archive(&derived, 0..4).await;
    let first = derived.signing_keys().await.unwrap();
    let file = shared.directory.path().join("key.pem");
    let config = AuditConfig { signing_key_file: Some(file.clone()), ..AuditConfig::default() };
    let error = shared.process_with(config.clone(), &keys(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let command = format!("openssl genpkey -algorithm ed25519 -out {}", file.display());
    assert!(error.to_string().contains(&command), "{error}");
    if !openssl(&file) {
        std::fs::write(&file, [7; 32]).unwrap();
    }
    let log = shared.process_with(config, &keys(), &[]).await.unwrap();
    archive(&log, 4..8).await;
    archive(&log, 8..12).await;
    assert_eq!(log.signing_keys().await.unwrap().len(), 2);
    assert_eq!(shared.fault(&first).await, None, "the derived key vouches for the file's");
    let [second, third] = &shared.manifests()[1..] else { panic!("three manifests") };
    assert!(second.key == first[0].id() && third.key != first[0].id());
}
