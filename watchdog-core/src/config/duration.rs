//! How a [`Duration`] reads and prints in the configuration.
//!
//! ```
//! # use std::time::Duration;
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Section {
//!     #[serde(with = "watchdog_core::config::duration")]
//!     #[schemars(with = "watchdog_core::config::duration::Schema")]
//!     timeout: Duration,
//! }
//! let section: Section = serde_json::from_str(r#"{"timeout": "30s"}"#).unwrap();
//! assert_eq!(section.timeout, Duration::from_secs(30));
//! ```

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};

use super::quantity;

pub(super) const EXPECTED: &str = "a duration: whole seconds (1800) or whole numbers with the \
                                   units ms, s, min, h, d (250ms, 30s, 1h30min), at most \
                                   36500d";

/// The longest duration, a hundred years: sums of a few of these and a time do not overflow.
const MOST: Duration = Duration::from_secs(36_500 * 86_400);

/// The JSON Schema of a duration.
#[derive(Debug)]
pub struct Schema;

impl JsonSchema for Schema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

/// Reads whole seconds (`1800`) or whole numbers with a unit (`250ms`, `30s`, `1h30min`).
///
/// Units: `ns`, `us`, `ms`, `s`, `min`, `h`, `d` (24 hours), `w` (7 days), and their English names.
/// A bare `m` is refused: it could mean months. `None` for anything else, for a unit that stands
/// twice or out of order, and for more than 36 500 days.
pub fn parse(text: &str) -> Option<Duration> {
    parse_any(text).filter(|duration| *duration <= MOST)
}

/// Whether a text would be a duration if it were not too long.
pub(super) fn is_too_long(text: &str) -> bool {
    parse_any(text).is_some_and(|duration| duration > MOST)
}

fn parse_any(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut total = Duration::ZERO;
    let mut smallest = Duration::MAX;
    for (number, unit) in quantity::split(text)? {
        let unit = unit_length(unit)?;
        if unit >= smallest {
            return None;
        }
        smallest = unit;
        total = total.checked_add(unit.checked_mul(u32::try_from(number).ok()?)?)?;
    }
    Some(total)
}

fn unit_length(unit: &str) -> Option<Duration> {
    Some(match unit {
        "ns" => Duration::from_nanos(1),
        "us" | "µs" | "μs" => Duration::from_micros(1),
        "ms" | "millisecond" | "milliseconds" => Duration::from_millis(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Duration::from_secs(1),
        "min" | "mins" | "minute" | "minutes" => Duration::from_secs(60),
        "h" | "hour" | "hours" => Duration::from_secs(3_600),
        "d" | "day" | "days" => Duration::from_secs(86_400),
        "w" | "week" | "weeks" => Duration::from_secs(604_800),
        _ => return None,
    })
}

/// Prints a duration as [`parse`] reads it: `30s`, or `250ms`, `10us`, `3ns` when it is finer.
pub fn print(value: &Duration) -> String {
    let nanos = value.as_nanos();
    match value.subsec_nanos() {
        0 => format!("{}s", value.as_secs()),
        part if part % 1_000_000 == 0 => format!("{}ms", value.as_millis()),
        part if part % 1_000 == 0 => format!("{}us", value.as_micros()),
        _ => format!("{nanos}ns"),
    }
}

/// Prints whole seconds as `30s`, anything finer as `250ms`.
///
/// # Errors
///
/// As the serialiser's.
pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print(value))
}

/// Reads whole seconds (`1800`) or numbers with a unit (`30s`, `5min`, `250ms`).
///
/// # Errors
///
/// When the text is neither; the error does not hold the text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    from_raw(Raw::deserialize(deserializer)?)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Seconds(u64),
    Text(String),
}

fn from_raw<E: serde::de::Error>(raw: Raw) -> Result<Duration, E> {
    let parsed = match raw {
        Raw::Seconds(seconds) => {
            Some(Duration::from_secs(seconds)).filter(|duration| *duration <= MOST)
        }
        Raw::Text(text) => parse(&text),
    };
    parsed.ok_or_else(|| E::custom(format_args!("expected {EXPECTED}")))
}

/// The same for an `Option<Duration>`; add `#[serde(default)]` to the field.
///
/// ```
/// # use std::time::Duration;
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Section {
///     #[serde(default, with = "watchdog_core::config::duration::option")]
///     #[schemars(with = "Option<watchdog_core::config::duration::Schema>")]
///     grace: Option<Duration>,
/// }
/// let section: Section = serde_json::from_str("{}").unwrap();
/// assert_eq!(section.grace, None);
/// ```
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Raw, Serializer};

    /// Prints the duration, or nothing.
    ///
    /// # Errors
    ///
    /// As the serialiser's.
    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration where there is one.
    ///
    /// # Errors
    ///
    /// When the text is no duration; the error does not hold the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<Raw>::deserialize(deserializer)?.map(super::from_raw).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_and_units_are_read() {
        for (text, seconds) in [
            ("1800", 1800),
            ("0", 0),
            ("30s", 30),
            ("5min", 300),
            ("1h30min", 5400),
            ("2d", 172_800),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
    }

    #[test]
    fn more_than_a_hundred_years_is_refused() {
        assert_eq!(parse("36500d"), Some(MOST));
        for text in ["36501d", "3153600001", "18446744073709551615", "36500d1ns", "5000000000s"] {
            assert_eq!(parse(text), None, "{text}");
            let json = serde_json::Value::from(text);
            assert!(deserialize(json).is_err(), "{text}");
        }
        assert!(deserialize(serde_json::Value::from(u64::MAX)).is_err());
        assert!(is_too_long("36501d") && !is_too_long("36500d") && !is_too_long("5m"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            " ",
            "5m",
            "30 s",
            " 30s",
            "-5s",
            "+5",
            "1.5h",
            "30x",
            "s",
            "1s1s",
            "30min1h",
            "99999999999999999999",
            "PT30S",
            "1e3",
            "5000000000s",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos in 0_u64..4_000_000_000_000) {
            let value = Duration::from_nanos(nanos - nanos % 1_000);
            prop_assert_eq!(parse(&print(&value)), Some(value));
        }
    }
}
