//! Checking access tokens where none are made.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use watchdog_core::{Clock, RootKeys};

use super::TYPE;
use super::claims::{AccessClaims, Claims};
use super::jws;
use super::key_set::KeySet;
use crate::error::{Error, Result};
use crate::record::Millis;

/// Checks access tokens without asking anybody, and without a key that could make one.
///
/// ```
/// use watchdog_core::{Clock as _, KeyRing, SystemClock};
/// use watchdog_session::{AccessVerifier, Client, SessionConfig, Sessions, Subject};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pem = "-----BEGIN PRIVATE KEY-----\n\
/// #     MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
/// #     -----END PRIVATE KEY-----\n".to_owned();
/// // The service that issues: `pem` as `openssl genpkey -algorithm ed25519` writes it.
/// let config = SessionConfig { access_token_key: Some(pem.into()), ..Default::default() };
/// let sessions = Sessions::builder(&KeyRing::ephemeral()?)
///     .config(config)
///     .issuer("https://login.example")
///     .audience("https://api.example")
///     .build()?;
/// let published = sessions.jwks().to_string(); // for all to see
/// let issued = sessions.issue(Subject::user("alice"), &Client::unknown()).await?;
///
/// // A service that checks. It holds nothing but what was published.
/// let verifier =
///     AccessVerifier::from_jwks(&published, "https://login.example", "https://api.example")?;
/// let claims = verifier.check_by(issued.access_token.expose(), &SystemClock)?;
/// assert_eq!((claims.user(), claims.session()), ("alice", issued.session.id()));
/// # Ok(())
/// # }
/// ```
///
/// A clone shares the keys: [`replace_keys`](Self::replace_keys) on one is seen by all, from the
/// next check on. The check is offline, so a revoked session's token passes until it expires,
/// after an hour at the latest: [`AccessClaims`] names what to hold against a list of revocations.
///
/// # What is accepted
///
/// Exactly three parts of unpadded base64url, 8192 bytes in all. A header of `alg`, `typ: at+jwt`
/// and `kid`, and nothing else. A `kid` in the set, whose key has one algorithm, whatever the
/// header says. A signature over just these bytes. Claims whose names stand once, whose times are
/// whole numbers, all of them there; `iss` and `aud` as given here, `aud` as text, not as a list.
/// Clocks may be 5 s apart, which never lengthens a token's life.
#[derive(Clone)]
pub struct AccessVerifier {
    shared: Arc<Shared>,
    #[cfg(feature = "redis")]
    revocations: Option<crate::revocations::Revocations>,
}

struct Shared {
    keys: RwLock<Arc<KeySet>>,
    issuer: String,
    audience: String,
}

impl fmt::Debug for AccessVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessVerifier")
            .field("issuer", &self.shared.issuer)
            .field("audience", &self.shared.audience)
            .field("keys", &self.keys())
            .finish()
    }
}

impl AccessVerifier {
    pub(super) fn new(keys: KeySet, issuer: &str, audience: &str) -> Self {
        let keys = RwLock::new(Arc::new(keys));
        let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
        Self {
            shared: Arc::new(Shared { keys, issuer, audience }),
            #[cfg(feature = "redis")]
            revocations: None,
        }
    }

    /// Refuses sessions that were revoked since their token was made, by this clone and those made
    /// of it. The service needs the Redis of the sessions for it, and may only read there.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn with_revocations(mut self, revocations: crate::revocations::Revocations) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// A verifier that knows public keys only: the text of what
    /// [`Sessions::jwks`](crate::Sessions::jwks) gave.
    ///
    /// Keys of other kinds than Ed25519 for signatures are passed over (RFC 7517, section 5).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when there is no key left to check with, a
    /// key is broken or weak, a name stands twice, or the set publishes a private or symmetric
    /// key: then it has to be withdrawn, not used.
    pub fn from_jwks(jwks: &str, issuer: &str, audience: &str) -> Result<Self> {
        Ok(Self::new(KeySet::from_jwks(jwks)?, issuer, audience))
    }

    /// A verifier of tokens signed with HS256: it holds the secret, so it could make them as well.
    /// Only for services as trusted as the one that issues.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when two secrets derive one key id.
    pub fn from_secret(jwt: &RootKeys, issuer: &str, audience: &str) -> Result<Self> {
        Ok(Self::new(KeySet::from_secret(jwt)?, issuer, audience))
    }

    /// Puts other public keys in place of those known so far, for all clones at once; keys from a
    /// secret stay. To follow a rotation, fetch the set again now and then, and when a check fails
    /// though the user has just logged in.
    ///
    /// # Errors
    ///
    /// As [`AccessVerifier::from_jwks`]; the keys known so far stay in force.
    pub fn replace_keys(&self, jwks: &str) -> Result<()> {
        let public = KeySet::from_jwks(jwks)?;
        let mut keys = self.shared.keys.write().unwrap_or_else(PoisonError::into_inner);
        *keys = Arc::new(keys.with_public_keys_of(public));
        Ok(())
    }

    /// What a genuine access token says, at `now`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when it is not genuine, not for this
    /// audience, or from the future; [`ErrorKind::Expired`](crate::ErrorKind::Expired) when its
    /// time is over. With a feed of revocations also [`ErrorKind::Gone`](crate::ErrorKind::Gone),
    /// and [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) while the feed may have missed
    /// something.
    pub fn check(&self, token: &str, now: Millis) -> Result<AccessClaims> {
        let claims = self.verified(token)?;
        claims.judge(&self.shared.issuer, &self.shared.audience, now)?;
        let claims = AccessClaims { claims };
        #[cfg(feature = "redis")]
        if let Some(revocations) = &self.revocations {
            revocations.check_claims(&claims)?;
        }
        Ok(claims)
    }

    /// [`check`](Self::check) at the time of a clock.
    ///
    /// # Errors
    ///
    /// As [`AccessVerifier::check`].
    pub fn check_by(&self, token: &str, clock: &dyn Clock) -> Result<AccessClaims> {
        self.check(token, Millis::try_from(clock.now().as_millisecond()).unwrap_or(0))
    }

    fn verified(&self, token: &str) -> Result<Claims> {
        let keys = self.keys();
        let payload = jws::open(token, |header| {
            if header.typ.as_deref() != Some(TYPE) {
                return Err(Error::invalid("token is not an access token"));
            }
            let id = header.kid.as_deref().unwrap_or_default();
            keys.find(id).ok_or_else(|| Error::invalid("access token of an unknown key"))
        })?;
        Claims::from_json(&payload)
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.shared.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}
