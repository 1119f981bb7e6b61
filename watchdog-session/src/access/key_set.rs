//! The keys that access tokens are accepted under, each with a name and one algorithm; as JSON for
//! verifiers (RFC 7517, RFC 8037).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use watchdog_core::RootKeys;

use super::PURPOSE;
use super::distinct::Distinct;
use super::ed25519::PublicKey;
use super::jws::VerifyingKey;
use crate::error::{Error, ErrorKind, Result};

/// Longest key set looked at, in bytes.
const MAX_JWKS: usize = 65_536;
/// Most keys of a set.
const MAX_KEYS: usize = 64;
/// Longest name of a key, in bytes.
const MAX_KEY_ID: usize = 128;
/// Members that only a private or symmetric key has (RFC 7518, section 6; RFC 8037, section 2).
const PRIVATE: [&str; 8] = ["k", "d", "p", "q", "dp", "dq", "qi", "oth"];

/// Keys by name. A name stands for one key, and a key for one algorithm.
#[derive(Clone, Default)]
pub(super) struct KeySet {
    keys: Vec<(String, VerifyingKey)>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.keys.iter().map(|(id, key)| (id, key))).finish()
    }
}

impl KeySet {
    /// The HS256 keys of a secret and its retired predecessors.
    pub(super) fn from_secret(jwt: &RootKeys) -> Result<Self> {
        let keys = jwt.derive(PURPOSE)?.into_iter();
        let keys = keys.map(|(id, key)| (id.to_string(), VerifyingKey::hs256(key.expose())));
        Ok(Self { keys: keys.collect() })
    }

    pub(super) fn find(&self, id: &str) -> Option<&VerifyingKey> {
        self.keys.iter().find(|(other, _)| other == id).map(|(_, key)| key)
    }

    /// Adds a key under a name that must be free.
    pub(super) fn add(&mut self, id: String, key: &PublicKey) -> Result<()> {
        if self.find(&id).is_some() {
            return Err(refused("a key id stands twice"));
        }
        self.keys.push((id, VerifyingKey::EdDsa(key.parsed().clone())));
        Ok(())
    }

    /// The same secrets, with the public keys of another set.
    pub(super) fn with_public_keys_of(&self, other: Self) -> Self {
        let is_secret = |(_, key): &&(String, VerifyingKey)| matches!(key, VerifyingKey::Hs256(_));
        let mut keys: Vec<_> = self.keys.iter().filter(is_secret).cloned().collect();
        keys.extend(other.keys);
        Self { keys }
    }

    /// Reads a JWK set.
    ///
    /// Keys of other kinds are passed over, as RFC 7517 (section 5) asks: a set may serve others
    /// too. One private or symmetric member, a name that stands twice or a broken Ed25519 key
    /// spoils the whole set, and so does a set in which no key is ours.
    pub(super) fn from_jwks(json: &str) -> Result<Self> {
        if json.len() > MAX_JWKS {
            return Err(refused("it is longer than 64 KiB"));
        }
        let set: Jwks = serde_json::from_str(json)
            .map_err(|_| refused("it is not a JSON object with a list of `keys`"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(refused("it holds more than 64 keys"));
        }
        if set.keys.iter().any(|key| PRIVATE.iter().any(|name| key.0.contains_key(*name))) {
            return Err(refused("it publishes a private or symmetric key"));
        }
        let mut found = Self::default();
        for key in set.keys.iter().filter(|key| is_ours(key)) {
            let (id, key) = read(key)?;
            found.add(id, &key)?;
        }
        if found.keys.is_empty() {
            return Err(refused("it holds no Ed25519 key for signatures"));
        }
        Ok(found)
    }
}

/// The public keys as a JWK set.
pub(super) fn to_jwks<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Value {
    let keys: Vec<_> = keys
        .into_iter()
        .map(|key| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": key.thumbprint(), "x": key.x(),
            })
        })
        .collect();
    json!({ "keys": keys })
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Distinct<Value>>,
}

/// Whether a key is of the one kind that is understood here.
fn is_ours(key: &Distinct<Value>) -> bool {
    let is = |name: &str, wanted: &str| key.0.get(name).is_some_and(|value| value == wanted);
    let has_our_algorithm =
        !key.0.contains_key("alg") || is("alg", "EdDSA") || is("alg", "Ed25519");
    is("kty", "OKP") && is("crv", "Ed25519") && is("use", "sig") && has_our_algorithm
}

fn read(key: &Distinct<Value>) -> Result<(String, PublicKey)> {
    let text = |name: &str| key.0.get(name).and_then(Value::as_str);
    let is_name = |id: &&str| (1..=MAX_KEY_ID).contains(&id.len()) && id.bytes().all(is_printable);
    let id = text("kid").filter(is_name).ok_or_else(|| refused("a key has no usable `kid`"))?;
    let x = text("x")
        .and_then(|x| URL_SAFE_NO_PAD.decode(x).ok())
        .and_then(|x| <[u8; 32]>::try_from(x).ok())
        .ok_or_else(|| refused("a key has no `x` of 32 bytes"))?;
    let public = PublicKey::from_bytes(x)
        .map_err(|error| refused("one of its keys is unusable").with_source(error))?;
    Ok((id.to_owned(), public))
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Config, format_args!("key set of access tokens: {why}"))
}

#[cfg(test)]
mod tests;
