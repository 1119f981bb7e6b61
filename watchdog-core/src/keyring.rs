//! Keys derived per purpose from the configured secrets.
//!
//! A [`RootKeys`] holds one configured secret and its retired predecessors. Nothing uses a root
//! key itself: [`RootKeys::mac`], [`RootKeys::cipher`] and [`RootKeys::derive`] derive a key for a
//! named *purpose* with HKDF-SHA-256 (RFC 5869), so that a tag made for one purpose never verifies
//! for another. Every derived key carries a [`KeyId`], which is derived too: all processes agree
//! on it, whatever the order of the configured list.
//!
//! Rotation: configure the new secret, move the old one to `*_PREVIOUS`. New tags and seals use
//! the new key at once; old ones verify and open until the old secret is taken from the list.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::{hmac, rand};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Shortest secret a key is derived from, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// Length of a tag of [`MacKeys`], in bytes: HMAC-SHA-256 in full.
pub const TAG_BYTES: usize = 32;

/// Bytes that [`CipherKeys::seal`] adds: version, key id, nonce, GCM tag.
pub const SEAL_OVERHEAD: usize = 1 + KEY_ID_BYTES + NONCE_LEN + 16;

const KEY_ID_BYTES: usize = 4;
const SEAL_VERSION: u8 = 1;
/// Separates our derivations from every other use of the same secret.
const SALT: &[u8] = b"watchdog key ring v1";

/// Names a key without telling anything about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(u32);

impl KeyId {
    /// The id as four bytes, big endian.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// An id from its four bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One configured secret and its retired predecessors: the root of derived keys.
///
/// ```
/// use watchdog_core::{RootKeys, Secret};
///
/// # fn main() -> watchdog_core::Result<()> {
/// let old = Secret::from("a secret of at least thirty-two bytes");
/// let new = Secret::from("its successor, again thirty-two bytes or more");
///
/// let before = RootKeys::new(&old, &[])?.cipher("example/notes/v1")?;
/// let sealed = before.seal(b"user/7", b"meet at noon")?;
///
/// let after = RootKeys::new(&new, &[old])?.cipher("example/notes/v1")?;
/// assert_eq!(after.open(b"user/7", &sealed)?, b"meet at noon");
/// assert!(after.open(b"user/8", &sealed).is_err());
/// # Ok(())
/// # }
/// ```
pub struct RootKeys {
    /// Current first.
    secrets: Vec<Secret<Vec<u8>>>,
}

impl fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKeys").field("keys", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl RootKeys {
    /// Root keys from the current secret and the retired ones that are still accepted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when a secret is shorter than [`MIN_SECRET_BYTES`] or stands twice.
    pub fn new(current: &Secret<String>, previous: &[Secret<String>]) -> Result<Self> {
        for (position, secret) in std::iter::once(current).chain(previous).enumerate() {
            let length = secret.expose().len();
            if length < MIN_SECRET_BYTES {
                return Err(Error::new(
                    ErrorKind::Key,
                    format_args!(
                        "secret {position} has {length} bytes, at least {MIN_SECRET_BYTES} are \
                         needed"
                    ),
                ));
            }
        }
        Self::of_any_length(current, previous)
    }

    /// For development, where a short secret is better than none.
    pub(crate) fn of_any_length(
        current: &Secret<String>,
        previous: &[Secret<String>],
    ) -> Result<Self> {
        let mut secrets: Vec<Secret<Vec<u8>>> = Vec::with_capacity(1 + previous.len());
        for (position, secret) in std::iter::once(current).chain(previous).enumerate() {
            let secret = Secret::new(secret.expose().as_bytes().to_vec());
            if secrets.contains(&secret) {
                return Err(Error::new(
                    ErrorKind::Key,
                    format_args!("secret {position} is listed twice"),
                ));
            }
            secrets.push(secret);
        }
        Ok(Self { secrets })
    }

    /// Random root keys for tests and for processes that keep nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the system has no randomness.
    pub fn ephemeral() -> Result<Self> {
        let mut bytes = vec![0_u8; MIN_SECRET_BYTES];
        fill_random(&mut bytes)?;
        Ok(Self { secrets: vec![Secret::new(bytes)] })
    }

