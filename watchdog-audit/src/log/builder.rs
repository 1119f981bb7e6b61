//! How a log is put together.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use watchdog_core::{Clock, RootKeys, SystemClock};
#[cfg(feature = "objects")]
use watchdog_storage::objects::Objects;

#[cfg(feature = "objects")]
use crate::archive::Archive;
#[cfg(feature = "objects")]
use crate::archiver::Archiver;
use crate::config::AuditConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::log::delivery::Delivery;
use crate::log::heir::Encoder;
use crate::log::keeper::Keeper;
use crate::log::policy::Policy;
use crate::log::queue::Queue;
use crate::log::shared::Shared;
use crate::log::watermark::Watermark;
use crate::log::writer::{Writer, WriterParts};
use crate::log::{AuditLog, Inner, Tasks, spooling, tend};
use crate::personal::SubjectKeys;
#[cfg(feature = "objects")]
use crate::signing::{PublicKey, Signer};
use crate::spool::{SpoolFiles, SystemFiles};
use crate::store::SegmentStore;
use crate::subjects::{DerivedSubjectKeys, KeyVault, StoredSubjectKeys};
use crate::telemetry::{self, Mirror};
use crate::writer_id::WriterId;

/// Settings of an [`AuditLog`]; [`build`](Self::build) starts it.
#[derive(Debug)]
pub struct AuditLogBuilder {
    config: AuditConfig,
    store: Option<Arc<dyn SegmentStore>>,
    subject_keys: Option<Result<Arc<dyn SubjectKeys>>>,
    clock: Arc<dyn Clock>,
    record_timeout: Duration,
    reader_roles: Vec<String>,
    tends: bool,
    spool_files: Arc<dyn SpoolFiles>,
    #[cfg(feature = "objects")]
    archive: Option<Objects>,
    #[cfg(feature = "objects")]
    signing: Option<Result<Signer>>,
    #[cfg(all(feature = "objects", feature = "postgres"))]
    copy: Option<crate::copy::PostgresCopy>,
}

impl Default for AuditLogBuilder {
    fn default() -> Self {
        Self {
            config: AuditConfig::default(),
            store: None,
            subject_keys: None,
            clock: Arc::new(SystemClock),
            record_timeout: Duration::from_secs(5),
            reader_roles: crate::reader::READER_ROLES.map(String::from).into(),
            tends: true,
            spool_files: Arc::new(SystemFiles),
            #[cfg(feature = "objects")]
            archive: None,
            #[cfg(feature = "objects")]
            signing: None,
            #[cfg(all(feature = "objects", feature = "postgres"))]
            copy: None,
        }
    }
}

impl AuditLogBuilder {
    /// Takes the settings from the configuration.
    #[must_use]
    pub fn with_config(mut self, config: &AuditConfig) -> Self {
        self.config = config.clone();
        self
    }

