//! The lifecycle of a log's bucket: planned, checked, applied.

use watchdog_core::audit::Category;
use watchdog_storage::ErrorKind as Storage;
use watchdog_storage::objects::{BucketSettings, LifecycleRule};

use super::{Found, LifecycleFinding, LifecycleFindingKind, Terms};
use crate::error::{Result, storage};
use crate::hold::{Holds, in_force};
use crate::log::AuditLog;

impl AuditLog {
    /// The lifecycle rules the bucket is to have: one per category, over its objects alone.
    ///
    /// Objects expire after the retention of their category, never for 0; they move to Glacier only
    /// where they stay there for the 90 days it charges for. A category that a legal hold may
    /// concern has no expiry, for old versions neither.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) without an archive, else as of the bucket:
    /// the legal holds are read.
    pub async fn lifecycle_plan(&self) -> Result<Vec<LifecycleRule>> {
        let holds = self.holds_in_force().await?;
        Ok(self.terms(&holds).plan())
    }

    /// Compares the bucket with the plan: what is missing, what differs, what rules of others do to
    /// the archive, whether old versions are kept and objects encrypted. Empty when all is as
    /// planned.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle_plan`](Self::lifecycle_plan).
    pub async fn check_lifecycle(&self) -> Result<Vec<LifecycleFinding>> {
        let holds = self.holds_in_force().await?;
        let mut findings = match self.found().await? {
            Some(found) => self.terms(&holds).findings(&found),
            None => vec![LifecycleFinding::new(
                LifecycleFindingKind::Unsupported,
                "",
                "the store has no lifecycle rules: nothing expires in the archive, and nothing moves",
            )],
        };
        findings.extend(self.outlived());
        Ok(findings)
    }

    /// Writes the planned rules to the bucket, keeps those of others, lets it keep old versions and
    /// encrypt by default where it does neither, reads everything back, and answers what is still
    /// not as planned.
    ///
    /// Versioning and default encryption are settings of the whole bucket: other objects in it are
    /// versioned and encrypted from then on, too. Whoever changes the rules at the same moment may
    /// overwrite these: S3 has no conditional write for them. The answer is what the bucket said
    /// afterwards.
    ///
    /// # Errors
    ///
    /// As of [`lifecycle_plan`](Self::lifecycle_plan);
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the store refuses the rules.
    pub async fn apply_lifecycle(&self) -> Result<Vec<LifecycleFinding>> {
        let holds = self.holds_in_force().await?;
        let terms = self.terms(&holds);
        if let Some(found) = self.found().await? {
            let settings = self.settings()?;
            let merged = terms.merged(&found.rules);
            if merged != found.rules && !is_same(&merged, &found.rules) {
                let refused = storage("the bucket did not take the lifecycle rules");
                settings.set_lifecycle(&merged).await.map_err(refused)?;
            }
            let findings = terms.findings(&found);
            let has = |kind| findings.iter().any(|finding| finding.kind == kind);
            if found.versioning.is_some() && has(LifecycleFindingKind::VersioningOff) {
                let refused = storage("the bucket did not take to keeping old versions");
                settings.enable_versioning().await.map_err(refused)?;
            }
            if found.encryption.is_some() && has(LifecycleFindingKind::EncryptionOff) {
                // A store may know of it and not do it; what it does is read back.
                if let Err(error) = settings.encrypt_by_default().await {
                    tracing::warn!(%error, "the bucket does not encrypt by default");
                }
            }
        }
        self.check_lifecycle().await
    }

    /// What the configuration asks for: rules are applied or only compared, and what is not as
    /// planned is told.
    pub(crate) async fn tend_lifecycle(&self) -> Result<()> {
        let findings = if self.inner().lifecycle().apply {
            self.apply_lifecycle().await?
        } else {
            self.check_lifecycle().await?
        };
        for finding in findings {
            use LifecycleFindingKind as Kind;
            if finding.is_harmful() {
                tracing::error!(%finding, "the bucket may remove audit entries before their time");
            } else if matches!(finding.kind, Kind::Unsupported | Kind::StoreOutlivesArchive) {
                tracing::info!(%finding, "the lifecycle of audit entries");
            } else {
                tracing::warn!(%finding, "the audit bucket is not as planned");
            }
        }
        Ok(())
    }

    async fn holds_in_force(&self) -> Result<Holds> {
        in_force(self.archiver()?.archive(), self.inner().keys()).await
    }

    fn terms<'a>(&self, holds: &'a Holds) -> Terms<'a> {
        let inner = self.inner();
        Terms { retention: inner.retention(), lifecycle: inner.lifecycle(), holds }
    }

    fn settings(&self) -> Result<BucketSettings> {
        Ok(self.archiver()?.archive().bucket().settings())
    }

    /// How the bucket is set, `None` where the store has no lifecycle rules.
    async fn found(&self) -> Result<Option<Found>> {
        let settings = self.settings()?;
        let unread = storage("the bucket did not tell its settings");
        let Some(rules) = supported(settings.lifecycle().await).map_err(unread)? else {
            return Ok(None);
        };
        let versioning = supported(settings.versioning().await).map_err(unread)?;
        let encryption = supported(settings.default_encryption().await).map_err(unread)?;
        Ok(Some(Found { rules, versioning, encryption }))
    }

    /// Categories whose entries stay in the store longer than in the archive.
    fn outlived(&self) -> Vec<LifecycleFinding> {
        let (retention, ttl) = (self.inner().retention(), self.inner().ttl());
        let outlives = |category: &Category| retention.of(*category).is_some_and(|kept| kept < ttl);
        let finding = |category: Category| {
            let days = ttl.as_secs() / 86_400;
            let kept = retention.of(category).map_or(0, |kept| kept.as_secs() / 86_400);
            let detail = format!(
                "entries stay in the store for {days} d and in the archive for {kept} d: they are \
                 found in the store until then"
            );
            let kind = LifecycleFindingKind::StoreOutlivesArchive;
            LifecycleFinding::new(kind, category.as_str(), detail)
        };
        Category::ALL.into_iter().filter(outlives).map(finding).collect()
    }
}

/// `None` where the store has no such API.
fn supported<T>(outcome: watchdog_storage::Result<T>) -> watchdog_storage::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == Storage::Misuse => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_same(one: &[LifecycleRule], other: &[LifecycleRule]) -> bool {
    one.len() == other.len() && one.iter().all(|rule| other.iter().any(|found| found.is_same(rule)))
}
