//! The type of a leaf, and the strict way from text to a value of that type.

use serde_json::{Map, Number, Value};
use url::Url;

use super::{duration, period, rate, size};

/// The type of a leaf, as its schema states it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Bool,
    Integer {
        min: i128,
        max: i128,
    },
    Float {
        min: f64,
        max: f64,
    },
    Text {
        min: u64,
        max: u64,
    },
    Choice(Vec<String>),
    Duration,
    Period,
    Size,
    Rate,
    Url,
    HostOrUrl,
    Path,
    Secret,
    Secrets,
    List(Box<Self>),
    /// Anything else: JSON text.
    Json,
}

/// Why a text is no value of a kind. Carries no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    OutOfRange,
}

impl Kind {
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }

    /// Completes "expected …".
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Integer { min: 1, max: 65_535 } => "a port, from 1 to 65535".into(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Float { min, max } if min.is_finite() && max.is_finite() => {
                format!("a number from {min} to {max}")
            }
            Self::Float { .. } => "a number".into(),
            Self::Text { min: 0 | 1, max: u64::MAX } => {
                "text without white space around it and without control characters".into()
            }
            Self::Text { min, max: u64::MAX } => format!("text of at least {min} characters"),
            Self::Text { min, max } => format!("text of {min} to {max} characters"),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Duration => duration::EXPECTED.into(),
            Self::Period => period::EXPECTED.into(),
            Self::Size => size::EXPECTED.into(),
            Self::Rate => rate::EXPECTED.into(),
            Self::Url => "a URL with its scheme (https://host/path)".into(),
            Self::HostOrUrl => "a host, host:port or a URL with its scheme".into(),
            Self::Path => "a path without white space around it".into(),
            Self::Secret => "a secret".into(),
            Self::Secrets => "secrets, one on each line or as a JSON array of strings".into(),
            Self::List(item) => format!("a list with commas, each item {}", item.expected()),
            Self::Json => "JSON of the shape the reference shows".into(),
        }
    }

    /// The type in a few words, for tables.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Integer { max, .. } if *max >= i128::from(u32::MAX) => "whole number".into(),
            Self::Integer { min, max } => format!("{min} to {max}"),
            Self::Float { min, max } if min.is_finite() && max.is_finite() => {
                format!("number, {min} to {max}")
            }
            Self::Float { .. } => "number".into(),
            Self::Text { .. } => "text".into(),
            Self::Choice(names) => names.join(", "),
            Self::Duration => "duration".into(),
            Self::Period => "period".into(),
            Self::Size => "size".into(),
            Self::Rate => "rate".into(),
            Self::Url => "URL".into(),
            Self::HostOrUrl => "host or URL".into(),
            Self::Path => "path".into(),
            Self::Secret => "secret".into(),
            Self::Secrets => "secrets".into(),
            Self::List(item) => format!("list: {}", item.label()),
            Self::Json => "JSON".into(),
        }
    }

    /// Reads the text of a variable. Strict: no guess, no trimming, nothing ignored.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, Fault> {
        match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Bool(false)),
                _ => Err(Fault::Malformed),
            },
            Self::Integer { min, max } => integer(text, *min, *max),
            Self::Float { min, max } => float(text, *min, *max),
            Self::Text { min, max } => {
                plain(text)?;
                let length = text.chars().count() as u64;
                let value = Value::String(text.to_owned());
                if (*min..=*max).contains(&length) { Ok(value) } else { Err(Fault::OutOfRange) }
            }
            Self::Choice(names) => names
                .iter()
                .find(|name| name.eq_ignore_ascii_case(text))
                .map(|name| Value::String(name.clone()))
                .ok_or(Fault::Malformed),
            Self::Duration if duration::is_too_long(text) => Err(Fault::OutOfRange),
            Self::Duration => valid(text, duration::parse(text).is_some()),
            Self::Period => valid(text, text.parse::<super::Period>().is_ok()),
            Self::Size => valid(text, text.parse::<super::ByteSize>().is_ok()),
            Self::Rate => valid(text, text.parse::<super::Rate>().is_ok()),
            Self::Url => valid(text, is_url(text)),
            Self::HostOrUrl => valid(text, is_host_or_url(text)),
            Self::Path => plain(text).map(|()| Value::String(text.to_owned())),
            Self::Secret => Ok(Value::String(text.to_owned())),
            Self::Secrets => secrets(text),
            Self::List(item) => {
                text.split(',').map(|part| item.parse(part.trim())).collect::<Result<_, _>>()
            }
            Self::Json => serde_json::from_str(text).map_err(|_| Fault::Malformed),
        }
    }

    /// Reads a value of the TOML file, where numbers, booleans and lists have a type already.
    pub(crate) fn accept(&self, value: &toml::Value) -> Result<Value, Fault> {
        match (self, value) {
            (Self::Json, value) => serde_json::to_value(value).map_err(|_| Fault::Malformed),
            (Self::List(item), toml::Value::Array(values)) => {
                values.iter().map(|value| item.accept(value)).collect::<Result<_, _>>()
            }
            (Self::Secrets, toml::Value::Array(values)) => {
                values.iter().map(|value| Self::Secret.accept(value)).collect::<Result<_, _>>()
            }
            (_, toml::Value::String(text)) => self.parse(text),
            (Self::Bool, toml::Value::Boolean(value)) => Ok(Value::Bool(*value)),
            (
                Self::Integer { .. } | Self::Float { .. } | Self::Duration | Self::Size,
                toml::Value::Integer(value),
            ) => self.parse(&value.to_string()),
            (Self::Float { .. }, toml::Value::Float(value)) => self.parse(&value.to_string()),
            _ => Err(Fault::Malformed),
        }
    }

    /// Some value of the kind, so that a section's rules can run although one value is missing.
    pub(crate) fn stand_in(&self) -> Value {
        match self {
            Self::Bool => Value::Bool(false),
            Self::Integer { min, max } => number(0.clamp(*min, *max)).unwrap_or_default(),
            Self::Float { min, max } => {
                Number::from_f64(0_f64.clamp(*min, *max)).map(Value::Number).unwrap_or_default()
            }
            Self::Choice(names) => names.first().cloned().map(Value::String).unwrap_or_default(),
            Self::Duration => Value::String("0s".into()),
            Self::Period => Value::String("0days".into()),
            Self::Size => Value::String("0B".into()),
            Self::Rate => Value::String("1/s".into()),
            Self::Url | Self::HostOrUrl => Value::String("http://localhost/".into()),
            Self::Text { .. } | Self::Path | Self::Secret => Value::String(String::new()),
            Self::Secrets | Self::List(_) => Value::Array(Vec::new()),
            Self::Json => Value::Object(Map::new()),
        }
    }
}

