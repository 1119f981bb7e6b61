//! Compact JWS (RFC 7515) of two algorithms: HMAC-SHA-256 and Ed25519.
//!
//! A key carries its algorithm in its type, so there is nothing for the `alg` of a token to choose
//! (RFC 8725, 3.1). What is cheap is judged first: length, shape, header, then the signature, and
//! only then what was signed.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Longest token made and looked at, in bytes.
pub(super) const MAX_TOKEN: usize = 8192;

/// The protected header, and not one member more: whatever else it may hold (`crit`, `b64`, `jku`,
/// `jwk`, `x5u`, `x5c`) would ask for something that is not done here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub(super) alg: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) typ: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<Cow<'a, str>>,
}

/// A key that signs, for one algorithm.
pub(super) enum SigningKey {
    Hs256(Box<hmac::Key>),
    EdDsa(Ed25519KeyPair),
}

/// A key that verifies, for one algorithm.
#[derive(Clone)]
pub(super) enum VerifyingKey {
    Hs256(Box<hmac::Key>),
    EdDsa(ParsedPublicKey),
}

const HS256: &str = "HS256";
/// The name of RFC 8037. RFC 9864 renames it to `Ed25519`; few libraries know that one yet.
const EDDSA: &str = "EdDSA";

impl SigningKey {
    pub(super) fn hs256(secret: &[u8]) -> Self {
        Self::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => HS256,
            Self::EdDsa(_) => EDDSA,
        }
    }

    fn sign(&self, message: &[u8]) -> String {
        match self {
            Self::Hs256(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, message)),
            Self::EdDsa(key) => URL_SAFE_NO_PAD.encode(key.sign(message)),
        }
    }
}

impl VerifyingKey {
    pub(super) fn hs256(secret: &[u8]) -> Self {
        Self::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => HS256,
            Self::EdDsa(_) => EDDSA,
        }
    }

    /// Whether `signature`, in full length, is this key's of `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(key) => hmac::verify(key, message, signature).is_ok(),
            Self::EdDsa(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.algorithm())
    }
}

/// The start of every token of one key: its header and the dot.
pub(super) fn prefix(key: &SigningKey, typ: &str, kid: &str) -> Result<String> {
    let header =
        Header { alg: key.algorithm().into(), typ: Some(typ.into()), kid: Some(kid.into()) };
    let header = serde_json::to_vec(&header)
        .map_err(|error| Error::new(ErrorKind::Internal, "token header").with_source(error))?;
    Ok(URL_SAFE_NO_PAD.encode(header) + ".")
}

/// The token over `payload`, given the [`prefix`] of its key.
pub(super) fn seal(key: &SigningKey, prefix: &str, payload: &[u8]) -> Result<String> {
    let mut token = String::with_capacity(prefix.len() + payload.len() * 4 / 3 + 96);
    token.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&signature);
    if token.len() > MAX_TOKEN {
        return Err(Error::new(ErrorKind::Misuse, "access token would exceed 8192 bytes"));
    }
    Ok(token)
}

/// What was signed, when `token` is genuine under the key that `key_of` finds for its header.
pub(super) fn open<'k>(
    token: &str,
    key_of: impl FnOnce(&Header<'_>) -> Result<&'k VerifyingKey>,
) -> Result<Vec<u8>> {
    if token.len() > MAX_TOKEN {
        return Err(Error::invalid("access token is too long"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(not_three_parts)?;
    let (header, payload) = signed.split_once('.').ok_or_else(not_three_parts)?;
    if payload.contains('.') {
        return Err(not_three_parts());
    }
    let header = decode(header)?;
    let header: Header<'_> = serde_json::from_slice(object(&header)?)
        .map_err(|_| Error::invalid("token header is not ours"))?;
    let key = key_of(&header)?;
    if header.alg != key.algorithm() {
        return Err(Error::invalid("token names another algorithm than its key is for"));
    }
    let signature = decode(signature)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(Error::invalid("access token does not verify"));
    }
    decode(payload)
}

/// The bytes of a JSON object, with nothing before or after it: no space, no byte order mark.
pub(super) fn object(json: &[u8]) -> Result<&[u8]> {
    match json {
        [b'{', .., b'}'] => Ok(json),
        _ => Err(Error::invalid("token part is not a bare JSON object")),
    }
}

/// base64url without padding; unused bits of the last character must be zero.
fn decode(part: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::invalid("token part is not base64url"))
}

fn not_three_parts() -> Error {
    Error::invalid("token does not have three parts")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
