//! The personal fields of an entry, sealed under a data key of their subject.
//!
//! The subject of an entry is its actor. Actor id, client and details are sealed with AES-256-GCM
//! under the subject's data key and bound to writer and sequence, so a sealed box opens in its own
//! line only. The line keeps a pseudonym of the subject, so that its entries can be found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Client, Entry};

use crate::error::{Error, ErrorKind, Result};
use crate::progress::OnProgress;
use crate::subjects::Rewrapped;
use crate::writer_id::WriterId;

/// What the key of a box is derived for.
const BOX: &[u8] = b"watchdog audit box v1\0";

/// A pseudonym of a subject: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubjectHandle(String);

impl SubjectHandle {
    /// A handle from its bytes.
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        Self(crate::hex::encode(bytes))
    }

    /// A handle from its text, `None` unless that is 32 lowercase hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        crate::hex::decode(text).map(|bytes| Self::from_bytes(&bytes))
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

/// What a subject's handle is a tag of. The kind is length-prefixed, so that no two subjects share
/// their bytes.
pub(crate) fn subject_bytes(subject: &Actor) -> Vec<u8> {
    let mut bytes = b"handle\0".to_vec();
    bytes.extend_from_slice(&(subject.kind.len() as u64).to_be_bytes());
    bytes.extend_from_slice(subject.kind.as_bytes());
    bytes.extend_from_slice(subject.id.as_bytes());
    bytes
}

/// The data key of one subject. A clone is the same key.
#[derive(Clone)]
pub struct SubjectKey {
    inner: Arc<KeyInner>,
}

struct KeyInner {
    handle: SubjectHandle,
    label: String,
    data_key: Prk,
    /// The box key that was used last: a writer seals many boxes under one.
    last: Mutex<Option<(Series, Arc<LessSafeKey>)>>,
}

/// The boxes that share a key: 2^32 numbers of one writer.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Series {
    writer: WriterId,
    number: u64,
}

impl Series {
    fn of(writer: WriterId, sequence: u64) -> Self {
        Self { writer, number: sequence >> 32 }
    }
}

impl SubjectKey {
    /// A data key of a subject. The label tells keys of one subject apart and stands in the line.
    pub fn new(handle: SubjectHandle, label: impl Into<String>, key: &[u8; 32]) -> Self {
        let (label, data_key) = (label.into(), Prk::new_less_safe(HKDF_SHA256, key));
        let last = Mutex::new(None);
        Self { inner: Arc::new(KeyInner { handle, label, data_key, last }) }
    }

    /// The pseudonym of its subject.
    pub fn handle(&self) -> &SubjectHandle {
        &self.inner.handle
    }

    /// What tells it from other keys of its subject.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// The key of one box.
    ///
    /// Nonces are random. A key of its own for every 2^32 numbers of a writer keeps every key below
    /// the 2^32 seals that NIST SP 800-38D, section 8.3, allows with such nonces, however many
    /// entries a subject has and however many processes write them.
    fn box_key(&self, writer: WriterId, sequence: u64) -> Result<Arc<LessSafeKey>> {
        let series = Series::of(writer, sequence);
        let mut last = self.inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, key)) = last.as_ref()
            && *held == series
        {
            return Ok(Arc::clone(key));
        }
        let info: [&[u8]; 3] = [BOX, writer.as_bytes(), &series.number.to_be_bytes()];
        let okm = self.inner.data_key.expand(&info, &AES_256_GCM);
        let key =
            okm.map_err(|_| Error::new(ErrorKind::Key, "no key of a box could be derived"))?;
        let key = Arc::new(LessSafeKey::new(UnboundKey::from(key)));
        *last = Some((series, Arc::clone(&key)));
        Ok(key)
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey").field("handle", &self.inner.handle).finish_non_exhaustive()
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

    /// Whether the keys can be used; called once at the start.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when their place may throw them away, [`ErrorKind::Key`] when they
    /// cannot be opened, both with the way to mend it; else as of their place.
    async fn preflight(&self) -> Result<()> {
        Ok(())
    }

    /// Destroys every key of a subject and answers how many those were.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the keys cannot be erased, [`ErrorKind::Unavailable`] when they
    /// cannot be reached now: calling again is right then.
    async fn erase(&self, _subject: &Actor) -> Result<u64> {
        Err(not_kept("erased"))
    }

    /// Destroys the key under a handle unless it was made later, and answers how many keys that
    /// were.
    ///
    /// # Errors
    ///
    /// As [`erase`](Self::erase).
    async fn erase_made_before(&self, _handle: &SubjectHandle, _before: Timestamp) -> Result<u64> {
        Err(not_kept("erased"))
    }

    /// Wraps every key under the current encryption root.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] when the keys are not wrapped, [`ErrorKind::Unavailable`] when they
    /// cannot be reached now: calling again resumes.
    async fn rewrap(&self, _on_progress: &OnProgress<'_>) -> Result<Rewrapped> {
        Err(not_kept("wrapped under another root"))
    }
}

