//! Settings of the bucket itself: lifecycle rules, versioning, default encryption, object lock.
//!
//! Only S3 has them. A local directory, a bucket in memory and stores that answer "not implemented"
//! refuse the calls with [`ErrorKind::Misuse`], and say so: nothing is taken for granted.

#[cfg(feature = "s3")]
mod documents;
mod lifecycle;
#[cfg(feature = "s3")]
mod rules;

use super::Objects;
use crate::error::{Error, ErrorKind, Result};

pub use lifecycle::{Expiration, LifecycleRule, Transition};

/// Whether a bucket keeps the versions of an object that were replaced or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It never has.
    Off,
    /// It does.
    Enabled,
    /// It keeps those there are, and no new ones.
    Suspended,
}

/// How a bucket encrypts what is written without saying how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultEncryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub algorithm: String,
}

/// How a bucket locks what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLock {
    /// What every new object is locked with, if anything.
    pub retention: Option<LockRetention>,
}

/// The lock every new object gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRetention {
    /// `COMPLIANCE`: nobody can delete it before; `GOVERNANCE`: only who is allowed to.
    pub mode: String,
    /// For how many days; a year counts 365.
    pub days: u32,
}

/// The settings of a bucket. See [`Objects::settings`].
#[derive(Clone, Debug)]
pub struct BucketSettings {
    objects: Objects,
}

impl Objects {
    /// The settings of the bucket itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use watchdog_storage::{ErrorKind, objects::Objects};
    ///
    /// let refused = Objects::memory().settings().lifecycle().await.unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Misuse);
    /// # }
    /// ```
    pub fn settings(&self) -> BucketSettings {
        BucketSettings { objects: self.clone() }
    }
}

#[cfg(feature = "s3")]
impl BucketSettings {
    /// The lifecycle rules, none when there are none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the store has no lifecycle rules, [`ErrorKind::Unexpected`] when
    /// it answers with something else, else what the store says.
    pub async fn lifecycle(&self) -> Result<Vec<LifecycleRule>> {
        match self.read(Setting::Lifecycle).await? {
            Some(document) => rules::decode(&document).ok_or_else(|| strange(Setting::Lifecycle)),
            None => Ok(Vec::new()),
        }
    }

    /// Replaces all lifecycle rules. A rule that was read from the bucket and not changed is written
    /// back word by word, with everything this version knows nothing of.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle`](Self::lifecycle); [`ErrorKind::Unexpected`] for rules the store refuses.
    pub async fn set_lifecycle(&self, rules: &[LifecycleRule]) -> Result<()> {
        if rules.is_empty() {
            return self.call("DELETE", Setting::Lifecycle, None).await.map(drop);
        }
        let document = rules::encode(rules).ok_or_else(|| unwritable(Setting::Lifecycle))?;
        self.call("PUT", Setting::Lifecycle, Some(document)).await.map(drop)
    }

    /// Whether the bucket keeps old versions.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle`](Self::lifecycle).
    pub async fn versioning(&self) -> Result<Versioning> {
        let document = self.read(Setting::Versioning).await?.unwrap_or_default();
        documents::versioning(&document).ok_or_else(|| strange(Setting::Versioning))
    }

    /// Lets the bucket keep old versions from now on.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle`](Self::lifecycle).
    pub async fn enable_versioning(&self) -> Result<()> {
        let document =
            documents::versioning_enabled().ok_or_else(|| unwritable(Setting::Versioning))?;
        self.call("PUT", Setting::Versioning, Some(document)).await.map(drop)
    }

    /// How the bucket encrypts what is written without saying how, `None` when it does not.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle`](Self::lifecycle).
    pub async fn default_encryption(&self) -> Result<Option<DefaultEncryption>> {
        match self.read(Setting::Encryption).await? {
            Some(document) => {
                documents::encryption(&document).ok_or_else(|| strange(Setting::Encryption))
            }
            None => Ok(None),
        }
    }

    /// Lets the bucket encrypt with AES-256 under keys of the store what is written without saying
    /// how.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle`](Self::lifecycle).
    pub async fn encrypt_by_default(&self) -> Result<()> {
        let document =
            documents::encryption_aes256().ok_or_else(|| unwritable(Setting::Encryption))?;
        self.call("PUT", Setting::Encryption, Some(document)).await.map(drop)
    }

