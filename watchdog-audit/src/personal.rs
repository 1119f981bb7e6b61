//! The personal fields of an entry, sealed under a data key of their subject.
//!
//! The subject of an entry is its actor. Actor id, client and details are sealed with AES-256-GCM
//! under the subject's data key and bound to writer and sequence, so a sealed box opens in its own
//! line only. The line keeps a pseudonym of the subject, so that its entries can be found.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use watchdog_core::audit::{Actor, Client, Entry};
use watchdog_core::{KeyId, MacKeys, RootKeys};

use crate::error::{Error, ErrorKind, Result};
use crate::writer_id::WriterId;

const PURPOSE: &str = "audit/subject/v1";

/// A pseudonym of a subject: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubjectHandle(String);

impl SubjectHandle {
    /// A handle from its bytes.
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        Self(crate::hex::encode(bytes))
    }

    /// The bytes of a handle, `None` for one that a damaged line holds: not 32 lowercase digits.
    pub fn to_bytes(&self) -> Option<[u8; 16]> {
        crate::hex::decode(&self.0)
    }

    /// The handle as it stands in a line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The data key of one subject.
pub struct SubjectKey {
    handle: SubjectHandle,
    label: String,
    key: LessSafeKey,
}

impl SubjectKey {
    /// A data key of a subject. The label tells keys of one subject apart and stands in the line.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when AES-256 refuses the key.
    pub fn new(handle: SubjectHandle, label: impl Into<String>, key: &[u8; 32]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key)
            .map_err(|_| Error::new(ErrorKind::Key, "AES-256 refused a subject's key"))?;
        Ok(Self { handle, label: label.into(), key: LessSafeKey::new(key) })
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// The port that keeps the data keys of subjects.
#[async_trait]
pub trait SubjectKeys: fmt::Debug + Send + Sync {
    /// The key that new entries of a subject are sealed under.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the keys cannot be reached now.
    async fn current(&self, subject: &Actor) -> Result<SubjectKey>;

    /// The key with a handle and a label, `None` when it is gone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the keys cannot be reached now.
    async fn find(&self, handle: &SubjectHandle, label: &str) -> Result<Option<SubjectKey>>;

    /// Every handle under which entries of a subject may stand.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the keys cannot be reached now.
    async fn handles(&self, subject: &Actor) -> Result<Vec<SubjectHandle>>;
}

/// Subject keys derived from the root keys: nothing is stored, so nothing can be erased.
///
/// A retired root key that leaves the list takes the personal fields sealed under it along.
#[derive(Debug)]
pub struct DerivedSubjectKeys {
    keys: MacKeys,
    /// Current first.
    ids: Vec<KeyId>,
}

impl DerivedSubjectKeys {
    /// Subject keys below the encryption root.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when the root keys cannot be used.
    pub fn new(encryption: &RootKeys) -> Result<Self> {
        let ids = encryption.derive(PURPOSE)?.into_iter().map(|(id, _)| id).collect();
        Ok(Self { keys: encryption.mac(PURPOSE)?, ids })
    }

    fn handle(&self, id: KeyId, subject: &Actor) -> Option<SubjectHandle> {
        // The kind is length-prefixed, so that no two subjects share their bytes.
        let mut message = b"handle\0".to_vec();
        message.extend_from_slice(&(subject.kind.len() as u64).to_be_bytes());
        message.extend_from_slice(subject.kind.as_bytes());
        message.extend_from_slice(subject.id.as_bytes());
        let tag = self.keys.tag_with(id, &message)?;
        tag.first_chunk::<16>().map(SubjectHandle::from_bytes)
    }

    fn key(&self, id: KeyId, handle: SubjectHandle) -> Result<Option<SubjectKey>> {
        let message = [b"key\0", handle.as_str().as_bytes()].concat();
        let Some(key) = self.keys.tag_with(id, &message) else { return Ok(None) };
        SubjectKey::new(handle, id.to_string(), &key).map(Some)
    }
}

#[async_trait]
impl SubjectKeys for DerivedSubjectKeys {
    async fn current(&self, subject: &Actor) -> Result<SubjectKey> {
        let id = self.keys.current();
        let gone = || Error::new(ErrorKind::Key, "the current key does not derive");
        let handle = self.handle(id, subject).ok_or_else(gone)?;
        self.key(id, handle)?.ok_or_else(gone)
    }

    async fn find(&self, handle: &SubjectHandle, label: &str) -> Result<Option<SubjectKey>> {
        let Some(bytes) = crate::hex::decode::<4>(label) else { return Ok(None) };
        self.key(KeyId::from_bytes(bytes), handle.clone())
    }

    async fn handles(&self, subject: &Actor) -> Result<Vec<SubjectHandle>> {
        Ok(self.ids.iter().filter_map(|id| self.handle(*id, subject)).collect())
    }
}

/// The personal fields of an entry.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Personal {
    pub(crate) actor: String,
    #[serde(default, skip_serializing_if = "Client::is_empty")]
    pub(crate) client: Client,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) details: BTreeMap<String, serde_json::Value>,
}

/// What stands in a line in place of the personal fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) subject: SubjectHandle,
    key: String,
    /// Nonce, ciphertext and tag in base64.
    #[serde(rename = "box")]
    content: String,
}

