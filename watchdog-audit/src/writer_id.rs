//! Who writes: one id for each run of a process.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One run of one process: 128 random bits, written as 32 hexadecimal digits.
///
/// A writer numbers its entries 1, 2, 3, …, so a hole shows at any later time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl TryFrom<String> for WriterId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<WriterId> for String {
    fn from(id: WriterId) -> Self {
        id.to_string()
    }
}
