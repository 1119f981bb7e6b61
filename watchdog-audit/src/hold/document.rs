//! The objects of a hold and of its release: one line of JSON, and its signature on the next.

use serde::{Deserialize, Serialize};
use watchdog_core::Timestamp;
use watchdog_core::audit::Category;

use crate::personal::{Sealed, SubjectHandle};
use crate::signed::{self, Document};
use crate::signing::PublicKey;
use crate::writer_id::WriterId;

pub(super) const HOLD_FORMAT: &str = "watchdog-audit-hold/v1";
pub(super) const RELEASE_FORMAT: &str = "watchdog-audit-hold-release/v1";

/// A hold as it stands in the bucket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldDocument {
    pub(super) format: String,
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) category: Option<Category>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<HeldSubject>,
    pub(super) reason: String,
    pub(super) placed_at: Timestamp,
    /// Who wrote it; with the number 0, what the box of the subject is bound to.
    pub(super) writer: WriterId,
    /// The id of the key that signed it.
    pub(super) key: String,
}

/// The subject of a hold: in the clear where the log seals nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeldSubject {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sealed: Option<Sealed>,
    /// The handles its entries stood under when the hold was placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) handles: Vec<SubjectHandle>,
}

/// The release of a hold as it stands in the bucket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseDocument {
    pub(super) format: String,
    pub(super) id: String,
    /// SHA-256 of the hold's object, 64 hexadecimal digits.
    pub(super) hold: String,
    pub(super) released_at: Timestamp,
    /// The id of the key that signed it.
    pub(super) key: String,
}

/// What both have in common.
pub(super) trait HoldObject: Document {
    fn id(&self) -> &str;
}

impl Document for HoldDocument {
    const FORMAT: &'static str = HOLD_FORMAT;

    fn format(&self) -> &str {
        &self.format
    }

    fn key(&self) -> &str {
        &self.key
    }
}

impl HoldObject for HoldDocument {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Document for ReleaseDocument {
    const FORMAT: &'static str = RELEASE_FORMAT;

    fn format(&self) -> &str {
        &self.format
    }

    fn key(&self) -> &str {
        &self.key
    }
}

impl HoldObject for ReleaseDocument {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Reads the object of the hold `id`; `None` when it is not one that a key has signed which `key_of`
/// finds.
pub(super) fn decode<T: HoldObject>(
    bytes: &[u8],
    id: &str,
    key_of: impl Fn(&str) -> Option<PublicKey>,
) -> Option<T> {
    let document: T = signed::decode(bytes, key_of).ok()?;
    (document.id() == id).then_some(document)
}

#[cfg(test)]
mod tests {
    use watchdog_core::RootKeys;

    use super::*;
    use crate::signed::encode;
    use crate::signing::Signer;

    fn read<T: HoldObject>(bytes: &[u8], id: &str, signer: &Signer) -> Option<T> {
        decode(bytes, id, |key| signer.accepted(key))
    }

    fn release(signer: &Signer) -> ReleaseDocument {
        ReleaseDocument {
            format: RELEASE_FORMAT.into(),
            id: "case-7".into(),
            hold: "00".repeat(32),
            released_at: Timestamp::UNIX_EPOCH,
            key: signer.public_key().id(),
        }
    }

    #[test]
    fn only_what_an_accepted_key_has_signed_for_this_id_counts() {
        let [own, other] =
            [(); 2].map(|()| Signer::new(&RootKeys::ephemeral().unwrap(), &[]).unwrap());
        let bytes = encode(&release(&own), &own).unwrap();
        assert!(read::<ReleaseDocument>(&bytes, "case-7", &own).is_some());
        assert!(read::<ReleaseDocument>(&bytes, "case-8", &own).is_none(), "another hold");
        assert!(read::<ReleaseDocument>(&bytes, "case-7", &other).is_none(), "another key");
        assert!(read::<HoldDocument>(&bytes, "case-7", &own).is_none(), "another kind");
        assert!(encode(&release(&own), &other).is_err(), "nobody signs as somebody else");
        let [own_id, other_id] = [&own, &other].map(|signer| signer.public_key().id());
        let signed = String::from_utf8(encode(&release(&other), &other).unwrap()).unwrap();
        let forged = signed.replace(&other_id, &own_id).into_bytes();
        assert!(read::<ReleaseDocument>(&forged, "case-7", &own).is_none());
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(read::<ReleaseDocument>(&altered, "case-7", &own).is_none(), "bit {bit}");
        }
    }
}
