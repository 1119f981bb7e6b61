//! Who writes: one id for each run of a process.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// One run of one process: 128 random bits, written as 32 hexadecimal digits.
///
/// A writer numbers its entries 1, 2, 3, …, so a hole shows at any later time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId([u8; 16]);

impl WriterId {
    /// A new random id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) when the system has no randomness.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        watchdog_core::fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// An id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The partition this writer appends to: always the same one, so its sequence stays in order.
    pub fn partition(&self, partitions: u16) -> u16 {
        let value = u16::from_be_bytes([self.0[0], self.0[1]]);
        value % partitions.max(1)
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WriterId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        crate::hex::decode(text)
            .map(Self)
            .ok_or_else(|| Error::corrupt("writer id is not 32 hexadecimal digits"))
    }
}

impl Serialize for WriterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for WriterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = WriterId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a writer id of 32 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<WriterId, E> {
                text.parse().map_err(E::custom)
            }
        }

        // A text with escapes is not borrowed; the visitor takes either.
        deserializer.deserialize_str(Digits)
    }
}
