//! Keys: built here only.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// Builds the keys of one deployment: each begins with its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpace {
    prefix: String,
}

impl KeySpace {
    /// A key space with a prefix such as `wd`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: escaped(prefix) }
    }

    /// What all keys of a kind begin with, for [`Redis::track`](super::Redis::track): `prefix:kind:`.
    pub fn prefix_of(&self, kind: &str) -> String {
        format!("{}:{}:", self.prefix, escaped(kind))
    }

    /// The key `prefix:kind:{tag}:part:…`: all keys of one tag live in one Cluster slot.
    ///
    /// Braces, colons, percent signs, spaces and control characters within `kind`, `tag` and
    /// `parts` are percent-encoded, so that no value can change the shape of a key.
    pub fn key(&self, kind: &str, tag: &str, parts: &[&str]) -> Key {
        // Redis takes empty braces for no tag at all; a lone percent sign stands for the empty
        // tag, since no escape makes one.
        let parts_bytes: usize = parts.iter().map(|part| 1 + part.len()).sum();
        let expected = self.prefix.len() + kind.len() + tag.len() + parts_bytes + 5;
        let mut text = String::with_capacity(expected);
        text.push_str(&self.prefix);
        text.push(':');
        push_escaped(&mut text, kind);
        text.push_str(":{");
        let tag_begins = text.len();
        if tag.is_empty() {
            text.push('%');
        }
        push_escaped(&mut text, tag);
        let tag = tag_begins..text.len();
        text.push('}');
        for part in parts {
            text.push(':');
            push_escaped(&mut text, part);
        }
        Key { text, tag }
    }
}

/// A key of Redis with its hash tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    text: String,
    /// Where in the text it stands.
    tag: Range<usize>,
}

impl Key {
    /// The key as Redis sees it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash tag, without braces.
    pub fn tag(&self) -> &str {
        &self.text[self.tag.clone()]
    }

    /// The Cluster slot, from 0 to 16383: the CRC16 of the hash tag.
    pub fn slot(&self) -> u16 {
        fred::util::redis_keyslot(self.text.as_bytes())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn escaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    push_escaped(&mut out, part);
    out
}

fn push_escaped(out: &mut String, part: &str) {
    // Nearly always: hexadecimal digits, numbers, short names.
    let is_plain = part.bytes().fold(true, |plain, byte| plain & byte.is_ascii_alphanumeric());
    if is_plain {
        out.push_str(part);
        return;
    }
    for character in part.chars() {
        if matches!(character, '{' | '}' | ':' | '%' | ' ') || character.is_control() {
            let mut utf8 = [0; 4];
            for byte in character.encode_utf8(&mut utf8).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02x}");
            }
        } else {
            out.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Key, KeySpace};

    fn key(kind: &str, tag: &str, parts: &[String]) -> Key {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        KeySpace::new("wd").key(kind, tag, &parts)
    }

    /// Text that tries to look like the separators.
    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a{}:% ]{0,4}",
            "\\PC{0,3}",
            any::<String>().prop_map(|text| text.chars().take(4).collect())
        ]
    }

    #[test]
    fn keys_read_as_documented() {
        let keys = KeySpace::new("wd");
        assert_eq!(keys.key("u", "b7", &["x", "y"]).as_str(), "wd:u:{b7}:x:y");
        assert_eq!(keys.key("ev", "3", &[]).as_str(), "wd:ev:{3}");
        assert_eq!(keys.key("a:b", "{", &["}% \n"]).as_str(), "wd:a%3ab:{%7b}:%7d%25%20%0a");
        assert_eq!(keys.key("u", "", &[]).as_str(), "wd:u:{%}");
        assert_eq!(keys.prefix_of("u"), "wd:u:");
        assert_eq!(keys.prefix_of("a:b"), "wd:a%3ab:");
    }

    proptest! {
        #[test]
        fn different_places_have_different_keys(
            one in (hostile(), hostile(), prop::collection::vec(hostile(), 0..3)),
            other in (hostile(), hostile(), prop::collection::vec(hostile(), 0..3)),
        ) {
            let keys = (key(&one.0, &one.1, &one.2), key(&other.0, &other.1, &other.2));
            prop_assert_eq!(one == other, keys.0 == keys.1);
            prop_assert_eq!(one == other, keys.0.as_str() == keys.1.as_str());
        }

        #[test]
        fn the_tag_alone_decides_the_slot(
            tag in hostile(),
            one in (hostile(), prop::collection::vec(hostile(), 0..3)),
            other in (hostile(), prop::collection::vec(hostile(), 0..3)),
        ) {
            let keys = (key(&one.0, &tag, &one.1), key(&other.0, &tag, &other.1));
            prop_assert_eq!(keys.0.slot(), keys.1.slot());
            prop_assert_eq!(keys.0.tag(), keys.1.tag());
        }
    }
}