fn valid(text: &str, valid: bool) -> Result<Value, Fault> {
    if valid { Ok(Value::String(text.to_owned())) } else { Err(Fault::Malformed) }
}

/// A carriage return from a file with DOS line ends is the most common of these.
fn plain(text: &str) -> Result<(), Fault> {
    let odd = text.is_empty() || text.trim() != text || text.chars().any(char::is_control);
    if odd { Err(Fault::Malformed) } else { Ok(()) }
}

fn integer(text: &str, min: i128, max: i128) -> Result<Value, Fault> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A leading zero means octal to some readers and nothing to others.
    if !decimal || (digits.len() > 1 && digits.starts_with('0')) {
        return Err(Fault::Malformed);
    }
    let value: i128 = text.parse().map_err(|_| Fault::OutOfRange)?;
    if (min..=max).contains(&value) {
        number(value).ok_or(Fault::OutOfRange)
    } else {
        Err(Fault::OutOfRange)
    }
}

fn number(value: i128) -> Option<Value> {
    i64::try_from(value).map(Value::from).or_else(|_| u64::try_from(value).map(Value::from)).ok()
}

fn float(text: &str, min: f64, max: f64) -> Result<Value, Fault> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'e' | b'E'));
    let value: f64 = text.parse().ok().filter(|_| plain).ok_or(Fault::Malformed)?;
    if !(min..=max).contains(&value) {
        return Err(Fault::OutOfRange);
    }
    Number::from_f64(value).map(Value::Number).ok_or(Fault::OutOfRange)
}

fn is_url(text: &str) -> bool {
    plain(text).is_ok() && text.contains("://") && Url::parse(text).is_ok_and(|url| url.has_host())
}

fn is_host_or_url(text: &str) -> bool {
    if text.contains("://") {
        return is_url(text);
    }
    let bare = !text.contains(['/', '@', '?', '#', ' ']);
    bare && is_url(&format!("http://{text}"))
}

