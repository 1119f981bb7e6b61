//! The demo users. A real service asks its identity provider.

use watchdog_core::Secret;

const USERS: [(&str, &str); 4] =
    [("alice", "admin"), ("bob", "analyst"), ("carol", "viewer"), ("dora", "auditor")];

/// The role of a user who knows the password, which is the user's name and `-password`.
///
/// Takes as long for a user who does not exist as for one with a wrong password.
pub(crate) fn role(user: &str, password: &Secret<String>) -> Option<&'static str> {
    let expected = Secret::new(format!("{user}-password"));
    // Constant time, and done in any case.
    let is_right = expected == *password;
    let known = USERS.iter().find(|(name, _)| *name == user);
    known.filter(|_| is_right).map(|(_, role)| *role)
}