    /// Where segments live. There is no default: whether entries outlive the process is not to be
    /// left open.
    #[must_use]
    pub fn with_store(mut self, store: impl SegmentStore + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// As [`with_store`](Self::with_store), for a store that is chosen at run time.
    #[must_use]
    pub fn with_shared_store(mut self, store: Arc<dyn SegmentStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Seals personal fields under keys derived from the encryption root.
    #[must_use]
    pub fn with_encryption(mut self, root: &RootKeys) -> Self {
        let keys = DerivedSubjectKeys::new(root);
        self.subject_keys = Some(keys.map(|keys| Arc::new(keys) as Arc<dyn SubjectKeys>));
        self
    }

    /// Seals personal fields under random keys that a vault keeps, wrapped under the encryption
    /// root: a subject can be erased, see [`subjects`](crate::subjects). A clock is to be set
    /// before.
    #[must_use]
    pub fn with_subject_key_vault(mut self, vault: Arc<dyn KeyVault>, root: &RootKeys) -> Self {
        let keys = StoredSubjectKeys::new(vault, root);
        let clock = Arc::clone(&self.clock);
        self.subject_keys =
            Some(keys.map(|keys| Arc::new(keys.with_clock(clock)) as Arc<dyn SubjectKeys>));
        self
    }

    /// Seals personal fields under keys of another source, such as a
    /// [`SubjectKeySource`](crate::SubjectKeySource).
    #[must_use]
    pub fn with_subject_keys(mut self, keys: Arc<dyn SubjectKeys>) -> Self {
        self.subject_keys = Some(Ok(keys));
        self
    }

    /// Archives into a bucket, with manifests signed by the key of the configured file, else by one
    /// derived from the secret root. Keys of retired roots, and those after the first in the file,
    /// introduce the one that follows them.
    ///
    /// While no process that shares the store has ever had an archive, a segment expires after the
    /// configured retention, counted from its last entry.
    #[cfg(feature = "objects")]
    #[must_use]
    pub fn with_archive(self, bucket: Objects, signing: &RootKeys) -> Self {
        self.with_archive_trusting(bucket, signing, &[])
    }

    /// As [`with_archive`](Self::with_archive); manifests signed by one of `trusted` are accepted
    /// as well.
    #[cfg(feature = "objects")]
    #[must_use]
    pub fn with_archive_trusting(
        mut self,
        bucket: Objects,
        signing: &RootKeys,
        trusted: &[PublicKey],
    ) -> Self {
        self.archive = Some(bucket);
        self.signing = Some(Signer::new(signing, trusted));
        self
    }

    /// Copies what is archived into Postgres, when the setting `postgres_copy` asks for it.
    ///
    /// Postgres need not be there when the log starts: the copy catches up.
    #[cfg(all(feature = "objects", feature = "postgres"))]
    #[must_use]
    pub fn with_postgres_copy(mut self, copy: impl Into<crate::copy::PostgresCopy>) -> Self {
        self.copy = Some(copy.into());
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a caller waits for a place in the queue, and again for the acknowledgement; five
    /// seconds by default.
    #[must_use]
    pub fn with_record_timeout(mut self, limit: Duration) -> Self {
        self.record_timeout = limit;
        self
    }

    /// Writes the spool through `files`; by default those of the operating system.
    #[must_use]
    pub fn with_spool_files(mut self, files: Arc<dyn SpoolFiles>) -> Self {
        self.spool_files = files;
        self
    }

    /// The roles of which a reader needs one; [`READER_ROLES`](crate::READER_ROLES) by default.
    #[must_use]
    pub fn with_reader_roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.reader_roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Starts no background task but the one that looks after the spool: nothing is sealed by age
    /// or archived unless it is asked for.
    #[must_use]
    pub fn without_background(mut self) -> Self {
        self.tends = false;
        self
    }

    /// Checks the store and starts the log. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] without a store, on a store that may throw entries away, or when
    /// personal fields are to be sealed and no keys are given, or with a
    /// [`Durability`](crate::Durability) that store or spool directory cannot give; [`ErrorKind::Key`] for unusable
    /// keys; else as of the store.
    pub async fn build(self) -> Result<AuditLog> {
        telemetry::describe();
        let Some(store) = self.store else {
            return Err(Error::new(ErrorKind::Config, "the audit log has no store"));
        };
        let keys = match (self.config.encryption_enabled, self.subject_keys) {
            (false, _) => None,
            (true, Some(keys)) => Some(keys?),
            (true, None) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "personal fields are to be sealed and no keys are given: set \
                     WATCHDOG_ENCRYPTION_KEY, or WATCHDOG_AUDIT_ENCRYPTION_ENABLED=false",
                ));
            }
        };
        if self.config.enabled {
            store.preflight().await?;
            if let Some(keys) = &keys {
                keys.preflight().await?;
            }
        }
        let limits = self.config.limits();
        #[cfg(feature = "objects")]
        let archiver = match (self.archive, self.signing) {
            (Some(bucket), Some(signer)) => {
                let mut signer = signer?;
                if let Some(path) = &self.config.signing_key_file {
                    signer = signer.with_file(crate::signing::file::read(path).await?)?;
                }
                let archive = Archive::new(bucket, signer);
                let clock = Arc::clone(&self.clock);
                let (store, ttl) = (Arc::clone(&store), self.config.ttl());
                Some(Arc::new(Archiver::new(store, archive, keys.clone(), clock, limits, ttl)?))
            }
            _ => None,
        };
        #[cfg(feature = "objects")]
        let is_archived = archiver.is_some();
        #[cfg(not(feature = "objects"))]
        let is_archived = false;
        #[cfg(all(feature = "objects", feature = "postgres"))]
        let copier =
            crate::copy::Copier::chosen(self.config.postgres_copy, self.copy, is_archived)?;
        #[cfg(not(all(feature = "objects", feature = "postgres")))]
        if self.config.postgres_copy {
            return Err(Error::new(
                ErrorKind::Config,
                "the copy in Postgres needs the features `objects` and `postgres`",
            ));
        }
        if self.config.enabled {
            declare(store.as_ref(), is_archived).await?;
        }
        let unarchived_ttl = (!is_archived).then(|| self.config.ttl());
        let policy = Policy::new(&self.config, store.name(), is_archived);
        if self.config.enabled && policy.asks_replicas() {
            // A store without replicas says so at once.
            let (replicas, limit) = (policy.replicas, Duration::from_millis(1));
            store.replicated(0, WriterId::from_bytes([0; 16]), 0, replicas, limit).await?;
        }
        let id = WriterId::random()?;
        let watermark = Watermark {
            #[cfg(feature = "objects")]
            archiver: archiver.clone(),
        };
        let delivery = Delivery::new(Arc::clone(&store), watermark, limits, unarchived_ttl, id);
        let shared = Arc::<Shared>::default();
        let owner = (shared.as_ref(), id);
        let spools = spooling::open(&self.config, &delivery, self.spool_files, owner).await?;
        let (place, found) =
            spools.map_or((None, Vec::new()), |(place, found)| (Some(place), found));
        let (orphaning, orphans) = mpsc::unbounded_channel();
        let parts = WriterParts {
            keys: keys.clone(),
            key_patience: self.record_timeout,
            clock: Arc::clone(&self.clock),
            mirror: Mirror(self.config.log_level),
            policy,
            shared: Arc::clone(&shared),
            delivery: delivery.clone(),
            place: place.clone().filter(|_| shared.spool().is_some()),
            orphans: orphaning,
        };
        let writer = Writer::new(parts, id);
        let (queue, jobs) = Queue::new();
        let log = AuditLog {
            inner: Arc::new(Inner {
                queue,
                shared: Arc::clone(&shared),
                store,
                keys,
                clock: self.clock,
                record_timeout: self.record_timeout,
                is_enabled: self.config.enabled,
                writer: id,
                full_queue: self.config.full_queue,
                fail_closed: self.config.fail_closed,
                #[cfg(feature = "objects")]
                archiver,
                #[cfg(feature = "objects")]
                retention: self.config.retention,
                #[cfg(feature = "objects")]
                lifecycle: self.config.lifecycle,
                #[cfg(feature = "objects")]
                ttl: self.config.ttl(),
                #[cfg(all(feature = "objects", feature = "postgres"))]
                copier,
                unarchived_ttl,
                limits,
                reader_roles: self.reader_roles,
                tasks: Tasks::default(),
            }),
        };
        let tasks = &log.inner.tasks;
        *tasks.writer.lock().await = Some(tokio::spawn(writer.run(jobs)));
        if let Some(place) = place {
            let every = (self.config.segment_max_age / 4)
                .clamp(Duration::from_secs(1), Duration::from_secs(10));
            let keys = log.inner.keys.clone();
            let encoder = Encoder { keys, clock: Arc::clone(&log.inner.clock) };
            let keeper = Keeper { shared, delivery, encoder, policy, place, orphans, every, found };
            let task = tokio::spawn(keeper.run());
            *tasks.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
        if self.tends && self.config.enabled {
            let every = (self.config.segment_max_age / 5)
                .clamp(Duration::from_secs(1), Duration::from_secs(60));
            let task = tokio::spawn(tend::run(Arc::downgrade(&log.inner), every));
            *tasks.tend.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            #[cfg(all(feature = "objects", feature = "postgres"))]
            log.start_copying(every);
        }
        Ok(log)
    }
}

/// Tells every process that shares the store that it is archived, before the first entry is taken:
/// from then on no segment has a life before the gate.
async fn declare(store: &dyn SegmentStore, is_archived: bool) -> Result<()> {
    for partition in 0..store.partitions() {
        if is_archived {
            store.raise_fence(partition, 1).await?;
        } else if store.partition(partition).await?.fence > 0 {
            tracing::warn!(
                partition,
                "this process has no audit archive and shares its store with one that has or had: \
                 nothing expires before it is archived"
            );
        }
    }
    Ok(())
}
