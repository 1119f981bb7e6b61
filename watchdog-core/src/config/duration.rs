//! How a [`Duration`](std::time::Duration) reads and prints in the configuration.
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

use jiff::SignedDuration;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

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

/// Prints whole seconds as `30s`, anything finer as `250ms`.
///
/// # Errors
///
/// As the serialiser's.
pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let text = if value.subsec_nanos() == 0 {
        format!("{}s", value.as_secs())
    } else {
        format!("{}ms", value.as_millis())
    };
    serializer.serialize_str(&text)
}

/// Reads whole seconds (`1800`) or a number with a unit (`30s`, `5min`, `250ms`).
///
/// # Errors
///
/// When the text is neither; the error does not hold the text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Seconds(u64),
        Text(String),
    }
    let parsed = match Raw::deserialize(deserializer)? {
        Raw::Seconds(seconds) => Some(Duration::from_secs(seconds)),
        Raw::Text(text) => match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => text
                .parse::<SignedDuration>()
                .ok()
                .and_then(|duration| Duration::try_from(duration).ok()),
        },
    };
    parsed.ok_or_else(|| D::Error::custom("not a duration: whole seconds, or a number with a unit"))
}
