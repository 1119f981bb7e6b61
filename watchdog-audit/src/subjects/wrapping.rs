//! How a data key is sealed for its vault.

use aws_lc_rs::hmac;
use watchdog_core::audit::Actor;
use watchdog_core::{CipherKeys, KeyId, RootKeys, Secret, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::hex;
use crate::millis::millis_of;
use crate::personal::{SubjectHandle, subject_bytes};
use crate::subjects::WrappedKey;

const PURPOSE: &str = "audit/subject-vault/v1";

/// The handle under which a vault keeps the key that handles are made with.
pub(crate) fn handle_of_handles() -> SubjectHandle {
    SubjectHandle::from_bytes(&[0; 16])
}

/// Wraps data keys under the encryption root.
#[derive(Debug)]
pub(crate) struct Wrapping {
    cipher: CipherKeys,
}

/// What a re-wrap makes of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rewrap {
    /// It is wrapped under the current root.
    Current,
    /// It is to be replaced by this.
    New(Vec<u8>),
    /// No root of the list opens it.
    Unopened,
}

impl Wrapping {
    pub(crate) fn new(root: &RootKeys) -> Result<Self> {
        Ok(Self { cipher: root.cipher(PURPOSE)? })
    }

    /// A new random key under a new label, in the clear and wrapped.
    pub(crate) fn make(
        &self,
        handle: &SubjectHandle,
        now: Timestamp,
    ) -> Result<(Secret<Vec<u8>>, WrappedKey)> {
        let mut key = vec![0; 32];
        watchdog_core::fill_random(&mut key)?;
        let key = Secret::new(key);
        let label = label(now)?;
        let wrapped = self.cipher.seal(&bound(handle, &label), key.expose())?;
        Ok((key, WrappedKey { label, wrapped }))
    }

    /// Opens a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when no root of the list opens it in this place.
    pub(crate) fn open(&self, handle: &SubjectHandle, key: &WrappedKey) -> Result<Secret<Vec<u8>>> {
        let opened = self.cipher.open(&bound(handle, &key.label), &key.wrapped);
        opened.map(Secret::new).map_err(|error| {
            Error::new(
                ErrorKind::Key,
                "a subject's key is wrapped under no encryption key of the list: put the key it \
                 was wrapped under into WATCHDOG_ENCRYPTION_KEY_PREVIOUS",
            )
            .with_source(error)
        })
    }

    pub(crate) fn rewrap(&self, handle: &SubjectHandle, key: &WrappedKey) -> Result<Rewrap> {
        let Ok(opened) = self.open(handle, key) else { return Ok(Rewrap::Unopened) };
        if root_of(&key.wrapped) == Some(self.cipher.current()) {
            return Ok(Rewrap::Current);
        }
        let wrapped = self.cipher.seal(&bound(handle, &key.label), opened.expose())?;
        Ok(Rewrap::New(wrapped))
    }
}

/// The key that handles are made with: a vault keeps it, so that it outlives every root.
pub(crate) struct HandleKey(hmac::Key);

impl HandleKey {
    pub(crate) fn new(key: &Secret<Vec<u8>>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// The pseudonym of a subject.
    pub(crate) fn handle(&self, subject: &Actor) -> SubjectHandle {
        let tag = hmac::sign(&self.0, &subject_bytes(subject));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&tag.as_ref()[..16]);
        SubjectHandle::from_bytes(&bytes)
    }
}

/// Says which key it is, for ever: the milliseconds since 1970 it was made at, and 64 random bits.
fn label(now: Timestamp) -> Result<String> {
    let mut bytes = [0; 14];
    let millis = millis_of(now).to_be_bytes();
    bytes[..6].copy_from_slice(&millis[2..]);
    watchdog_core::fill_random(&mut bytes[6..])?;
    Ok(hex::encode(&bytes))
}

/// When the key of a label was made, in milliseconds since 1970.
pub(crate) fn made_at(label: &str) -> Option<u64> {
    let bytes = hex::decode::<14>(label)?;
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&bytes[..6]);
    Some(u64::from_be_bytes(millis))
}

/// The root that a key is wrapped under: a seal is `version(1) | key id(4) | …`.
fn root_of(wrapped: &[u8]) -> Option<KeyId> {
    wrapped.get(1..)?.first_chunk().copied().map(KeyId::from_bytes)
}

/// What a wrapped key is bound to: its handle, of fixed length, and its label.
fn bound(handle: &SubjectHandle, label: &str) -> Vec<u8> {
    [b"watchdog audit subject key v1\0", handle.as_str().as_bytes(), label.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";

    fn wrapping(current: &str, previous: &[&str]) -> Wrapping {
        let previous: Vec<_> = previous.iter().map(|&text| Secret::from(text)).collect();
        Wrapping::new(&RootKeys::new(&Secret::from(current), &previous).unwrap()).unwrap()
    }

    fn handle(number: u8) -> SubjectHandle {
        SubjectHandle::from_bytes(&[number; 16])
    }

    #[test]
    fn a_wrapped_key_opens_in_its_own_place_only() {
        let wrapping = wrapping(A, &[]);
        let (key, wrapped) = wrapping.make(&handle(1), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(wrapping.open(&handle(1), &wrapped).unwrap(), key);
        let elsewhere = wrapping.open(&handle(2), &wrapped).unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::Key);
        let other = WrappedKey { label: "other".into(), ..wrapped };
        assert_eq!(wrapping.open(&handle(1), &other).unwrap_err().kind(), ErrorKind::Key);
    }

    #[test]
    fn a_key_is_wrapped_anew_once_and_opens_without_the_old_root() {
        let (key, mut wrapped) = wrapping(A, &[]).make(&handle(1), Timestamp::UNIX_EPOCH).unwrap();
        let both = wrapping(B, &[A]);
        let Rewrap::New(new) = both.rewrap(&handle(1), &wrapped).unwrap() else {
            panic!("it is under the old root")
        };
        let unopened = wrapping(B, &[]).rewrap(&handle(1), &wrapped).unwrap();
        assert_eq!(unopened, Rewrap::Unopened);
        wrapped.wrapped = new;
        assert_eq!(both.rewrap(&handle(1), &wrapped).unwrap(), Rewrap::Current);
        assert_eq!(wrapping(B, &[]).open(&handle(1), &wrapped).unwrap(), key);
        assert!(wrapping(A, &[]).open(&handle(1), &wrapped).is_err());
    }

    #[test]
    fn a_label_tells_when_its_key_was_made_and_no_two_are_equal() {
        let now = Timestamp::constant(1_767_225_600, 123_000_000);
        let (one, two) = (label(now).unwrap(), label(now).unwrap());
        assert_ne!(one, two);
        assert_eq!(made_at(&one), Some(1_767_225_600_123));
        assert_eq!(made_at("0a1b2c3d"), None);
    }

    #[test]
    fn a_handle_follows_from_the_key_and_the_subject_alone() {
        let key = HandleKey::new(&Secret::new(vec![7; 32]));
        let alice = key.handle(&Actor::user("alice"));
        assert_eq!(alice, HandleKey::new(&Secret::new(vec![7; 32])).handle(&Actor::user("alice")));
        assert_ne!(alice, key.handle(&Actor::service("alice")));
        let one = Actor { kind: "user".into(), id: "sx".into() };
        let two = Actor { kind: "users".into(), id: "x".into() };
        assert_ne!(key.handle(&one), key.handle(&two));
    }
}
