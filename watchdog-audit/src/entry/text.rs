//! Texts of a line that are not copied.

use std::borrow::Cow;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A text of a line: borrowed from its bytes where it stands in them without an escape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// The text, whoever owned it.
    pub(crate) fn into_owned(self) -> Text<'static> {
        String::from(self).into()
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        text.0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_copied_only_where_it_has_an_escape() {
        let borrowed: Option<Text<'_>> =
            serde_json::from_slice("\"plain \u{e4}\"".as_bytes()).unwrap();
        let Some(Text(Cow::Borrowed(text))) = borrowed else { panic!("it was copied") };
        assert_eq!(text, "plain \u{e4}");
        let Text(Cow::Owned(text)) = serde_json::from_slice(br#""a\nb""#).unwrap() else {
            panic!("an escape cannot be borrowed")
        };
        assert_eq!(text, "a\nb");
        assert_eq!(serde_json::to_string(&Text::from(text)).unwrap(), r#""a\nb""#);
    }
}
