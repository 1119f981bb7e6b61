//! What a key may be, and the name of its file.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};

/// Longest key, in bytes: the bound of S3.
const MAX_BYTES: usize = 1024;

/// Longest segment, in bytes. A file name has 255 on common file systems, and a write in progress
/// has a suffix.
const MAX_SEGMENT_BYTES: usize = 240;

/// Refuses what not every back end can store.
pub(super) fn check(key: &str) -> Result<()> {
    let problem = if key.is_empty() { Some("is empty") } else { problem(key, key) };
    refuse("key", key, problem)
}

/// Refuses a prefix that no key can have. The last segment may be a part of one, or empty.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    let whole = prefix.rfind('/').map_or("", |end| &prefix[..end]);
    let problem = match prefix {
        "" => None,
        _ if prefix.starts_with('/') => Some("begins with a slash"),
        _ if prefix.contains(char::is_control) => Some("holds a control character"),
        _ if whole.is_empty() => None,
        _ => problem(prefix, whole),
    };
    refuse("prefix", prefix, problem)
}

fn refuse(what: &str, text: &str, problem: Option<&str>) -> Result<()> {
    match problem {
        None => Ok(()),
        // Debug output escapes control characters, and an overlong key says enough by its start.
        Some(problem) => {
            let start: String = text.chars().take(80).collect();
            Err(Error::new(ErrorKind::Misuse, format!("object {what} {start:?} {problem}")))
        }
    }
}

fn problem(key: &str, segments: &str) -> Option<&'static str> {
    if key.len() > MAX_BYTES {
        return Some("is longer than 1024 bytes");
    }
    if key.starts_with('/') {
        return Some("begins with a slash");
    }
    segments.split('/').find_map(|segment| match segment {
        "" => Some("has an empty segment"),
        "." | ".." => Some("has a segment of dots alone"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Some("has a segment longer than 240 bytes"),
        _ if segment.contains(char::is_control) => Some("holds a control character"),
        // S3 lists keys in XML, where readers drop white space at the ends.
        _ if segment.trim() != segment => Some("has a segment that begins or ends with a space"),
        _ => None,
    })
}

/// The key as a path of file names. `#` marks writes in progress there, and `%` escapes it.
pub(super) fn to_file(key: &str) -> Cow<'_, str> {
    if key.contains(['%', '#']) {
        Cow::Owned(key.replace('%', "%25").replace('#', "%23"))
    } else {
        Cow::Borrowed(key)
    }
}

/// The key of a path of file names, `None` for a file that no key has.
pub(super) fn from_file(path: &str) -> Option<String> {
    let key = path.replace("%23", "#").replace("%25", "%");
    (to_file(&key) == path && check(&key).is_ok()).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn why(result: Result<()>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn usual_keys_are_fine() {
        for key in ["a", "a/b.c", "ü/漢字 x", "...", "a#1", "50%", ".hidden", &"a".repeat(240)] {
            assert_eq!(why(check(key)), "fine", "{key}");
        }
    }

    #[test]
    fn a_key_outside_the_rules_is_misuse_and_says_why() {
        let long_segment = "a".repeat(241);
        let long = "ab/".repeat(341) + "ab";
        for (key, expected) in [
            ("", "is empty"),
            ("/a", "begins with a slash"),
            ("a/", "empty segment"),
            ("a//b", "empty segment"),
            ("a/../b", "dots"),
            (".", "dots"),
            ("a\nb", "control character"),
            ("a\u{7f}", "control character"),
            ("a\u{85}b", "control character"),
            (" a", "begins or ends with a space"),
            ("a /b", "begins or ends with a space"),
            (&long_segment, "longer than 240"),
            (&long, "longer than 1024"),
        ] {
            let error = check(key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse);
            assert!(error.to_string().contains(expected), "{key:?}: {error}");
            assert!(!error.to_string().contains('\n'), "{key:?}");
        }
    }

    #[test]
    fn a_prefix_may_end_anywhere() {
        for prefix in ["", "a", "a/", "a/b", "a b ", "a/."] {
            assert_eq!(why(check_prefix(prefix)), "fine", "{prefix:?}");
        }
        for prefix in ["/", "/a", "a//", "../a", "a\0"] {
            assert!(check_prefix(prefix).is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn a_file_that_no_key_has_is_none() {
        assert_eq!(from_file("a%2fb"), None);
        assert_eq!(from_file("a%"), None);
        assert_eq!(from_file("a#1"), None);
        assert_eq!(from_file("a%23%25").as_deref(), Some("a#%"));
    }

    proptest! {
        #[test]
        fn every_key_has_a_file_of_its_own(key in "[a-c%#2 3/5]{1,12}") {
            if check(&key).is_ok() {
                prop_assert_eq!(from_file(&to_file(&key)), Some(key));
            }
        }
    }
}
