//! Access tokens: JWTs (RFC 7519) of the type `at+jwt` (RFC 9068), signed with Ed25519 (RFC 8037)
//! when a key for it is configured, else with HS256 under a key derived from the secret for JWTs.

mod claims;
mod distinct;
mod ed25519;
mod jws;
mod key_set;
mod verifier;

use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::Value;
use watchdog_core::RootKeys;

use crate::config::SessionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Millis;
use crate::token::AccessToken;
use ed25519::PublicKey;
use jws::SigningKey;
use key_set::KeySet;

pub use claims::AccessClaims;
pub(crate) use claims::{Claims, Locus};
pub(crate) use ed25519::Refusal;
pub use verifier::AccessVerifier;

const TYPE: &str = "at+jwt";
const PURPOSE: &str = "session/access/v1";

/// Makes and checks access tokens.
pub(crate) struct AccessKeys {
    signer: SigningKey,
    /// What every token begins with.
    prefix: String,
    verifier: AccessVerifier,
    /// Current first.
    public: Vec<PublicKey>,
    issuer: String,
    audience: String,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeys")
            .field("signer", &self.signer)
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl AccessKeys {
    pub(crate) fn new(
        jwt: &RootKeys,
        config: &SessionConfig,
        issuer: &str,
        audience: &str,
    ) -> Result<Self> {
        let (pair, public) = configured(config).map_err(|(field, error)| {
            Error::new(ErrorKind::Config, format_args!("{field} cannot be used")).with_source(error)
        })?;
        // Tokens from before there was an Ed25519 key are accepted until they expire.
        let mut keys = KeySet::from_secret(jwt)?;
        for key in &public {
            keys.add(key.thumbprint(), key)?;
        }
        let (signer, id) = match (pair, public.first()) {
            (Some(pair), Some(key)) => (SigningKey::EdDsa(pair), key.thumbprint()),
            _ => {
                let (id, key) = jwt.derive(PURPOSE)?.swap_remove(0);
                (SigningKey::hs256(key.expose()), id.to_string())
            }
        };
        Ok(Self {
            prefix: jws::prefix(&signer, TYPE, &id)?,
            signer,
            verifier: AccessVerifier::new(keys, issuer, audience),
            public,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    pub(crate) fn mint(&self, claims: &Claims) -> Result<AccessToken> {
        let payload = serde_json::to_vec(claims)
            .map_err(|error| Error::new(ErrorKind::Internal, "claims").with_source(error))?;
        jws::seal(&self.signer, &self.prefix, &payload).map(AccessToken::new)
    }

    /// What a genuine access token says at `now`, in milliseconds.
    pub(crate) fn check(&self, token: &str, now: Millis) -> Result<AccessClaims> {
        self.verifier.check(token, now)
    }

    /// A verifier with keys of its own: replacing them changes nothing here.
    pub(crate) fn verifier(&self) -> AccessVerifier {
        AccessVerifier::new((*self.verifier.keys()).clone(), &self.issuer, &self.audience)
    }

    pub(crate) fn jwks(&self) -> Value {
        key_set::to_jwks(&self.public)
    }
}

/// The Ed25519 keys of the configuration: the pair that signs, and every public key, current first.
/// When there is a pair there is a first public key.
fn configured(config: &SessionConfig) -> Result<Configured, (&'static str, Refusal)> {
    let (current, previous) = ("access_token_key", "access_token_key_previous");
    let pair = config.access_token_key.as_ref().map(ed25519::pair_from_pem).transpose();
    let pair = pair.map_err(|error| (current, error))?;
    let mut public = Vec::new();
    if let Some(pair) = &pair {
        public.push(PublicKey::of(pair).map_err(|error| (current, error))?);
    }
    for pem in &config.access_token_key_previous {
        let key = PublicKey::from_pem(pem).map_err(|error| (previous, error))?;
        if public.contains(&key) {
            return Err((previous, Refusal::Twice));
        }
        public.push(key);
    }
    Ok((pair, public))
}

type Configured = (Option<Ed25519KeyPair>, Vec<PublicKey>);

/// The field whose key cannot be used, and why.
pub(crate) fn unusable_key(config: &SessionConfig) -> Option<(&'static str, Refusal)> {
    configured(config).err()
}

#[cfg(test)]
mod tests;