impl Sealed {
    /// Seals the personal fields of an entry.
    pub(crate) fn seal(
        key: &SubjectKey,
        writer: WriterId,
        sequence: u64,
        entry: &Entry,
    ) -> Result<Self> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            actor: &'a str,
            #[serde(skip_serializing_if = "Client::is_empty")]
            client: &'a Client,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            details: &'a BTreeMap<String, serde_json::Value>,
        }
        let refused = || Error::new(ErrorKind::Key, "personal fields could not be sealed");
        let personal =
            Borrowed { actor: &entry.actor.id, client: &entry.client, details: &entry.details };
        let mut content = vec![0; NONCE_LEN];
        watchdog_core::fill_random(&mut content)?;
        let nonce = Nonce::try_assume_unique_for_key(&content).map_err(|_| refused())?;
        serde_json::to_writer(&mut content, &personal).map_err(|error| {
            Error::new(ErrorKind::Misuse, "details are not JSON").with_source(error)
        })?;
        let aad = bound(writer, sequence, &key.label);
        let tag = key
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut content[NONCE_LEN..])
            .map_err(|_| refused())?;
        content.extend_from_slice(tag.as_ref());
        Ok(Self {
            subject: key.handle.clone(),
            key: key.label.clone(),
            content: BASE64.encode(content),
        })
    }

    /// Opens the personal fields, `None` when the key is gone.
    pub(crate) async fn open(
        &self,
        keys: &dyn SubjectKeys,
        writer: WriterId,
        sequence: u64,
    ) -> Result<Option<Personal>> {
        let Some(key) = keys.find(&self.subject, &self.key).await? else { return Ok(None) };
        let broken = || Error::corrupt("sealed personal fields do not verify");
        let content = BASE64.decode(&self.content).map_err(|_| broken())?;
        let (nonce, rest) = content.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
        let mut buffer = rest.to_vec();
        let aad = bound(writer, sequence, &key.label);
        let opened = key
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer)
            .map_err(|_| broken())?;
        serde_json::from_slice(opened).map(Some).map_err(|_| broken())
    }
}

/// What a box is bound to: the line it stands in and the key's label.
fn bound(writer: WriterId, sequence: u64, label: &str) -> Vec<u8> {
    let mut aad = b"watchdog audit personal v1\0".to_vec();
    aad.extend_from_slice(writer.as_bytes());
    aad.extend_from_slice(&sequence.to_be_bytes());
    aad.extend_from_slice(label.as_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use watchdog_core::audit::{Category, Resource};
    use watchdog_core::{Secret, Timestamp};

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";
    const WRITER: WriterId = WriterId::from_bytes([1; 16]);

    fn keys(current: &str, previous: &[&str]) -> DerivedSubjectKeys {
        let previous: Vec<_> = previous.iter().map(|&text| Secret::from(text)).collect();
        DerivedSubjectKeys::new(&RootKeys::new(&Secret::from(current), &previous).unwrap()).unwrap()
    }

    fn entry(actor: &str) -> Entry {
        Entry::new(
            Uuid::nil(),
            Timestamp::UNIX_EPOCH,
            Category::Access,
            Actor::user(actor),
            "file.read",
            Resource::new("file", "f"),
        )
        .with_detail("reason", "support ticket")
    }

    async fn sealed(keys: &DerivedSubjectKeys, actor: &str) -> Sealed {
        let key = keys.current(&Actor::user(actor)).await.unwrap();
        Sealed::seal(&key, WRITER, 9, &entry(actor)).unwrap()
    }

    #[tokio::test]
    async fn personal_fields_open_in_their_own_line_only() {
        let keys = keys(A, &[]);
        let sealed = sealed(&keys, "alice").await;
        assert!(!serde_json::to_string(&sealed).unwrap().contains("alice"));
        let opened = sealed.open(&keys, WRITER, 9).await.unwrap().unwrap();
        assert_eq!(opened.actor, "alice");
        assert_eq!(opened.details["reason"], "support ticket");
        assert!(sealed.open(&keys, WRITER, 10).await.is_err());
        assert!(sealed.open(&keys, WriterId::from_bytes([2; 16]), 9).await.is_err());
    }

    #[tokio::test]
    async fn an_altered_box_is_noticed() {
        let keys = keys(A, &[]);
        let mut sealed = sealed(&keys, "alice").await;
        let mut bytes = BASE64.decode(&sealed.content).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        sealed.content = BASE64.encode(bytes);
        assert_eq!(sealed.open(&keys, WRITER, 9).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_retired_root_key_opens_until_it_leaves_the_list() {
        let old = sealed(&keys(A, &[]), "alice").await;
        assert!(old.open(&keys(B, &[A]), WRITER, 9).await.unwrap().is_some());
        assert!(old.open(&keys(B, &[]), WRITER, 9).await.unwrap().is_none());
        let handles = keys(B, &[A]).handles(&Actor::user("alice")).await.unwrap();
        assert_eq!(handles.len(), 2);
        assert!(handles.contains(&old.subject));
    }

    #[tokio::test]
    async fn no_two_subjects_share_a_handle() {
        let keys = keys(A, &[]);
        let one = Actor { kind: "user".into(), id: "sx".into() };
        let two = Actor { kind: "users".into(), id: "x".into() };
        assert_ne!(keys.handles(&one).await.unwrap(), keys.handles(&two).await.unwrap());
    }
}