/// One secret on each line, so that commas and spaces survive; or a JSON array of strings.
fn secrets(text: &str) -> Result<Value, Fault> {
    if let Ok(list) = serde_json::from_str::<Vec<String>>(text) {
        return Ok(Value::from(list));
    }
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PORT: Kind = Kind::Integer { min: 1, max: 65_535 };
    const TEXT: Kind = Kind::Text { min: 0, max: u64::MAX };

    #[test]
    fn integers_are_decimal_and_in_range() {
        assert_eq!(PORT.parse("5432"), Ok(json!(5432)));
        for text in ["", "five", "0123", "+5", " 5", "5 ", "5.0", "1e3", "-", "٣"] {
            assert_eq!(PORT.parse(text), Err(Fault::Malformed), "{text:?}");
        }
        for text in ["0", "70000", "-1", "99999999999999999999999999999999999999999999"] {
            assert_eq!(PORT.parse(text), Err(Fault::OutOfRange), "{text:?}");
        }
        let wide = Kind::Integer { min: 0, max: u64::MAX.into() };
        assert_eq!(wide.parse("18446744073709551615"), Ok(json!(u64::MAX)));
    }

    #[test]
    fn booleans_and_choices_ignore_case_only() {
        assert_eq!(Kind::Bool.parse("TRUE"), Ok(json!(true)));
        assert_eq!(Kind::Bool.parse("tru"), Err(Fault::Malformed));
        let level = Kind::Choice(vec!["INFO".into(), "WARN".into()]);
        assert_eq!(level.parse("info"), Ok(json!("INFO")));
        assert_eq!(level.parse("info "), Err(Fault::Malformed));
    }

    #[test]
    fn a_duration_that_is_too_long_is_out_of_range() {
        assert_eq!(Kind::Duration.parse("36500d"), Ok(json!("36500d")));
        assert_eq!(Kind::Duration.parse("36501d"), Err(Fault::OutOfRange));
        assert_eq!(Kind::Duration.parse("5m"), Err(Fault::Malformed));
    }

    #[test]
    fn floats_are_finite_and_in_range() {
        let share = Kind::Float { min: 0.0, max: 1.0 };
        assert_eq!(share.parse("0.80"), Ok(json!(0.8)));
        assert_eq!(share.parse("1.5"), Err(Fault::OutOfRange));
        for text in ["", "nan", "inf", "infinity", "0,8", "80%"] {
            assert_eq!(share.parse(text), Err(Fault::Malformed), "{text:?}");
        }
    }

    #[test]
    fn text_with_a_stray_line_end_is_refused() {
        assert_eq!(TEXT.parse("db.internal"), Ok(json!("db.internal")));
        for text in ["db\r", " db", "db ", "d\u{0}b", ""] {
            assert_eq!(TEXT.parse(text), Err(Fault::Malformed), "{text:?}");
        }
        assert_eq!(Kind::Text { min: 3, max: 5 }.parse("ab"), Err(Fault::OutOfRange));
    }

    #[test]
    fn a_secret_survives_whatever_it_looks_like() {
        for text in
            ["0123", "true", "1,2", " a b ", "#x", "\"q\"", "'q'", "[1]", "{}", "a\nb", "\\n"]
        {
            assert_eq!(Kind::Secret.parse(text), Ok(json!(text)));
        }
    }

    #[test]
    fn secrets_stand_on_lines_or_in_a_json_array() {
        assert_eq!(Kind::Secrets.parse("a,b c"), Ok(json!(["a,b c"])));
        assert_eq!(Kind::Secrets.parse("one\r\ntwo\n"), Ok(json!(["one", "two"])));
        assert_eq!(Kind::Secrets.parse(r#"["a\nb", "c"]"#), Ok(json!(["a\nb", "c"])));
        assert_eq!(Kind::Secrets.parse("[1, 2]"), Ok(json!(["[1, 2]"])));
    }

    #[test]
    fn a_list_has_no_empty_item() {
        let list = Kind::List(Box::new(TEXT));
        assert_eq!(list.parse("a, b ,c"), Ok(json!(["a", "b", "c"])));
        for text in ["a,,b", ",a", "a,", ","] {
            assert_eq!(list.parse(text), Err(Fault::Malformed), "{text:?}");
        }
        let ports = Kind::List(Box::new(PORT));
        assert_eq!(ports.parse("1,70000"), Err(Fault::OutOfRange));
    }

    #[test]
    fn urls_have_a_scheme_and_a_host() {
        for text in ["https://s3.example.org", "redis://:pw@h:6379/1", "http://[::1]:9000/x"] {
            assert!(Kind::Url.parse(text).is_ok(), "{text}");
        }
        for text in ["s3.example.org", "localhost:9000", "https://", "mailto:a@b", " http://a"] {
            assert_eq!(Kind::Url.parse(text), Err(Fault::Malformed), "{text}");
        }
        for text in ["s3.example.org", "localhost:9000", "[::1]:9000", "https://a/b", "10.0.0.1"] {
            assert!(Kind::HostOrUrl.parse(text).is_ok(), "{text}");
        }
        for text in ["a b", "host/path", "host:port", "user@host", "http://"] {
            assert_eq!(Kind::HostOrUrl.parse(text), Err(Fault::Malformed), "{text}");
        }
    }

    #[test]
    fn a_toml_value_has_its_own_type() {
        assert_eq!(PORT.accept(&toml::Value::Integer(5432)), Ok(json!(5432)));
        assert_eq!(PORT.accept(&toml::Value::Integer(0)), Err(Fault::OutOfRange));
        assert_eq!(PORT.accept(&toml::Value::Boolean(true)), Err(Fault::Malformed));
        assert_eq!(Kind::Secret.accept(&toml::Value::Integer(123)), Err(Fault::Malformed));
        assert_eq!(Kind::Duration.accept(&toml::Value::Integer(30)), Ok(json!("30")));
    }

    #[test]
    fn every_stand_in_is_of_its_kind() {
        for kind in [
            Kind::Bool,
            PORT,
            Kind::Float { min: 1.0, max: 2.0 },
            Kind::Duration,
            Kind::Choice(vec!["a".into()]),
            Kind::Rate,
            Kind::Url,
            Kind::Size,
            Kind::Json,
        ] {
            let value = kind.stand_in();
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert!(kind.parse(&text).is_ok(), "{kind:?}");
        }
    }
}
