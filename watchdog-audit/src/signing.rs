//! Ed25519 signatures of manifests (RFC 8032).

pub(crate) mod file;

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use watchdog_core::RootKeys;

use crate::error::{Error, ErrorKind, Result};
use crate::hex;
use crate::merkle::sha256;
use crate::tlog::Checkpoint;

const PURPOSE: &str = "audit/manifest/v1";

/// A public key that manifests are checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's id: the first 16 hexadecimal digits of its SHA-256.
    pub fn id(&self) -> String {
        hex::encode(&sha256(&[&self.0])[..8])
    }

    /// The object that publishes the key beside the manifests.
    pub(crate) fn document(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Document {
            format: &'static str,
            algorithm: &'static str,
            id: String,
            public: String,
        }
        let document = Document {
            format: "watchdog-audit-key/v1",
            algorithm: "ed25519",
            id: self.id(),
            public: BASE64.encode(self.0),
        };
        let mut bytes = serde_json::to_vec(&document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// One key pair.
struct Pair {
    pair: Ed25519KeyPair,
    public: PublicKey,
    id: String,
}

impl Pair {
    fn new(pair: Ed25519KeyPair) -> Result<Self> {
        let bytes = pair.public_key().as_ref().try_into();
        let bytes = bytes.map_err(|_| Error::new(ErrorKind::Key, "key is not 32 bytes"))?;
        let public = PublicKey(bytes);
        Ok(Self { pair, public, id: public.id() })
    }
}

/// Signs with one key, or with one of the keys before it, and checks with every accepted one.
pub(crate) struct Signer {
    /// The current one first.
    pairs: Vec<Pair>,
    trusted: Vec<PublicKey>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own: Vec<_> = self.pairs.iter().map(|pair| pair.public).collect();
        f.debug_struct("Signer")
            .field("own", &own)
            .field("trusted", &self.trusted)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer below the secret root. Retired roots and `trusted` keys are accepted as well.
    pub(crate) fn new(secret: &RootKeys, trusted: &[PublicKey]) -> Result<Self> {
        let mut pairs = Vec::new();
        for (_, seed) in secret.derive(PURPOSE)? {
            let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose())
                .map_err(|_| Error::new(ErrorKind::Key, "Ed25519 refused a seed"))?;
            pairs.push(Pair::new(pair)?);
        }
        if pairs.is_empty() {
            return Err(Error::new(ErrorKind::Key, "no signing key"));
        }
        Ok(Self { pairs, trusted: trusted.to_vec() })
    }

    /// The same signer with the keys of a file before those it has.
    pub(crate) fn with_file(mut self, file: Vec<Ed25519KeyPair>) -> Result<Self> {
        let mut pairs = file.into_iter().map(Pair::new).collect::<Result<Vec<_>>>()?;
        pairs.append(&mut self.pairs);
        Ok(Self { pairs, ..self })
    }

    /// The key that new manifests are to be signed with.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.pairs[0].public
    }

    /// Whether the secret of a key is here.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.pairs.iter().any(|pair| pair.id == id)
    }

    /// Signs with the key of an id, in base64; equal messages have equal signatures.
    pub(crate) fn sign_as(&self, id: &str, message: &[u8]) -> Result<String> {
        self.signature(id, message).map(|signature| BASE64.encode(signature))
    }

    /// Signs with the key of an id.
    pub(crate) fn signature(&self, id: &str, message: &[u8]) -> Result<[u8; 64]> {
        let pair = self.pairs.iter().find(|pair| pair.id == id);
        let signature = pair.map(|pair| pair.pair.sign(message));
        let signature = signature.and_then(|signature| signature.as_ref().try_into().ok());
        signature.ok_or_else(|| {
            Error::new(ErrorKind::Key, format_args!("the secret of signing key {id} is not here"))
        })
    }

    /// Whether an accepted key has signed a checkpoint.
    pub(crate) fn accepts(&self, checkpoint: &Checkpoint) -> bool {
        let own = self.pairs.iter().map(|pair| &pair.public);
        own.chain(&self.trusted).any(|key| checkpoint.is_signed_by(key))
    }

    /// The key with an id, when it may sign after another key that has not introduced it: the current
    /// one of this process, or one that is trusted by name. One that is retired here may have been
    /// stolen, and a key file is there so that whoever has the secret root cannot sign.
    pub(crate) fn successor(&self, id: &str) -> Option<PublicKey> {
        let own = self.pairs.first().map(|pair| &pair.public);
        own.into_iter().chain(&self.trusted).find(|key| key.id() == id).copied()
    }

    /// The accepted key with an id.
    pub(crate) fn accepted(&self, id: &str) -> Option<PublicKey> {
        let own = self.pairs.iter().find(|pair| pair.id == id).map(|pair| pair.public);
        own.or_else(|| self.trusted.iter().find(|key| key.id() == id).copied())
    }
}

impl PublicKey {
    /// Whether `signature` (base64) is this key's signature of `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &str) -> bool {
        BASE64.decode(signature).is_ok_and(|signature| self.verify_bytes(message, &signature))
    }

    /// As [`verify`](Self::verify), of the bytes of a signature.
    pub(crate) fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchdog_core::Secret;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";

    fn signer(current: &str, previous: &[&str]) -> Signer {
        let previous: Vec<_> = previous.iter().map(|&text| Secret::from(text)).collect();
        Signer::new(&RootKeys::new(&Secret::from(current), &previous).unwrap(), &[]).unwrap()
    }

    #[test]
    fn a_signature_verifies_under_its_key_only() {
        let signer = signer(A, &[]);
        let own = signer.public_key().id();
        let signature = signer.sign_as(&own, b"message").unwrap();
        assert!(signer.public_key().verify(b"message", &signature));
        assert!(!signer.public_key().verify(b"other", &signature));
        assert!(!signer.public_key().verify(b"message", "no signature"));
        assert_eq!(signature, signer.sign_as(&own, b"message").unwrap());
        assert_eq!(signer.sign_as("other", b"").unwrap_err().kind(), ErrorKind::Key);
    }

    #[test]
    fn a_retired_key_is_accepted_while_it_is_listed() {
        let id = signer(A, &[]).public_key().id();
        assert!(signer(B, &[A]).accepted(&id).is_some());
        assert!(signer(B, &[]).accepted(&id).is_none());
    }

    #[test]
    fn only_the_current_key_and_those_trusted_by_name_follow_without_being_introduced() {
        let [a, b] = [A, B].map(|text| signer(text, &[]).public_key());
        let own = signer(B, &[A]);
        assert_eq!(own.successor(&b.id()), Some(b));
        assert_eq!(own.successor(&a.id()), None, "it was retired");
        let root = RootKeys::new(&Secret::from(B), &[]).unwrap();
        let trusting = Signer::new(&root, &[a]).unwrap();
        assert_eq!(trusting.successor(&a.id()), Some(a));
        let file = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let with_file = signer(B, &[]).with_file(vec![file]).unwrap();
        assert_eq!(with_file.successor(&b.id()), None, "the file's key signs");
        assert!(with_file.successor(&with_file.public_key().id()).is_some());
    }
}
