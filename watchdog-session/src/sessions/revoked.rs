use super::Inner;
use crate::access::Claims;
use crate::error::Result;

impl Inner {
    /// Holds an access token against what was revoked since it was made.
    pub(super) fn check_revocations(&self, claims: &Claims) -> Result<()> {
        let Some(revocations) = &self.revocations else { return Ok(()) };
        // Under a secret that is being rotated a user has several locations.
        self.locator
            .all(&claims.sub)
            .into_iter()
            .try_for_each(|location| revocations.check(location, claims.sid, claims.iat_ms))
    }
}
