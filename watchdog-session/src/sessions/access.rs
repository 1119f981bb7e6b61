use serde_json::Value;

use super::Sessions;
use crate::access::AccessVerifier;

impl Sessions {
    /// The public keys that access tokens can be checked with, as a JWK set (RFC 7517, RFC 8037):
    /// the current one first, then the retired ones. Serve it to whoever checks tokens. It is empty
    /// while tokens are signed with HS256: a symmetric key is never published.
    ///
    /// A new key has to be known to the verifiers before it signs: put its public key into
    /// `WATCHDOG_SESSION_ACCESS_TOKEN_KEY_PREVIOUS` first, promote it when they have fetched the
    /// set, and drop the old one when its last token has expired.
    pub fn jwks(&self) -> Value {
        self.inner.access.jwks()
    }

    /// A verifier of the access tokens that this accepts, to be handed to code that shall check
    /// tokens and nothing else. It has keys of its own: replacing them changes nothing here.
    pub fn verifier(&self) -> AccessVerifier {
        self.inner.access.verifier()
    }
}
