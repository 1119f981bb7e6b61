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
                Aad::from(&*bound(*id, context)),
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
                Aad::from(&*bound(id, context)),
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
fn bound(id: KeyId, context: &[u8]) -> Bound {
    let header = 1 + KEY_ID_BYTES;
    let mut short = [0; SHORT_CONTEXT];
    short[0] = SEAL_VERSION;
    short[1..header].copy_from_slice(&id.to_bytes());
    match short.get_mut(header..header + context.len()) {
        Some(rest) => {
            rest.copy_from_slice(context);
            Bound::Short(short, header + context.len())
        }
        None => Bound::Long([&short[..header], context].concat()),
    }
}

const SHORT_CONTEXT: usize = 64;

/// What a seal is bound to, on the stack as long as it fits there.
enum Bound {
    Short([u8; SHORT_CONTEXT], usize),
    Long(Vec<u8>),
}

impl std::ops::Deref for Bound {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes, length) => &bytes[..*length],
            Self::Long(bytes) => bytes,
        }
    }
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
mod tests;
