use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use watchdog_core::{KeyId, MacKeys, RootKeys, fill_random};

use super::Sessions;
use crate::error::{Error, ErrorKind, Result};
use crate::place::SessionId;
use crate::session::Session;

const VERSION: u8 = 1;
const NONCE: usize = 16;
const HEAD: usize = 1 + 4 + NONCE;
const TAG: usize = 16;
const BYTES: usize = HEAD + TAG;
const CHARS: usize = (BYTES * 4).div_ceil(3);

impl Sessions {
    /// A token that proves, beside the cookie, that a request was made by a page of this service:
    /// an HMAC over the session's id and a nonce (OWASP CSRF Prevention Cheat Sheet, signed double
    /// submit). No round trip, and nothing is stored.
    ///
    /// Each call gives another one, so that compression does not give it away (BREACH); all hold
    /// as long as the session keeps its id. Hand it to the page in its body or in a header.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the system has no randomness.
    pub fn csrf_token(&self, session: &Session) -> Result<String> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce)?;
        Ok(self.inner.csrf.token(session.id(), nonce))
    }

    /// Whether a token was made for this very session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forbidden`] when it was not.
    pub fn verify_csrf(&self, session: &Session, token: &str) -> Result<()> {
        if self.inner.csrf.verifies(session.id(), token) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Forbidden, "the request proves no origin"))
        }
    }
}

/// What the tokens are made with.
#[derive(Debug)]
pub(super) struct CsrfKeys(MacKeys);

impl CsrfKeys {
    pub(super) fn new(secret: &RootKeys) -> Result<Self> {
        Ok(Self(secret.mac("session/csrf/v1")?))
    }

    fn token(&self, session: SessionId, nonce: [u8; NONCE]) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.0.current().to_bytes());
        bytes.extend_from_slice(&nonce);
        let tag = self.0.tag(&message(&bytes, session));
        bytes.extend_from_slice(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn verifies(&self, session: SessionId, token: &str) -> bool {
        if token.len() != CHARS {
            return false;
        }
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let Some((head, tag)) = bytes.split_at_checked(HEAD) else { return false };
        let Some((&[version], rest)) = head.split_first_chunk() else { return false };
        let Some((key, _)) = rest.split_first_chunk() else { return false };
        version == VERSION && self.0.verify(KeyId::from_bytes(*key), &message(head, session), tag)
    }
}

fn message(head: &[u8], session: SessionId) -> Vec<u8> {
    [head, session.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use watchdog_core::Secret;

    use super::*;

    const ALICE: SessionId = SessionId::from_bytes([1; 16]);
    const MALLORY: SessionId = SessionId::from_bytes([2; 16]);

    #[test]
    fn a_token_holds_for_its_session_alone() {
        let keys = CsrfKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
        let token = keys.token(ALICE, [7; NONCE]);
        assert_eq!(token.len(), CHARS);
        assert!(keys.verifies(ALICE, &token));
        assert!(!keys.verifies(MALLORY, &token));
        assert_ne!(token, keys.token(ALICE, [8; NONCE]));
        let other = CsrfKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
        assert!(!other.verifies(ALICE, &token));
        for wrong in ["", "x", &token[1..], &format!("{token}A"), &"!".repeat(CHARS)] {
            assert!(!keys.verifies(ALICE, wrong), "{wrong}");
        }
    }

    #[test]
    fn no_bit_of_a_token_may_change() {
        let keys = CsrfKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
        let token = URL_SAFE_NO_PAD.decode(keys.token(ALICE, [7; NONCE])).unwrap();
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys.verifies(ALICE, &URL_SAFE_NO_PAD.encode(changed)), "{bit}");
        }
    }

    #[test]
    fn a_token_outlives_the_rotation_of_its_key() {
        let secret = |text: &str| Secret::from(format!("{text} of at least thirty-two bytes!!"));
        let old = RootKeys::new(&secret("first"), &[]).unwrap();
        let token = CsrfKeys::new(&old).unwrap().token(ALICE, [7; NONCE]);
        let new = RootKeys::new(&secret("second"), &[secret("first")]).unwrap();
        assert!(CsrfKeys::new(&new).unwrap().verifies(ALICE, &token));
    }
}
