//! What the bucket is to do with old objects: the plan, and how a bucket differs from it, without
//! I/O.
//!
//! One rule per category, over the prefix of its objects alone: manifests, tree, keys, epochs and
//! holds are never touched. Rules of others are kept, and named when they reach into the archive.

mod log;

use std::fmt;

use watchdog_core::audit::Category;
use watchdog_storage::objects::{DefaultEncryption, Expiration, LifecycleRule, Versioning};

use crate::config::{ArchiveRetention, LifecycleConfig};
use crate::hold::Holds;
use crate::retention::moves;

/// What the names of our rules begin with.
const OWN: &str = "watchdog-audit-";
/// Below which everything of the archive stands.
const PREFIX: &str = "audit/v1/";
/// The class objects move to.
const GLACIER: &str = "GLACIER";
/// Uploads in parts that were never completed.
const ABORT_MULTIPART_DAYS: u32 = 7;
/// Parts of the archive that prove it: they never expire and are always at hand.
const PROOFS: [&str; 5] = ["epoch/", "holds/", "keys/", "log/", "manifest/"];

/// What kind of thing in a bucket is not as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleFindingKind {
    /// The store has no lifecycle rules: nothing expires, and nothing moves.
    Unsupported,
    /// A planned rule is not there.
    MissingRule,
    /// A rule of ours says something else than is planned.
    DifferentRule,
    /// A rule of ours is not planned any more.
    LeftoverRule,
    /// A rule that is not planned removes objects of the archive earlier than they are to go.
    ForeignExpiry,
    /// A rule that is not planned moves what proves the archive to where it cannot be read at once.
    ForeignTransition,
    /// The bucket keeps no old versions: an object that is deleted or overwritten is gone.
    VersioningOff,
    /// The bucket does not encrypt by default.
    EncryptionOff,
    /// Entries stay in the store longer than in the archive.
    StoreOutlivesArchive,
}

/// Something in a bucket that is not as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleFinding {
    /// What kind of thing.
    pub kind: LifecycleFindingKind,
    /// The rule, or the category; empty when it is the whole bucket.
    pub subject: String,
    /// What was found, in words.
    pub detail: String,
}

impl LifecycleFinding {
    fn new(
        kind: LifecycleFindingKind,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, subject: subject.into(), detail: detail.into() }
    }

    /// Whether entries can be lost before their time: somebody must act.
    pub fn is_harmful(&self) -> bool {
        use LifecycleFindingKind as Kind;
        matches!(self.kind, Kind::DifferentRule | Kind::ForeignExpiry | Kind::ForeignTransition)
    }
}

impl fmt::Display for LifecycleFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject.as_str() {
            "" => write!(f, "{}", self.detail),
            subject => write!(f, "{subject}: {}", self.detail),
        }
    }
}

/// What the plan follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) retention: ArchiveRetention,
    pub(crate) lifecycle: LifecycleConfig,
    pub(crate) holds: &'a Holds,
}

/// How a bucket is set.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) rules: Vec<LifecycleRule>,
    /// `None` where the store has no such API.
    pub(crate) versioning: Option<Versioning>,
    pub(crate) encryption: Option<Option<DefaultEncryption>>,
}

fn prefix(category: Category) -> String {
    format!("{PREFIX}category={category}/")
}