    /// Message authentication keys for a purpose, such as `session/token/v1`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when two secrets derive the same key id (odds of one in four billion a
    /// pair).
    pub fn mac(&self, purpose: &str) -> Result<MacKeys> {
        let keys = self.derive_all(purpose)?;
        Ok(MacKeys {
            keys: keys
                .into_iter()
                .map(|(id, key)| (id, hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
                .collect(),
        })
    }

    /// AES-256-GCM keys for a purpose.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] as for [`RootKeys::mac`].
    pub fn cipher(&self, purpose: &str) -> Result<CipherKeys> {
        let keys = self
            .derive_all(purpose)?
            .into_iter()
            .map(|(id, key)| {
                let key = UnboundKey::new(&AES_256_GCM, key.expose())
                    .map_err(|_| Error::new(ErrorKind::Internal, "AES-256 refused a key"))?;
                Ok((id, LessSafeKey::new(key)))
            })
            .collect::<Result<_>>()?;
        Ok(CipherKeys { keys })
    }

    /// The derived keys themselves, current first: for signing keys and for libraries that want
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] as for [`RootKeys::mac`].
    pub fn derive(&self, purpose: &str) -> Result<Vec<(KeyId, Secret<Vec<u8>>)>> {
        self.derive_all(purpose)
    }

    fn derive_all(&self, purpose: &str) -> Result<Vec<(KeyId, Secret<Vec<u8>>)>> {
        let mut keys: Vec<(KeyId, Secret<Vec<u8>>)> = Vec::with_capacity(self.secrets.len());
        for secret in &self.secrets {
            let key = expand(secret, &[b"key\0", purpose.as_bytes()], Length(32))?;
            let id = expand(secret, &[b"id\0", purpose.as_bytes()], Length(KEY_ID_BYTES))?;
            let mut id_bytes = [0; KEY_ID_BYTES];
            id_bytes.copy_from_slice(&id);
            let id = KeyId::from_bytes(id_bytes);
            if keys.iter().any(|(other, _)| *other == id) {
                return Err(Error::new(ErrorKind::Key, format_args!("key id {id} stands twice")));
            }
            keys.push((id, Secret::new(key)));
        }
        Ok(keys)
    }
}

/// The three roots of a service: what the `security` section of the configuration gives.
///
/// ```
/// use watchdog_core::KeyRing;
///
/// # fn main() -> watchdog_core::Result<()> {
/// let keys = KeyRing::ephemeral()?;
/// let mac = keys.secret.mac("example/link/v1")?;
/// let tag = mac.tag(b"/reports/7");
/// assert!(mac.verify(mac.current(), b"/reports/7", &tag));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KeyRing {
    /// From `WATCHDOG_SECRET_KEY`: tokens and cookies.
    pub secret: RootKeys,
    /// From `WATCHDOG_JWT_SECRET`: access tokens.
    pub jwt: RootKeys,
    /// From `WATCHDOG_ENCRYPTION_KEY`: stored data.
    pub encryption: RootKeys,
}

impl KeyRing {
    /// Random keys for tests and for processes that keep nothing: a restart loses them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the system has no randomness.
    pub fn ephemeral() -> Result<Self> {
        Ok(Self {
            secret: RootKeys::ephemeral()?,
            jwt: RootKeys::ephemeral()?,
            encryption: RootKeys::ephemeral()?,
        })
    }
}

/// Keys that make and check HMAC-SHA-256 tags (RFC 2104).
pub struct MacKeys {
    keys: Vec<(KeyId, hmac::Key)>,
}

impl fmt::Debug for MacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|(id, _)| id.to_string()).collect();
        f.debug_struct("MacKeys").field("ids", &ids).finish_non_exhaustive()
    }
}

impl MacKeys {
    /// The id of the key that new tags are made with.
    pub fn current(&self) -> KeyId {
        self.keys[0].0
    }

    /// Tags `message` with the current key.
    pub fn tag(&self, message: &[u8]) -> [u8; TAG_BYTES] {
        tag_bytes(&hmac::sign(&self.keys[0].1, message))
    }

    /// Tags `message` with the key `id`, when it is still accepted.
    pub fn tag_with(&self, id: KeyId, message: &[u8]) -> Option<[u8; TAG_BYTES]> {
        let (_, key) = self.keys.iter().find(|(other, _)| *other == id)?;
        Some(tag_bytes(&hmac::sign(key, message)))
    }

