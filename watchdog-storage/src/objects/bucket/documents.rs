//! Versioning, default encryption and object lock on the wire.

use serde::{Deserialize, Serialize};

use super::{DefaultEncryption, LockRetention, ObjectLock, Versioning};

const DAYS_PER_YEAR: u32 = 365;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersioningConfiguration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
}

/// Reads a versioning configuration, `None` when it is none.
pub(super) fn versioning(document: &str) -> Option<Versioning> {
    let read: VersioningConfiguration = quick_xml::de::from_str(document).ok()?;
    match read.status.as_deref() {
        None | Some("") => Some(Versioning::Off),
        Some("Enabled") => Some(Versioning::Enabled),
        Some("Suspended") => Some(Versioning::Suspended),
        Some(_) => None,
    }
}

pub(super) fn versioning_enabled() -> Option<String> {
    let document = VersioningConfiguration { status: Some("Enabled".into()) };
    quick_xml::se::to_string(&document).ok()
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServerSideEncryptionConfiguration {
    #[serde(default)]
    rule: Vec<EncryptionRule>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptionRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apply_server_side_encryption_by_default: Option<EncryptionByDefault>,
}

#[derive(Serialize, Deserialize)]
struct EncryptionByDefault {
    #[serde(rename = "SSEAlgorithm")]
    algorithm: String,
}

/// Reads an encryption configuration, `None` when it is none.
pub(super) fn encryption(document: &str) -> Option<Option<DefaultEncryption>> {
    let read: ServerSideEncryptionConfiguration = quick_xml::de::from_str(document).ok()?;
    let by_default =
        read.rule.into_iter().find_map(|rule| rule.apply_server_side_encryption_by_default);
    Some(by_default.map(|found| DefaultEncryption { algorithm: found.algorithm }))
}

pub(super) fn encryption_aes256() -> Option<String> {
    let by_default = EncryptionByDefault { algorithm: "AES256".into() };
    let rule = EncryptionRule { apply_server_side_encryption_by_default: Some(by_default) };
    quick_xml::se::to_string(&ServerSideEncryptionConfiguration { rule: vec![rule] }).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectLockConfiguration {
    #[serde(default)]
    object_lock_enabled: Option<String>,
    #[serde(default)]
    rule: Option<LockRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LockRule {
    #[serde(default)]
    default_retention: Option<DefaultRetention>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DefaultRetention {
    mode: String,
    #[serde(default)]
    days: Option<u32>,
    #[serde(default)]
    years: Option<u32>,
}

/// Reads an object lock configuration, `None` when it is none.
pub(super) fn object_lock(document: &str) -> Option<Option<ObjectLock>> {
    let read: ObjectLockConfiguration = quick_xml::de::from_str(document).ok()?;
    if read.object_lock_enabled.as_deref() != Some("Enabled") {
        return Some(None);
    }
    let retention = read.rule.and_then(|rule| rule.default_retention).map(|found| LockRetention {
        mode: found.mode,
        days: found
            .days
            .or(found.years.map(|years| years.saturating_mul(DAYS_PER_YEAR)))
            .unwrap_or(0),
    });
    Some(Some(ObjectLock { retention }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

    #[test]
    fn versioning_reads_back_and_an_empty_answer_is_off() {
        assert_eq!(versioning(&versioning_enabled().unwrap()), Some(Versioning::Enabled));
        let off = format!("<VersioningConfiguration {SPACE}/>");
        assert_eq!(versioning(&off), Some(Versioning::Off));
        let text = format!(
            "<VersioningConfiguration {SPACE}><Status>Suspended</Status></VersioningConfiguration>"
        );
        assert_eq!(versioning(&text), Some(Versioning::Suspended));
        assert_eq!(versioning(&text.replace("Suspended", "Maybe")), None);
        assert_eq!(versioning("no document"), None);
    }

    #[test]
    fn encryption_reads_back() {
        let aes = Some(DefaultEncryption { algorithm: "AES256".into() });
        assert_eq!(encryption(&encryption_aes256().unwrap()), Some(aes));
        let empty = format!("<ServerSideEncryptionConfiguration {SPACE}/>");
        assert_eq!(encryption(&empty), Some(None));
        assert_eq!(encryption("no document"), None);
    }

    #[test]
    fn object_lock_counts_in_days() {
        let text = |retention: &str| {
            format!(
                "<ObjectLockConfiguration {SPACE}><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                 <Rule><DefaultRetention><Mode>COMPLIANCE</Mode>{retention}</DefaultRetention>\
                 </Rule></ObjectLockConfiguration>"
            )
        };
        for (retention, days) in [("<Days>30</Days>", 30), ("<Years>2</Years>", 730)] {
            let found = object_lock(&text(retention)).unwrap().unwrap().retention.unwrap();
            assert_eq!((found.mode.as_str(), found.days), ("COMPLIANCE", days));
        }
        let off = format!("<ObjectLockConfiguration {SPACE}/>");
        assert_eq!(object_lock(&off), Some(None));
    }
}
