//! A small archive, and manifests signed by a key that the log trusts: what a stolen key could write.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};
use watchdog_audit::{AuditLog, EmbeddedStore, PublicKey};
use watchdog_storage::objects::Objects;

use crate::archive::sha256;
use crate::load::entry;
use crate::place::{config, keys, log};

/// The key of every forged manifest.
fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

pub(crate) fn trusted() -> PublicKey {
    PublicKey::from_bytes(pair().public_key().as_ref().try_into().unwrap())
}

/// A log over an empty store that trusts the forger.
pub(crate) async fn trusting(bucket: &Objects) -> AuditLog {
    AuditLog::builder()
        .with_config(&config())
        .with_shared_store(Arc::new(EmbeddedStore::memory().unwrap()))
        .with_archive_trusting(bucket.clone(), &keys(), &[trusted()])
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap()
}

/// The objects of an archive of a few entries, by key.
pub(crate) async fn archive() -> Vec<(String, Bytes)> {
    let bucket = Objects::memory();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    for round in 0..2 {
        for n in 0..6 {
            log.record(entry(round * 6 + n, 20)).await.unwrap();
        }
        log.seal_and_archive().await.unwrap();
    }
    let listed = bucket.list("audit/", None, 1000).await.unwrap().objects;
    let mut objects = Vec::new();
    for object in listed {
        let content = bucket.get(&object.key).await.unwrap();
        objects.push((object.key, content));
    }
    objects
}

pub(crate) fn is_manifest(key: &str) -> bool {
    key.starts_with("audit/v1/manifest/")
}

pub(crate) fn is_object(key: &str) -> bool {
    key.starts_with("audit/v1/category=")
}

/// A bucket with these objects.
pub(crate) async fn bucket(objects: &[(String, Bytes)]) -> Objects {
    let bucket = Objects::memory();
    for (key, content) in objects {
        bucket.put(key, content.clone()).await.unwrap();
    }
    bucket
}

/// What a manifest says.
pub(crate) fn said(content: &Bytes) -> Value {
    serde_json::from_slice(content.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

/// A manifest that says this, signed by the forger.
pub(crate) fn signed(mut manifest: Value) -> Bytes {
    if let Some(fields) = manifest.as_object_mut() {
        fields.insert("key".into(), json!(trusted().id()));
    }
    let mut bytes = serde_json::to_vec(&manifest).unwrap();
    bytes.push(b'\n');
    let signature = BASE64.encode(pair().sign(&bytes));
    bytes.extend_from_slice(format!("{{\"signature\":\"{signature}\"}}\n").as_bytes());
    bytes.into()
}

/// Signs every manifest anew, each naming the one before, after `change` had its way with each.
pub(crate) fn forged(
    objects: &[(String, Bytes)],
    mut change: impl FnMut(usize, &mut Value),
) -> Vec<(String, Bytes)> {
    let mut previous = String::new();
    let mut number = 0;
    let mut forge = |(key, content): &(String, Bytes)| {
        if !is_manifest(key) {
            return (key.clone(), content.clone());
        }
        let mut manifest = said(content);
        manifest["previous"] = json!(previous);
        change(number, &mut manifest);
        let content = signed(manifest);
        previous = sha256(&content);
        number += 1;
        (key.clone(), content)
    };
    objects.iter().map(&mut forge).collect()
}
