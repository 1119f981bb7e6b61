//! A number of bytes: `8MiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quantity;
use crate::error::{Error, ErrorKind};

pub(super) const EXPECTED: &str =
    "a size: whole bytes (4096) or a whole number with a unit, KiB, MiB, GiB, KB, MB, GB (8MiB)";

/// A number of bytes.
///
/// Reads whole bytes (`4096`), binary units (`KiB`, `MiB`, `GiB`, `TiB`, and the short `Ki`, `Mi`,
/// `Gi`, `Ti` of Kubernetes) and decimal ones (`KB`, `MB`, `GB`, `TB`).
///
/// ```
/// use watchdog_core::config::ByteSize;
///
/// assert_eq!("8MiB".parse::<ByteSize>()?.bytes(), 8 * 1024 * 1024);
/// assert_eq!("8MB".parse::<ByteSize>()?.bytes(), 8_000_000);
/// # Ok::<(), watchdog_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size in bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in mebibytes (1024 × 1024 bytes), the largest one when that does not fit.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

const UNITS: [(&[&str], u64); 9] = [
    (&["TiB", "Ti"], 1 << 40),
    (&["GiB", "Gi"], 1 << 30),
    (&["MiB", "Mi"], 1 << 20),
    (&["KiB", "Ki"], 1 << 10),
    (&["TB"], 1_000_000_000_000),
    (&["GB"], 1_000_000_000),
    (&["MB"], 1_000_000),
    (&["KB", "kB"], 1_000),
    (&["B"], 1),
];

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text)
            .map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Config, format_args!("expected {EXPECTED}")))
    }
}

fn parse(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let parts = quantity::split(text)?;
    let [(number, unit)] = parts.as_slice() else { return None };
    let (_, factor) = UNITS.iter().find(|(names, _)| names.contains(unit))?;
    number.checked_mul(*factor)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            UNITS[..4].iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((names, factor)) => write!(f, "{}{}", self.0 / factor, names[0]),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Bytes(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Bytes(bytes) => Ok(Self(bytes)),
            Raw::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "bytes" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn binary_and_decimal_units_differ() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1KiB", 1024),
            ("1Ki", 1024),
            ("1KB", 1000),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "8 MiB", "-1", "1.5GiB", "8mib", "8M", "8Mib", "1GiB512MiB", "99999999TiB"]
        {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes: u64) {
            let size = ByteSize::new(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }
}
