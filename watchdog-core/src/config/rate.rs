//! So many per time: `100/min`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration;
use crate::error::{Error, ErrorKind};

pub(super) const EXPECTED: &str =
    "a rate: a whole number above zero, a slash and s, min, h, d or a duration (100/min, 5/10s)";

/// So many per time.
///
/// ```
/// # use std::time::Duration;
/// use watchdog_core::config::Rate;
///
/// let rate: Rate = "100/min".parse()?;
/// assert_eq!((rate.count().get(), rate.per()), (100, Duration::from_secs(60)));
/// # Ok::<(), watchdog_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

const UNITS: [(&str, &[&str], u64); 4] = [
    ("s", &["s", "sec", "second"], 1),
    ("min", &["min", "minute"], 60),
    ("h", &["h", "hour"], 3_600),
    ("d", &["d", "day"], 86_400),
];

impl Rate {
    /// So many per minute.
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self { count, per: Duration::from_secs(60) }
    }

    /// How many.
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// In what time. Never zero.
    pub const fn per(self) -> Duration {
        self.per
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text)
            .ok_or_else(|| Error::new(ErrorKind::Config, format_args!("expected {EXPECTED}")))
    }
}

fn parse(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = count.parse().ok()?;
    let per = match UNITS.iter().find(|(_, names, _)| names.contains(&per)) {
        Some((.., seconds)) => Duration::from_secs(*seconds),
        // A bare number would read as seconds; here it is more likely a slip.
        None => duration::parse(per).filter(|_| per.ends_with(|c: char| c.is_alphabetic()))?,
    };
    (!per.is_zero()).then_some(Rate { count, per })
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(.., seconds)| self.per == Duration::from_secs(*seconds)) {
            Some((unit, ..)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{}", self.count, duration::print(&self.per)),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "rate" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_durations_are_read_and_printed() {
        for text in ["100/min", "5/s", "10/10s", "1/d", "3/250ms"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("7/minute".parse::<Rate>().unwrap().to_string(), "7/min");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "100", "0/min", "-1/min", "+1/min", "100/60", "100/m", "1/0s", "1 / min", "/min",
            "5/",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }
}
