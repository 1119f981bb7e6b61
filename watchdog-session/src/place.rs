//! Where a session lives: bucket, user locator, session id.
//!
//! `HMAC(K_loc, user)` gives a *bucket* (the hash tag, one of 1024) and a *locator* (the first 16
//! bytes). Neither tells who the user is.
//!
//! Tokens carry the place, so checking, rotating and revoking by token never need `K_loc`. Finding
//! the sessions of a *user* does. `K_loc` is derived from `SECRET_KEY`; when that is rotated, new
//! sessions live under the new key, and whoever looks for a user looks under every accepted key
//! (one round trip each, so one outside a rotation). A retired key must therefore stay in
//! `SECRET_KEY_PREVIOUS` for the absolute lifetime of a session, 8 h by default; taken out earlier,
//! the sessions under it end at once, because the keys of their tokens leave with it: nothing stays
//! alive that cannot be found.
//!
//! Rotate a key in three steps, each on *every* instance before the next: first add the new key to
//! `*_PREVIOUS`, so that all accept what it will make; then promote it and put the old one into
//! `*_PREVIOUS`; retire the old one when nothing made with it lives. Promoted at once, the tokens of
//! the first instance to know the new key are refused by the others.
//!
//! The concurrent limit counts per location key: during a rotation a user may hold as many sessions
//! from before it as from after it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use watchdog_core::{KeyId, MacKeys, RootKeys, fill_random};

use crate::error::{Error, Result};

/// How many buckets, and with them hash tags, there are. Fixed: it is part of where records are.
pub const BUCKETS: u16 = 1024;

pub(crate) const ID_BYTES: usize = 16;

/// Names a session to people and programs. It is no secret: it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; ID_BYTES]);

impl SessionId {
    /// A fresh random id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the system has no randomness.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; ID_BYTES];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// An id from its bytes.
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The id as it stands in keys and fields.
    pub(crate) fn hex(&self) -> Hex {
        Hex::of(&self.0)
    }

    /// The field its record stands in.
    #[cfg(feature = "redis")]
    pub(crate) fn field(&self) -> [u8; 34] {
        let mut field = [0; 34];
        field[..2].copy_from_slice(b"s:");
        field[2..].copy_from_slice(&self.hex().0);
        field
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = Error;

    /// Reads the 32 lowercase hexadecimal digits that [`SessionId`] prints.
    fn from_str(text: &str) -> Result<Self> {
        unhex(text).map(Self).ok_or_else(|| Error::invalid("not a session id"))
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.hex().as_str())
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where all sessions of one user live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The bucket, below [`BUCKETS`]: the hash tag.
    pub bucket: u16,
    /// The user locator.
    pub user: [u8; 16],
}

impl Location {
    /// The locator as it stands in keys: 32 lowercase hexadecimal digits.
    pub fn user_text(&self) -> String {
        self.user_hex().as_str().to_owned()
    }

    /// As [`Location::user_text`], without making a `String`.
    pub(crate) fn user_hex(&self) -> Hex {
        Hex::of(&self.user)
    }
}

/// Where one session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Where all sessions of its user live.
    pub location: Location,
    /// The session.
    pub session: SessionId,
}

impl Place {
    /// The place as bytes: what a record's seal is bound to.
    pub(crate) fn to_bytes(self) -> [u8; 34] {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&self.location.bucket.to_be_bytes());
        bytes[2..18].copy_from_slice(&self.location.user);
        bytes[18..].copy_from_slice(&self.session.0);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; 34]) -> Option<Self> {
        let (bucket, rest) = bytes.split_first_chunk::<2>()?;
        let (user, session) = rest.split_first_chunk::<16>()?;
        let bucket = u16::from_be_bytes(*bucket);
        let session = SessionId(*session.first_chunk()?);
        (bucket < BUCKETS).then_some(Self { location: Location { bucket, user: *user }, session })
    }
}

/// Finds users by key.
#[derive(Debug)]
pub(crate) struct Locator {
    keys: MacKeys,
    /// Current first.
    ids: Vec<KeyId>,
}

impl Locator {
    const PURPOSE: &'static str = "session/location/v1";

    pub(crate) fn new(secret: &RootKeys) -> Result<Self> {
        let ids = secret.derive(Self::PURPOSE)?.into_iter().map(|(id, _)| id).collect();
        Ok(Self { keys: secret.mac(Self::PURPOSE)?, ids })
    }

    /// Where new sessions of a user go.
    pub(crate) fn current(&self, user: &str) -> Location {
        Self::location(&self.keys.tag(user.as_bytes()))
    }

    /// Everywhere sessions of a user may be, the likeliest first.
    pub(crate) fn all(&self, user: &str) -> Vec<Location> {
        self.ids
            .iter()
            .filter_map(|&id| self.keys.tag_with(id, user.as_bytes()))
            .map(|tag| Self::location(&tag))
            .collect()
    }

    fn location(tag: &[u8; 32]) -> Location {
        let mut user = [0; 16];
        user.copy_from_slice(&tag[..16]);
        // The bucket comes from other bytes than the locator, so that one does not narrow the other.
        Location { bucket: u16::from_be_bytes([tag[16], tag[17]]) % BUCKETS, user }
    }
}

/// 16 bytes as 32 lowercase hexadecimal digits.
#[derive(Clone, Copy)]
pub(crate) struct Hex([u8; 32]);

impl Hex {
    fn of(bytes: &[u8; 16]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(digits)
    }

    pub(crate) fn as_str(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use watchdog_core::Secret;

    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn an_id_reads_back_what_it_prints_and_nothing_else() {
        let id = SessionId::random().unwrap();
        assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
        for wrong in ["", "00", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32), &"A".repeat(32)]
        {
            assert!(wrong.parse::<SessionId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_reads_back_and_a_bucket_out_of_range_does_not() {
        let location = Location { bucket: 1023, user: [7; 16] };
        let place = Place { location, session: SessionId::from_bytes([9; 16]) };
        assert_eq!(Place::from_bytes(&place.to_bytes()), Some(place));
        let mut bytes = place.to_bytes();
        bytes[..2].copy_from_slice(&1024_u16.to_be_bytes());
        assert_eq!(Place::from_bytes(&bytes), None);
    }

    #[test]
    fn a_rotated_secret_key_finds_users_where_they_were_and_puts_new_ones_elsewhere() {
        let old = RootKeys::new(&Secret::from(A), &[]).unwrap();
        let both = RootKeys::new(&Secret::from(B), &[Secret::from(A)]).unwrap();
        let (old, both) = (Locator::new(&old).unwrap(), Locator::new(&both).unwrap());
        let places = both.all("alice");
        assert_eq!(places, [both.current("alice"), old.current("alice")]);
        assert_ne!(places[0], places[1]);
    }

    #[test]
    fn users_spread_over_the_buckets() {
        let locator = Locator::new(&RootKeys::ephemeral().unwrap()).unwrap();
        let mut hit = vec![0_u32; usize::from(BUCKETS)];
        for user in 0..10_240 {
            hit[usize::from(locator.current(&format!("user-{user}")).bucket)] += 1;
        }
        // Ten are expected in each; with a fair hash an empty bucket has odds of 1 in 22 000.
        assert!(hit.iter().filter(|&&count| count == 0).count() <= 3);
        assert!(hit.iter().all(|&count| count < 40));
    }
}