fn not_kept(what: &str) -> Error {
    Error::new(
        ErrorKind::Misuse,
        format_args!(
            "subject keys that follow from the encryption root cannot be {what}: keep them in a \
             vault, with WATCHDOG_AUDIT_SUBJECT_KEYS set to redis, postgres or embedded"
        ),
    )
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
        let aad = bound(writer, sequence, &key.inner.label);
        let tag = key
            .box_key(writer, sequence)?
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut content[NONCE_LEN..])
            .map_err(|_| refused())?;
        content.extend_from_slice(tag.as_ref());
        Ok(Self {
            subject: key.inner.handle.clone(),
            key: key.inner.label.clone(),
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
        let aad = bound(writer, sequence, &key.inner.label);
        let opened = key
            .box_key(writer, sequence)?
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
    use crate::subjects::DerivedSubjectKeys;
    use uuid::Uuid;
    use watchdog_core::audit::{Category, Resource};
    use watchdog_core::{RootKeys, Secret};

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
    }

    #[tokio::test]
    async fn a_key_seals_no_more_than_two_to_the_32_boxes() {
        let key = SubjectKey::new(SubjectHandle::from_bytes(&[1; 16]), "l", &[7; 32]);
        let is_same = |one: (WriterId, u64), two: (WriterId, u64)| {
            // The tag of nothing under a fixed nonce tells keys apart.
            let [one, two] = [one, two].map(|(writer, sequence)| {
                let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
                let sealed = key.box_key(writer, sequence).unwrap();
                sealed.seal_in_place_separate_tag(nonce, Aad::empty(), &mut []).unwrap()
            });
            one.as_ref() == two.as_ref()
        };
        let (other, block) = (WriterId::from_bytes([2; 16]), 1 << 32);
        assert!(is_same((WRITER, 1), (WRITER, block - 1)));
        assert!(!is_same((WRITER, block - 1), (WRITER, block)));
        assert!(!is_same((WRITER, 1), (other, 1)));
    }

    /// Computed with other implementations of RFC 5869 and AES-256-GCM: see the module `format`.
    #[tokio::test]
    async fn a_box_sealed_long_ago_opens() {
        let text = include_str!("personal/box_v1.json");
        let sealed: Sealed = serde_json::from_str(text).unwrap();
        let key = SubjectKey::new(sealed.subject.clone(), "l", &[7; 32]);
        let opened = sealed.open(&OneKey(key), WRITER, 9).await.unwrap().unwrap();
        assert_eq!((opened.actor.as_str(), &opened.details["n"]), ("alice", &1.into()));
    }

    #[derive(Debug)]
    struct OneKey(SubjectKey);

    #[async_trait]
    impl SubjectKeys for OneKey {
        async fn current(&self, _: &Actor) -> Result<SubjectKey> {
            Ok(self.0.clone())
        }

        async fn find(&self, _: &SubjectHandle, _: &str) -> Result<Option<SubjectKey>> {
            Ok(Some(self.0.clone()))
        }

        async fn handles(&self, _: &Actor) -> Result<Vec<SubjectHandle>> {
            Ok(vec![self.0.inner.handle.clone()])
        }
    }
}
