//! Access tokens: JWTs (RFC 7519) of the type `at+jwt` (RFC 9068), signed with HS256.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use watchdog_core::RootKeys;

use crate::error::{Error, ErrorKind, Result};
use crate::place::SessionId;
use crate::token::AccessToken;

/// Longest access token looked at, in bytes.
const MAX_TOKEN: usize = 8192;
/// How far the clocks of issuer and verifier may be apart, in seconds. It never lengthens a life.
const LEEWAY: u64 = 5;
const TYPE: &str = "at+jwt";
const PURPOSE: &str = "session/access/v1";

/// The claims of an access token. Times are whole seconds since 1970-01-01.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) sid: SessionId,
    pub(crate) roles: Vec<String>,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
    /// When the user logged in.
    pub(crate) auth_time: u64,
    /// `iat` in milliseconds, to be held against a not-before stamp.
    pub(crate) iat_ms: u64,
}

/// The protected header, and not one member more: `crit`, `jku`, `jwk` and `x5u` are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Makes and checks access tokens.
pub(crate) struct AccessKeys {
    encoding: EncodingKey,
    /// Current first. Every key signs with HS256 and nothing else.
    decoding: Vec<(String, DecodingKey)>,
    validation: Validation,
    issuer: String,
    audience: String,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.decoding.iter().map(|(id, _)| id).collect();
        f.debug_struct("AccessKeys").field("ids", &ids).finish_non_exhaustive()
    }
}

impl AccessKeys {
    pub(crate) fn new(jwt: &RootKeys, issuer: &str, audience: &str) -> Result<Self> {
        // The crate cannot choose a backend by itself when an application's other dependencies
        // turn on a second one. Whoever installed one earlier keeps it.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let keys = jwt.derive(PURPOSE)?;
        let (_, current) = keys
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Config, "no key for access tokens"))?;
        let mut validation = Validation::new(Algorithm::HS256);
        // Times are checked here, against the clock of the SDK.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        Ok(Self {
            encoding: EncodingKey::from_secret(current.expose()),
            decoding: keys
                .iter()
                .map(|(id, key)| (id.to_string(), DecodingKey::from_secret(key.expose())))
                .collect(),
            validation,
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
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = self.decoding.first().map(|(id, _)| id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding)
            .map(AccessToken::new)
            .map_err(|error| Error::new(ErrorKind::Internal, "signing failed").with_source(error))
    }

    /// The claims of a genuine access token at `now`, in milliseconds.
    pub(crate) fn check(&self, token: &str, now: u64) -> Result<Claims> {
        let key = self.key_of(token)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|_| Error::invalid("access token does not verify"))?
            .claims;
        let now = now / 1000;
        if claims.nbf > now + LEEWAY || claims.iat > now + LEEWAY {
            return Err(Error::invalid("access token is from the future"));
        }
        if claims.exp <= now {
            return Err(Error::new(ErrorKind::Expired, "access token has expired"));
        }
        Ok(claims)
    }

    /// The key a token names; the header is judged before any cryptography runs.
    fn key_of(&self, token: &str) -> Result<&DecodingKey> {
        if token.len() > MAX_TOKEN {
            return Err(Error::invalid("access token is too long"));
        }
        let (header, _) = token.split_once('.').ok_or_else(|| Error::invalid("not a JWT"))?;
        let header =
            URL_SAFE_NO_PAD.decode(header).map_err(|_| Error::invalid("malformed JWT header"))?;
        let header: StrictHeader = serde_json::from_slice(&header)
            .map_err(|_| Error::invalid("JWT header is not ours"))?;
        if header.alg != "HS256" || header.typ != TYPE {
            return Err(Error::invalid("JWT of another algorithm or type"));
        }
        self.decoding
            .iter()
            .find(|(id, _)| *id == header.kid)
            .map(|(_, key)| key)
            .ok_or_else(|| Error::invalid("access token of an unknown key"))
    }
}

#[cfg(test)]
mod tests;
