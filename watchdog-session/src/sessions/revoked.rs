use super::Inner;
use crate::access::AccessClaims;
use crate::error::Result;
use crate::place::Place;

impl Inner {
    /// Holds an access token against what was revoked since it was made.
    pub(super) fn check_revocations(&self, claims: &AccessClaims) -> Result<()> {
        let Some(revocations) = &self.revocations else { return Ok(()) };
        if let Some(location) = claims.location() {
            // Its marker may be lost with the revocation.
            let place = Place { location, session: claims.session() };
            self.refuse_ended(&place, claims.issued_at_ms())?;
            return revocations.check_claims(claims);
        }
        // A token of the release before does not say where. Under a secret that is being rotated
        // a user has several locations.
        self.locator.all(claims.user()).into_iter().try_for_each(|location| {
            let place = Place { location, session: claims.session() };
            self.refuse_ended(&place, claims.issued_at_ms())?;
            revocations.check(location, claims.session(), claims.issued_at_ms())
        })
    }
}
