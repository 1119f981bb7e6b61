//! Values that somebody else should have replaced before they reached the process.

/// Whether a text is or holds a placeholder: `${NAME}`, `$(NAME)`, `{{ name }}`, or `<name>` as the
/// whole value.
///
/// A random password may hold `${a}` by chance, so a placeholder *inside* a text needs a name of at
/// least three characters.
pub(super) fn is_unresolved(text: &str) -> bool {
    let whole = text.trim();
    let angle = whole.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    angle.is_some_and(|name| !name.is_empty() && !name.contains(['<', '>']))
        || is_whole(whole)
        || holds(text, "${", "}")
        || holds(text, "$(", ")")
        || holds(text, "{{", "}}")
}

/// Whether a text is nothing but a placeholder: the rule for the content of files, which are the
/// way out for a secret that looks like one.
pub(super) fn is_whole(text: &str) -> bool {
    [("${", "}"), ("$(", ")"), ("{{", "}}")].iter().any(|(open, close)| {
        let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['{', '}', '(', ')']))
    })
}

fn holds(text: &str, open: &str, close: &str) -> bool {
    text.match_indices(open).any(|(at, _)| {
        let rest = &text[at + open.len()..];
        let inner = rest.split(close).next().filter(|inner| inner.len() < rest.len());
        inner.is_some_and(|inner| is_name(inner.trim()))
    })
}

fn is_name(text: &str) -> bool {
    let name =
        text.len() >= 3 && text.starts_with(|c: char| c.is_ascii_alphabetic() || "._".contains(c));
    name && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-/ ".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_seen() {
        for text in [
            "${SECRET}",
            "$(DB_PASSWORD)",
            "{{ .Values.password }}",
            "<your password>",
            "${S}",
            "redis://:${REDIS_PASSWORD}@cache:6379",
            "${vault:secret/db}",
            "${DB:-none}",
            "pre-{{ name }}-post",
        ] {
            assert!(is_unresolved(text), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_taken_for_placeholders() {
        for text in [
            "", "$", "${", "${}", "a${b}c", "$(", "<>", "a<b>", "pa$$word", "{{}}", "}}{{",
            "$5${,}",
        ] {
            assert!(!is_unresolved(text), "{text}");
        }
    }

    #[test]
    fn a_file_may_hold_one_inside() {
        assert!(is_whole("${SECRET}") && !is_whole("x${SECRET}") && !is_whole("<x>"));
    }
}