    /// How the bucket locks objects against deletion, `None` when it does not.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle`](Self::lifecycle).
    pub async fn object_lock(&self) -> Result<Option<ObjectLock>> {
        match self.read(Setting::ObjectLock).await? {
            Some(document) => {
                documents::object_lock(&document).ok_or_else(|| strange(Setting::ObjectLock))
            }
            None => Ok(None),
        }
    }

    async fn read(&self, setting: Setting) -> Result<Option<String>> {
        self.call("GET", setting, None).await
    }

    /// Sends one request; `None` when the bucket has no such setting.
    async fn call(
        &self,
        method: &'static str,
        setting: Setting,
        document: Option<String>,
    ) -> Result<Option<String>> {
        let objects = &self.objects;
        let Some(client) = objects.backend.settings() else {
            return Err(unsupported(setting, objects.backend.kind()));
        };
        let started = std::time::Instant::now();
        let call = client.call(objects.budget, method, setting, document);
        let outcome = objects.within(setting.operation(), "", call).await;
        super::metrics::record(setting.operation(), started.elapsed(), &outcome);
        outcome
    }
}

#[cfg(not(feature = "s3"))]
impl BucketSettings {
    /// The lifecycle rules: none but S3 has them, and that needs the feature `s3`.
    ///
    /// # Errors
    ///
    /// Always [`ErrorKind::Misuse`].
    #[expect(clippy::unused_async, reason = "the same signature as with the feature")]
    pub async fn lifecycle(&self) -> Result<Vec<LifecycleRule>> {
        Err(unsupported(Setting::Lifecycle, self.objects.backend.kind()))
    }
}

/// A setting of a bucket, by its API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Lifecycle,
    #[cfg(feature = "s3")]
    Versioning,
    #[cfg(feature = "s3")]
    Encryption,
    #[cfg(feature = "s3")]
    ObjectLock,
}

impl Setting {
    /// What it is called, and what it means to be without it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Lifecycle => ("lifecycle rules", "nothing expires or moves by itself"),
            #[cfg(feature = "s3")]
            Self::Versioning => ("versioning", "what is overwritten or deleted is gone"),
            #[cfg(feature = "s3")]
            Self::Encryption => {
                ("default encryption", "objects lie on its disks as they were sent")
            }
            #[cfg(feature = "s3")]
            Self::ObjectLock => ("object lock", "whoever may delete can delete at any time"),
        }
    }
}

#[cfg(feature = "s3")]
impl Setting {
    /// The query that names it.
    pub(super) fn query(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::Versioning => "versioning",
            Self::Encryption => "encryption",
            Self::ObjectLock => "object-lock",
        }
    }

    /// The name of its calls in errors and metrics.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Lifecycle => "bucket_lifecycle",
            Self::Versioning => "bucket_versioning",
            Self::Encryption => "bucket_encryption",
            Self::ObjectLock => "bucket_object_lock",
        }
    }

    /// Whether an error code says that the bucket merely lacks it.
    pub(super) fn is_absent(self, code: &str) -> bool {
        code == match self {
            Self::Lifecycle => "NoSuchLifecycleConfiguration",
            Self::Versioning => return false,
            Self::Encryption => "ServerSideEncryptionConfigurationNotFoundError",
            Self::ObjectLock => "ObjectLockConfigurationNotFoundError",
        }
    }
}

/// The error of a store that has no such setting.
pub(super) fn unsupported(setting: Setting, store: &str) -> Error {
    let (what, meaning) = setting.words();
    let context = format!("this store ({store}) has no API for {what}: {meaning}");
    Error::new(ErrorKind::Misuse, context)
}

#[cfg(feature = "s3")]
fn strange(setting: Setting) -> Error {
    let (what, _) = setting.words();
    Error::new(ErrorKind::Unexpected, format!("the store answers with no document about {what}"))
}

#[cfg(feature = "s3")]
fn unwritable(setting: Setting) -> Error {
    let (what, _) = setting.words();
    Error::new(ErrorKind::Misuse, format!("the document about {what} cannot be written"))
}