impl Terms<'_> {
    /// The rules of the bucket that are ours, in the order of the categories.
    pub(crate) fn plan(&self) -> Vec<LifecycleRule> {
        Category::ALL.into_iter().map(|category| self.rule(category)).collect()
    }

    fn rule(&self, category: Category) -> LifecycleRule {
        let LifecycleConfig { glacier_days, noncurrent_days, .. } = self.lifecycle;
        let kept = self.retention.days(category);
        let is_held = self.holds.concern(category);
        let mut rule = LifecycleRule::new(format!("{OWN}{category}"), prefix(category))
            .with_abort_multipart_days(ABORT_MULTIPART_DAYS);
        if moves(glacier_days, kept) {
            rule = rule.with_transition(glacier_days, GLACIER);
        }
        if kept > 0 && !is_held {
            rule = rule.with_expiration_days(kept);
        }
        if noncurrent_days > 0 && !is_held {
            rule = rule.with_noncurrent_days(noncurrent_days);
        }
        rule
    }

    /// All rules of the bucket with ours as planned; those of others as they are.
    pub(crate) fn merged(&self, found: &[LifecycleRule]) -> Vec<LifecycleRule> {
        let foreign = found.iter().filter(|rule| !is_own(rule)).cloned();
        foreign.chain(self.plan()).collect()
    }

    /// Everything in a bucket that is not as planned.
    pub(crate) fn findings(&self, found: &Found) -> Vec<LifecycleFinding> {
        use LifecycleFindingKind as Kind;
        let plan = self.plan();
        let mut findings = Vec::new();
        for planned in &plan {
            match found.rules.iter().find(|rule| rule.id() == planned.id()) {
                Some(rule) if rule.is_same(planned) => {}
                Some(rule) => {
                    let detail = format!("{} is planned, found is {}", words(planned), words(rule));
                    findings.push(LifecycleFinding::new(Kind::DifferentRule, rule.id(), detail));
                }
                None => {
                    let detail =
                        format!("{} is planned, and the bucket has no such rule", words(planned));
                    findings.push(LifecycleFinding::new(Kind::MissingRule, planned.id(), detail));
                }
            }
        }
        for rule in &found.rules {
            let is_planned = plan.iter().any(|planned| planned.id() == rule.id());
            if !is_own(rule) {
                findings.extend(self.foreign(rule));
            } else if !is_planned {
                // The name alone makes it one of ours.
                findings.extend(self.foreign(rule));
                let detail = format!("{} is not planned any more", words(rule));
                findings.push(LifecycleFinding::new(Kind::LeftoverRule, rule.id(), detail));
            }
        }
        match found.versioning {
            Some(Versioning::Enabled) => {}
            versioning => {
                let detail = match versioning {
                    None => {
                        "the store keeps no old versions: what is deleted or overwritten is gone"
                    }
                    Some(_) => "versioning is off: what is deleted or overwritten is gone",
                };
                findings.push(LifecycleFinding::new(Kind::VersioningOff, "", detail));
            }
        }
        if !matches!(found.encryption, Some(Some(_))) {
            let detail = "the bucket has no default encryption: lines lie on its disks as they are, \
                          personal fields sealed where that is on";
            findings.push(LifecycleFinding::new(Kind::EncryptionOff, "", detail));
        }
        findings
    }

    /// What a rule that is not planned does to the archive.
    fn foreign(&self, rule: &LifecycleRule) -> Option<LifecycleFinding> {
        use LifecycleFindingKind as Kind;
        if !rule.is_enabled() {
            return None;
        }
        let hit = |part: &str| overlap(rule.prefix(), part);
        let proof = PROOFS.iter().map(|part| format!("{PREFIX}{part}")).find(|part| hit(part));
        let early = Category::ALL
            .into_iter()
            .find(|category| hit(&prefix(*category)) && self.is_early(*category, rule));
        let some = if rule.is_narrowed() { "some of " } else { "" };
        let reach = proof.clone().or(early.map(prefix));
        if let (true, Some(reach)) = (removes(rule), &reach) {
            let detail = format!(
                "a rule that is not planned, {}, removes {some}what stands below {reach} before its time",
                words(rule)
            );
            return Some(LifecycleFinding::new(Kind::ForeignExpiry, rule.id(), detail));
        }
        if let (true, Some(reach)) = (freezes(rule), &proof) {
            let detail = format!(
                "a rule that is not planned, {}, moves {some}what stands below {reach} to where it \
                 cannot be read at once",
                words(rule)
            );
            return Some(LifecycleFinding::new(Kind::ForeignTransition, rule.id(), detail));
        }
        None
    }

    /// Whether a rule removes objects of a category before they are to go.
    fn is_early(&self, category: Category, rule: &LifecycleRule) -> bool {
        let kept = self.retention.days(category);
        let is_held = self.holds.concern(category);
        match rule.expiration() {
            Some(Expiration::Days(days)) if kept > 0 && *days >= kept && !is_held => {}
            None | Some(Expiration::DeleteMarkers) => {}
            Some(_) => return true,
        }
        is_held && rule.noncurrent_days().is_some()
    }
}

fn is_own(rule: &LifecycleRule) -> bool {
    rule.id().starts_with(OWN)
}

/// Whether keys can begin with both.
fn overlap(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Whether a rule removes anything at all.
fn removes(rule: &LifecycleRule) -> bool {
    matches!(rule.expiration(), Some(Expiration::Days(_) | Expiration::Date(_)))
        || rule.noncurrent_days().is_some()
}

/// Whether a rule moves objects to where they cannot be read at once.
fn freezes(rule: &LifecycleRule) -> bool {
    rule.transitions().iter().any(|to| matches!(to.class.as_str(), GLACIER | "DEEP_ARCHIVE"))
}

/// A rule in words.
fn words(rule: &LifecycleRule) -> String {
    let mut parts = Vec::new();
    for to in rule.transitions() {
        match to.days {
            Some(days) => parts.push(format!("{} after {days} d", to.class)),
            None => parts.push(format!("{} at a date", to.class)),
        }
    }
    match rule.expiration() {
        Some(Expiration::Days(days)) => parts.push(format!("expiry after {days} d")),
        Some(Expiration::Date(date)) => parts.push(format!("expiry on {date}")),
        Some(_) => parts.push("removal of marks of deletion".into()),
        None => parts.push("no expiry".into()),
    }
    if let Some(days) = rule.noncurrent_days() {
        parts.push(format!("old versions removed after {days} d"));
    }
    if let Some(days) = rule.abort_multipart_days() {
        parts.push(format!("incomplete uploads removed after {days} d"));
    }
    let status = if rule.is_enabled() { "" } else { ", switched off" };
    format!("\"{}\" ({}{status})", rule.prefix(), parts.join(", "))
}

#[cfg(test)]
mod tests;
