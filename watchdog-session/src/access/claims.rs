//! What an access token says, and what makes it unacceptable.

use std::fmt;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use watchdog_core::Timestamp;

use super::distinct::Distinct;
use super::jws;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME;
use crate::error::{Error, ErrorKind, Result};
use crate::event::timestamp;
use crate::place::{BUCKETS, Location, SessionId, unhex};
use crate::record::Millis;

/// How far the clocks of issuer and verifier may be apart, in seconds. It never lengthens a life.
const LEEWAY: u64 = 5;
/// The greatest integer that every reader of JSON holds exactly (RFC 8259, section 6).
const MAX_INTEGER: u64 = 1 << 53;

/// The claims as they stand in a token. Members that a later release adds are passed over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    /// One audience, as text: a list is refused, since a token for several is not ours.
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) sid: SessionId,
    pub(crate) roles: Vec<String>,
    #[serde(deserialize_with = "integer")]
    pub(crate) iat: u64,
    #[serde(deserialize_with = "integer")]
    pub(crate) nbf: u64,
    #[serde(deserialize_with = "integer")]
    pub(crate) exp: u64,
    pub(crate) jti: String,
    /// When the user last proved who they are.
    #[serde(deserialize_with = "integer")]
    pub(crate) auth_time: u64,
    /// `iat` in milliseconds, to be held against a not-before stamp.
    #[serde(deserialize_with = "integer")]
    pub(crate) iat_ms: u64,
    /// Where the user's sessions live. Absent in tokens of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loc: Option<Locus>,
    /// How strongly the user proved who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
}

/// Without the user.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("iss", &self.iss)
            .field("aud", &self.aud)
            .field("sid", &self.sid)
            .field("roles", &self.roles)
            .field("iat_ms", &self.iat_ms)
            .field("exp", &self.exp)
            .field("auth_time", &self.auth_time)
            .field("jti", &self.jti)
            .field("acr", &self.acr)
            .finish_non_exhaustive()
    }
}

/// A whole number, up to what every reader of JSON holds exactly.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    (number <= MAX_INTEGER).then_some(number).ok_or_else(|| D::Error::custom("too large"))
}

/// A [`Location`] in a claim: bucket in decimal, a dot, locator in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locus(pub(crate) Location);

impl Serialize for Locus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = self.0.bucket.to_string();
        text.push('.');
        text.push_str(self.0.user_hex().as_str());
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Locus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a location"))
    }
}

impl Locus {
    fn parse(text: &str) -> Option<Self> {
        let (number, user) = text.split_once('.')?;
        let bucket: u16 = number.parse().ok()?;
        // One spelling each: no sign, no zero in front.
        let is_canonical = bucket < BUCKETS && bucket.to_string() == number;
        let user = unhex(user)?;
        is_canonical.then_some(Self(Location { bucket, user }))
    }
}

impl Claims {
    pub(super) fn from_json(json: &[u8]) -> Result<Self> {
        let json = jws::object(json)?;
        let malformed = |_| Error::invalid("claims are not those of an access token");
        serde_json::from_slice::<Distinct<IgnoredAny>>(json).map_err(malformed)?;
        serde_json::from_slice(json).map_err(malformed)
    }

    /// Judges for whom, by whom and for when the token was made. `now` is in milliseconds.
    pub(super) fn judge(&self, issuer: &str, audience: &str, now: Millis) -> Result<()> {
        if self.iss != issuer || self.aud != audience {
            return Err(Error::invalid("access token of another issuer or for another audience"));
        }
        let now = now / 1000;
        if self.nbf > now + LEEWAY || self.iat > now + LEEWAY {
            return Err(Error::invalid("access token is from the future"));
        }
        // A revocation is remembered for as long as a token can live, and no longer.
        if self.exp > self.iat.saturating_add(MAX_ACCESS_TOKEN_LIFETIME.as_secs()) {
            return Err(Error::invalid("access token lives longer than any may"));
        }
        if self.exp <= now {
            return Err(Error::new(ErrorKind::Expired, "access token has expired"));
        }
        Ok(())
    }
}

/// What a genuine access token says: how things stood when it was made.
///
/// Whether the session has been revoked since, the token cannot know: hold
/// [`location`](Self::location), [`session`](Self::session) and
/// [`issued_at_ms`](Self::issued_at_ms) against the revocations, or accept that a token lives on
/// until [`expires_at`](Self::expires_at).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    pub(crate) claims: Claims,
}

impl AccessClaims {
    /// The user's id.
    pub fn user(&self) -> &str {
        &self.claims.sub
    }

    /// The roles the session had.
    pub fn roles(&self) -> &[String] {
        &self.claims.roles
    }

    /// Whether the session had a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.claims.roles.iter().any(|held| held == role)
    }

    /// The session the token was made for.
    pub fn session(&self) -> SessionId {
        self.claims.sid
    }

    /// Where the user's sessions live: a pseudonym of the user. `None` in a token of a release
    /// that did not say.
    pub fn location(&self) -> Option<Location> {
        self.claims.loc.map(|locus| locus.0)
    }

    /// When the token was made.
    pub fn issued_at(&self) -> Timestamp {
        timestamp(self.claims.iat_ms)
    }

    /// When the token was made, in milliseconds of the store's clock.
    pub fn issued_at_ms(&self) -> Millis {
        self.claims.iat_ms
    }

    /// When the token ends.
    pub fn expires_at(&self) -> Timestamp {
        timestamp(self.claims.exp.saturating_mul(1000))
    }

    /// When the user last proved who they are, to the second.
    pub fn auth_time(&self) -> Timestamp {
        timestamp(self.claims.auth_time.saturating_mul(1000))
    }

    /// How strongly the user proved who they are: the claim `acr`.
    pub fn level(&self) -> Option<&str> {
        self.claims.acr.as_deref()
    }

    /// The token's own id, for logs: it opens nothing.
    pub fn token_id(&self) -> &str {
        &self.claims.jti
    }
}

#[cfg(test)]
mod tests;