    /// Whether `tag`, possibly cut to at least 16 bytes, is the tag of `message` under key `id`.
    /// Takes the same time wherever the tags differ.
    pub fn verify(&self, id: KeyId, message: &[u8], tag: &[u8]) -> bool {
        if tag.len() < 16 || tag.len() > TAG_BYTES {
            return false;
        }
        self.tag_with(id, message)
            .is_some_and(|wanted| verify_slices_are_equal(&wanted[..tag.len()], tag).is_ok())
    }
}

/// Keys that seal and open with AES-256-GCM (NIST SP 800-38D).
///
/// Nonces are random, so one key seals at most 2^32 values before the odds of a repeated nonce
/// pass 2^-32 (SP 800-38D, section 8.3); rotate the secret before that.
pub struct CipherKeys {
    keys: Vec<(KeyId, LessSafeKey)>,
}

impl fmt::Debug for CipherKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|(id, _)| id.to_string()).collect();
        f.debug_struct("CipherKeys").field("ids", &ids).finish_non_exhaustive()
    }
}

impl CipherKeys {
    /// The id of the key that new values are sealed with.
    pub fn current(&self) -> KeyId {
        self.keys[0].0
    }

    /// Seals `plaintext` and binds it to `context`: it opens only with the same context.
    ///
    /// The result is `version(1) | key id(4) | nonce(12) | ciphertext | tag(16)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the system has no randomness.
    pub fn seal(&self, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let (id, key) = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce)?;
        let mut sealed = Vec::with_capacity(SEAL_OVERHEAD + plaintext.len());
        sealed.push(SEAL_VERSION);
        sealed.extend_from_slice(&id.to_bytes());
        sealed.extend_from_slice(&nonce);
        let header = sealed.len();
        sealed.extend_from_slice(plaintext);
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound(*id, context)),
                &mut sealed[header..],
            )
            .map_err(|_| Error::new(ErrorKind::Internal, "AES-256-GCM refused to seal"))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`CipherKeys::seal`] made with the same context, under any accepted key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unverified`] when the value is cut, altered, from another context, or sealed
    /// with a key that is no longer accepted.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let unverified = || Error::new(ErrorKind::Unverified, "sealed value does not verify");
        let (&version, rest) = sealed.split_first().ok_or_else(unverified)?;
        let (id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or_else(unverified)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(unverified)?;
        let id = KeyId::from_bytes(*id);
        let key = self.keys.iter().find(|(other, _)| *other == id);
        let (SEAL_VERSION, Some((_, key))) = (version, key) else { return Err(unverified()) };
        let mut buffer = rest.to_vec();
        let length = key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(bound(id, context)),
                &mut buffer,
            )
            .map_err(|_| unverified())?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// Fills `buffer` from the system's generator.
///
/// # Errors
///
/// [`ErrorKind::Internal`] when the system has no randomness.
pub fn fill_random(buffer: &mut [u8]) -> Result<()> {
    rand::fill(buffer)
        .map_err(|_| Error::new(ErrorKind::Internal, "the system gave no random bytes"))
}

/// The header is authenticated with the context, so a seal cannot be moved to another key id.
fn bound(id: KeyId, context: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(1 + KEY_ID_BYTES + context.len());
    aad.push(SEAL_VERSION);
    aad.extend_from_slice(&id.to_bytes());
    aad.extend_from_slice(context);
    aad
}

fn tag_bytes(tag: &hmac::Tag) -> [u8; TAG_BYTES] {
    let mut bytes = [0; TAG_BYTES];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(secret: &Secret<Vec<u8>>, info: &[&[u8]], length: Length) -> Result<Vec<u8>> {
    let mut out = vec![0; length.0];
    Salt::new(HKDF_SHA256, SALT)
        .extract(secret.expose())
        .expand(info, length)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|_| Error::new(ErrorKind::Internal, "HKDF refused to derive a key"))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";

    fn roots(current: &str, previous: &[&str]) -> RootKeys {
        let previous: Vec<_> = previous.iter().map(|&secret| Secret::from(secret)).collect();
        RootKeys::new(&Secret::from(current), &previous).unwrap()
    }

    #[test]
    fn a_short_secret_is_refused_without_being_shown() {
        let error = RootKeys::new(&Secret::from("hunter2"), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_doubled_secret_is_refused() {
        let error = RootKeys::new(&Secret::from(A), &[Secret::from(A)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
    }

    #[test]
    fn purposes_are_separate() {
        let keys = roots(A, &[]);
        let (one, two) = (keys.mac("one").unwrap(), keys.mac("two").unwrap());
        assert_ne!(one.current(), two.current());
        assert_ne!(one.tag(b"message"), two.tag(b"message"));
    }

    #[test]
    fn a_tag_of_a_retired_key_verifies_until_it_leaves_the_list() {
        let old = roots(A, &[]).mac("p").unwrap();
        let tag = old.tag(b"message");
        let id = old.current();
        assert!(roots(B, &[A]).mac("p").unwrap().verify(id, b"message", &tag));
        assert!(!roots(B, &[]).mac("p").unwrap().verify(id, b"message", &tag));
    }

    #[test]
    fn a_cut_tag_verifies_down_to_sixteen_bytes() {
        let keys = roots(A, &[]).mac("p").unwrap();
        let tag = keys.tag(b"message");
        assert!(keys.verify(keys.current(), b"message", &tag[..16]));
        assert!(!keys.verify(keys.current(), b"message", &tag[..15]));
        assert!(!keys.verify(keys.current(), b"message", &[]));
    }

    #[test]
    fn every_flipped_bit_of_a_sealed_value_is_noticed() {
        let keys = roots(A, &[]).cipher("p").unwrap();
        let sealed = keys.seal(b"here", b"value").unwrap();
        assert_eq!(keys.open(b"here", &sealed).unwrap(), b"value");
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(b"here", &altered).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(keys.open(b"here", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let keys = roots(A, &[]).cipher("p").unwrap();
        let sealed = keys.seal(b"here", b"value").unwrap();
        assert_eq!(keys.open(b"there", &sealed).unwrap_err().kind(), ErrorKind::Unverified);
    }

    #[test]
    fn equal_values_seal_differently() {
        let keys = roots(A, &[]).cipher("p").unwrap();
        assert_ne!(keys.seal(b"", b"value").unwrap(), keys.seal(b"", b"value").unwrap());
    }

    /// Computed with another implementation of RFC 5869, itself checked against its appendix A.1.
    /// Whoever changes a derivation makes every stored token and sealed value worthless.
    #[test]
    fn derived_keys_are_what_they_always_were() {
        let derived = roots(A, &[]).derive("session/token/v1").unwrap();
        let (id, key) = &derived[0];
        assert_eq!(id.to_string(), "95f25561");
        assert_eq!(
            hex(key.expose()),
            "30796b7861075472394251da9439ce8f979ffe23fefafc0840d3e0f89f10f2a4"
        );
        assert_eq!(
            hex(&roots(A, &[]).mac("session/token/v1").unwrap().tag(b"message")),
            "8c0865a2fc6bc32a10d411ad19de15ca14532713b84d98fd2cdc95e7f3c6d510"
        );
    }

    /// Sealed by another implementation of AES-256-GCM.
    #[test]
    fn a_value_sealed_long_ago_opens() {
        let sealed = "0195f25561000102030405060708090a0b41886f2691542ba7aaf91966ecc42070615276bc71";
        let sealed: Vec<u8> = (0..sealed.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap())
            .collect();
        let keys = roots(A, &[]).cipher("session/token/v1").unwrap();
        assert_eq!(keys.open(b"here", &sealed).unwrap(), b"value");
        assert_eq!(sealed.len(), SEAL_OVERHEAD + b"value".len());
    }

    #[test]
    fn a_new_secret_seals_and_a_retired_one_still_opens() {
        let old = roots(A, &[]).cipher("p").unwrap();
        let new = roots(B, &[A]).cipher("p").unwrap();
        let sealed = old.seal(b"", b"value").unwrap();
        assert_eq!(new.open(b"", &sealed).unwrap(), b"value");
        assert_ne!(new.current(), old.current());
        assert!(old.open(b"", &new.seal(b"", b"value").unwrap()).is_err());
        assert!(roots(B, &[]).cipher("p").unwrap().open(b"", &sealed).is_err());
    }

    #[test]
    fn ephemeral_rings_differ() {
        let (one, two) = (KeyRing::ephemeral().unwrap(), KeyRing::ephemeral().unwrap());
        let tag = |keys: &RootKeys| keys.mac("p").unwrap().tag(b"message");
        assert_ne!(tag(&one.secret), tag(&two.secret));
        assert_ne!(tag(&one.secret), tag(&one.jwt));
        assert_ne!(tag(&one.jwt), tag(&one.encryption));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
