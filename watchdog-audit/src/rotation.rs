//! Rotation of the signing key, recorded in the chain.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::error::{Error, ErrorKind, Result};
use crate::signing::{PublicKey, Signer};

/// The key that follows the one a manifest is signed with.
///
/// The manifest carries it, so the old key vouches for the new one; and the new key signs a
/// statement that names both and the manifest, so nobody can introduce a key that is not theirs. Who
/// has the first public key of a log can check every later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// The new key, 32 bytes in base64.
    pub public: String,
    /// The new key's signature (base64) of the lines `watchdog-audit key rotation v1`, the id of the
    /// old key, the id of the new key, the manifest's number, and its `previous`, each ended by a
    /// newline.
    pub proof: String,
}

impl KeyRotation {
    /// The new key, `None` when it has not signed the statement.
    pub(crate) fn introduced(&self, old: &str, number: u64, previous: &str) -> Option<PublicKey> {
        let bytes = BASE64.decode(&self.public).ok()?;
        let key = PublicKey::from_bytes(bytes.try_into().ok()?);
        let statement = statement(old, &key.id(), number, previous);
        key.verify(&statement, &self.proof).then_some(key)
    }
}

fn statement(old: &str, new: &str, number: u64, previous: &str) -> Vec<u8> {
    format!("watchdog-audit key rotation v1\n{old}\n{new}\n{number}\n{previous}\n").into_bytes()
}

/// With which key the next manifest is signed, and whether it introduces another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signing {
    /// The id of the key.
    pub(crate) key: String,
    pub(crate) rotation: Option<KeyRotation>,
    /// The key that signs what comes after: the next checkpoint, too.
    pub(crate) next: PublicKey,
}

/// Decides how a process signs what follows on a chain.
///
/// A key that was replaced never comes back: in a fleet that is replaced one by one, a process that
/// still has the old key as its current one and the new key as a previous one goes on with the new.
pub(crate) fn signing(chain: &Chain, signer: &Signer) -> Result<Signing> {
    let own = signer.public_key();
    let plain = |key: PublicKey| Signing { key: key.id(), rotation: None, next: key };
    let Some(active) = chain.active_key() else { return Ok(plain(own)) };
    if active == own {
        return Ok(plain(own));
    }
    let is_retired = chain.key(&own.id()).is_some();
    match (signer.holds(&active.id()), is_retired) {
        (true, true) => Ok(plain(active)),
        (true, false) => {
            let previous = chain.head().map_or("", |head| head.sha256.as_str());
            let statement = statement(&active.id(), &own.id(), chain.next(), previous);
            let public = BASE64.encode(own.as_bytes());
            let proof = signer.sign_as(&own.id(), &statement)?;
            let rotation = Some(KeyRotation { public, proof });
            Ok(Signing { key: active.id(), rotation, next: own })
        }
        (false, true) => Err(Error::new(
            ErrorKind::Key,
            format_args!(
                "the audit log is signed with key {} now and this process has only older ones: \
                 give it the new key as a previous one, or let another process archive",
                active.id()
            ),
        )),
        (false, false) => {
            tracing::warn!(
                old = active.id(),
                new = own.id(),
                "the old signing key of the audit log is not at hand to introduce the new one: \
                 only verifiers that are given the new key accept what follows"
            );
            Ok(plain(own))
        }
    }
}
