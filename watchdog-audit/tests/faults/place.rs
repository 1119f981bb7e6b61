//! Where the entries of a test go, in words that another process understands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use uuid::Uuid;
use watchdog_audit::{
    AuditConfig, AuditLog, AuditLogBuilder, Durability, EmbeddedStore, RedisStore, SegmentStore,
};
use watchdog_core::{RootKeys, Secret};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, RedisConfig};

/// Segments of a few frames.
const SEGMENT_BYTES: u64 = 20_000;

/// A store, a bucket and a ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    /// `None` for a file in the directory.
    pub(crate) redis: Option<RedisPlace>,
    pub(crate) durability: Durability,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RedisPlace {
    url: String,
    pub(crate) prefix: String,
    partitions: u16,
}

impl Place {
    pub(crate) fn file(directory: &TempDir) -> Self {
        Self::at(directory.path())
    }

    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), redis: None, durability: Durability::Store }
    }

    pub(crate) fn redis(directory: &TempDir, url: &str, partitions: u16) -> Self {
        let prefix = format!("t{}", Uuid::now_v7().simple());
        let redis = RedisPlace { url: url.to_owned(), prefix, partitions };
        Self {
            directory: directory.path().to_owned(),
            redis: Some(redis),
            durability: Durability::Store,
        }
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.directory.join("bucket")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    pub(crate) fn objects(&self) -> Objects {
        Objects::local(self.bucket()).unwrap()
    }

    pub(crate) async fn client(&self) -> Option<Redis> {
        let place = self.redis.as_ref()?;
        let mut config = RedisConfig::from_url(&place.url).unwrap();
        config.key_prefix.clone_from(&place.prefix);
        Some(Redis::connect(&config).await.unwrap())
    }

    pub(crate) async fn store(&self) -> Arc<dyn SegmentStore> {
        match (self.client().await, &self.redis) {
            (Some(client), Some(place)) => Arc::new(RedisStore::new(client, place.partitions)),
            _ => Arc::new(EmbeddedStore::open(self.directory.join("store")).unwrap()),
        }
    }

    /// A log with small segments that archives only when it is asked to.
    pub(crate) async fn log(&self) -> AuditLog {
        self.builder().await.build().await.unwrap()
    }

    pub(crate) async fn builder(&self) -> AuditLogBuilder {
        builder(self.store().await, &self.objects()).with_config(&self.config())
    }

    /// With spools that the next process finds.
    pub(crate) fn config(&self) -> AuditConfig {
        let spool_directory = self.directory.join("own");
        AuditConfig { spool_directory, durability: self.durability, ..config() }
    }

    /// Where keys of subjects are kept.
    pub(crate) fn keys(&self) -> std::path::PathBuf {
        self.directory.join("keys")
    }

    fn spools(&self) -> usize {
        std::fs::read_dir(self.directory.join("own/spool")).map_or(0, Iterator::count)
    }
}

/// Archives until nothing is left in a spool, also of what killed processes left.
pub(crate) async fn settled(logs: &[&AuditLog], place: &Place) {
    let is_empty =
        |log: &&AuditLog| log.spool().is_none_or(|spool| spool.unsent == 0 && spool.adopted == 0);
    let drained = async {
        while !logs.iter().all(is_empty) || place.spools() > logs.len() {
            // A spool keeps what is not archived, where that was asked for.
            let _ = logs[0].seal_and_archive().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, drained).await;
    let left: Vec<_> = logs.iter().map(|log| log.spool()).collect();
    assert!(outcome.is_ok(), "{} spools are left: {left:?}", place.spools());
}

pub(crate) fn config() -> AuditConfig {
    // Nobody adopts what another test leaves.
    let own = format!("wd-spool-{}", Uuid::now_v7().simple());
    AuditConfig {
        segment_max_bytes: SEGMENT_BYTES,
        // Whoever looks after spools does so every second.
        segment_max_age: Duration::from_secs(4),
        spool_directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join(own),
        ..AuditConfig::default()
    }
}

pub(crate) fn keys() -> RootKeys {
    RootKeys::new(&Secret::from("a secret of at least thirty-two bytes"), &[]).unwrap()
}

pub(crate) fn builder(store: Arc<dyn SegmentStore>, bucket: &Objects) -> AuditLogBuilder {
    AuditLog::builder()
        .with_config(&config())
        .with_shared_store(store)
        .with_archive(bucket.clone(), &keys())
        .with_encryption(&keys())
        .without_background()
}

pub(crate) async fn log(store: Arc<dyn SegmentStore>, bucket: &Objects) -> AuditLog {
    builder(store, bucket).build().await.unwrap()
}

/// How long something may take that takes no time on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}
