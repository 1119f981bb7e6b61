//! A value that never shows itself.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

/// What every formatted secret looks like.
pub const REDACTED: &str = "[redacted]";

/// A secret value: redacted in `Debug` and `Display`, serialised as null, wiped on drop, compared
/// in constant time.
///
/// ```
/// use watchdog_core::Secret;
///
/// let password = Secret::new(String::from("hunter2"));
/// assert_eq!(format!("{password:?} {password}"), "[redacted] [redacted]");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Shows the value. The one way out: every use is easy to find.
    pub fn expose(&self) -> &T::Target
    where
        T: Deref,
    {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_ref(), other.0.as_ref()).is_ok()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T: Zeroize> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Holder {
        password: Secret<String>,
        bytes: Option<Secret<Vec<u8>>>,
    }

    fn holder(password: &str) -> Holder {
        Holder { password: password.into(), bytes: Some(Secret::new(password.into())) }
    }

    #[test]
    fn no_format_shows_the_value() {
        let holder = holder("hunter2");
        let json = serde_json::to_string(&holder).unwrap();
        assert_eq!(json, r#"{"password":null,"bytes":null}"#);
        let text = format!("{holder:?} {holder:#?} {} {:>40}", holder.password, holder.password);
        assert!(!text.contains("hunter2") && !text.contains("104"), "{text}");
        assert_eq!(text.matches(REDACTED).count(), 6);
    }

    #[test]
    fn equality_looks_at_the_value() {
        assert_eq!(holder("a"), holder("a"));
        assert_ne!(holder("a"), holder("b"));
        assert_ne!(holder("a"), holder("aa"));
    }

    #[test]
    fn it_reads_what_its_type_reads() {
        let holder: Holder = serde_json::from_str(r#"{"password":"0123"}"#).unwrap();
        assert_eq!((holder.password.expose(), holder.bytes), ("0123", None));
        assert!(serde_json::from_str::<Holder>(r#"{"password":null}"#).is_err());
    }

    #[test]
    fn the_schema_says_that_it_is_a_secret() {
        let schema = schemars::schema_for!(Secret<String>).to_value();
        assert_eq!((&schema["format"], &schema["writeOnly"]), (&"password".into(), &true.into()));
        assert!(schema.get("default").is_none());
    }
}
