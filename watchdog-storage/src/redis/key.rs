//! Keys: built here only.

use std::fmt::{self, Write as _};

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

    /// The key `prefix:kind:{tag}:part:…`: all keys of one tag live in one Cluster slot.
    ///
    /// Braces, colons, percent signs, spaces and control characters within `kind`, `tag` and
    /// `parts` are percent-encoded, so that no value can change the shape of a key.
    pub fn key(&self, kind: &str, tag: &str, parts: &[&str]) -> Key {
        let tag = escaped(tag);
        let mut text = format!("{}:{}:{{{tag}}}", self.prefix, escaped(kind));
        for part in parts {
            text.push(':');
            text.push_str(&escaped(part));
        }
        Key { text, tag }
    }
}

/// A key of Redis with its hash tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    text: String,
    tag: String,
}

impl Key {
    /// The key as Redis sees it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash tag, without braces.
    pub fn tag(&self) -> &str {
        &self.tag
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
    out
}
