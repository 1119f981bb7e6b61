//! Marks of revocation, for those who check access tokens without asking the store.
//!
//! A mark is a member of the sorted set `wd:rv:{b}`; its score is the server's time of the
//! revocation in milliseconds.

use std::fmt;

use crate::place::{SessionId, unhex};
use crate::record::Millis;

/// What was revoked of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Marker {
    /// One session.
    Session(SessionId),
    /// All of the user: whatever was issued up to a time.
    User {
        /// The time, by the store's clock, in milliseconds.
        up_to: Millis,
    },
}

impl Marker {
    /// Reads a member of the set: the locator of the user, and what was revoked. `None` for what
    /// this release does not know.
    pub fn parse(member: &str) -> Option<([u8; 16], Self)> {
        let (user, rest) = member.split_once(':')?;
        let marker = match rest.strip_prefix("*:") {
            Some(stamp) => Self::User { up_to: stamp.parse().ok()? },
            None => Self::Session(rest.parse().ok()?),
        };
        Some((unhex(user)?, marker))
    }
}

/// What follows the locator and a colon.
impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => session.fmt(f),
            Self::User { up_to } => write!(f, "*:{up_to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back() {
        let user = "00112233445566778899aabbccddeeff";
        let markers =
            [Marker::Session(SessionId::from_bytes([7; 16])), Marker::User { up_to: 1_234 }];
        for marker in markers {
            let member = format!("{user}:{marker}");
            assert_eq!(Marker::parse(&member), Some((unhex(user).unwrap(), marker)));
        }
        for wrong in ["", ":", "x:*:1", &format!("{user}:*"), &format!("{user}:*:-1"), user] {
            assert_eq!(Marker::parse(wrong), None, "{wrong}");
        }
    }
}
