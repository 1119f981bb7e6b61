use serde_json::Value;

use super::Sessions;
use crate::access::AccessVerifier;

impl Sessions {
    /// The public keys that access tokens can be checked with, as a JWK set (RFC 7517, RFC 8037):
    /// the current one first, then those of `access_token_key_previous`: retired ones, and ones
    /// announced that do not sign yet. Serve it to whoever checks tokens. Symmetric keys are never
    /// published: without any Ed25519 key, while tokens are signed with HS256, the set is empty.
    ///
    /// A new key has to be known to the verifiers before it signs: put its public key into
    /// `WATCHDOG_SESSION_ACCESS_TOKEN_KEY_PREVIOUS` first, promote it when they have fetched the
    /// set, and drop the old one when its last token has expired.
    pub fn jwks(&self) -> Value {
        self.inner.access.jwks()
    }

    /// A verifier of the access tokens that this accepts, to be handed to code that shall check
    /// tokens and nothing else. It has keys of its own: replacing them changes nothing here. With a
    /// feed of revocations configured it refuses what was revoked, too; about a token of a release
    /// that did not say where its session lives it can then say nothing.
    pub fn verifier(&self) -> AccessVerifier {
        let verifier = self.inner.access.verifier();
        #[cfg(feature = "redis")]
        if let Some(revocations) = &self.inner.revocations {
            return verifier.with_revocations(revocations.clone());
        }
        verifier
    }
}
