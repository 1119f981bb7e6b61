//! A strict reader of `.env` files.
//!
//! Own code, because the usual crates substitute `$NAME` from the process environment while they
//! parse: a forgotten `${SECRET}` becomes an empty string and nobody hears of it. Here a value is
//! what stands there:
//!
//! - `NAME=value`, with an optional `export` before it; blank lines and lines that begin with `#`
//!   are skipped.
//! - Bare values end with the line; white space around them does not count. A bare value with
//!   white space and `#` in it is refused, since readers disagree whether that begins a comment.
//! - `'single quotes'` hold anything but a single quote, unchanged.
//! - `"double quotes"` know `\n`, `\r`, `\t`, `\\`, `\"` and `\$`.

/// One assignment and its line, counted from one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// Reads the text of a file; the error holds the numbers of the lines that are wrong.
pub(super) fn parse(text: &str) -> (Vec<Line>, Vec<usize>) {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Some((name, value)) => lines.push(Line { number, name: name.to_owned(), value }),
            None => wrong.push(number),
        }
    }
    (lines, wrong)
}

fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !begins || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    Some((name, unquote(value.trim_start())?))
}

fn unquote(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, tail) = rest.split_once('\'')?;
        return ends(tail).then(|| inner.to_owned());
    }
    if let Some(rest) = value.strip_prefix('"') {
        return double_quoted(rest);
    }
    let comment = value
        .char_indices()
        .any(|(at, c)| c == '#' && value[..at].chars().next_back().is_none_or(char::is_whitespace));
    (!comment).then(|| value.to_owned())
}

fn double_quoted(rest: &str) -> Option<String> {
    let mut value = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return ends(characters.as_str()).then_some(value),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                kept @ ('\\' | '"' | '$') => kept,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
}

fn ends(tail: &str) -> bool {
    let tail = tail.trim_start();
    tail.is_empty() || tail.starts_with('#')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(line: &str) -> Option<String> {
        assignment(line).map(|(_, value)| value)
    }

    #[test]
    fn values_are_what_stands_there() {
        for (line, expected) in [
            ("A=b", "b"),
            ("export A=b", "b"),
            ("A = b c ", "b c "),
            ("A=", ""),
            ("A=a#b", "a#b"),
            ("A='a # \"b\" ${C}'", "a # \"b\" ${C}"),
            ("A=${C}", "${C}"),
            ("A=\"a\\nb\" # why", "a\nb"),
            ("A=\"\\$C \\\" \\\\\"", "$C \" \\"),
            ("A=0123", "0123"),
            ("A=1,2", "1,2"),
            ("A=b=c", "b=c"),
        ] {
            assert_eq!(value(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for line in
            ["A", "=b", "1A=b", "A B=c", "A=b # c", "A=# c", "A='b", "A=\"b", "A='b'c", "A=\"\\x\""]
        {
            assert_eq!(value(line), None, "{line}");
        }
    }

    #[test]
    fn lines_are_counted_from_one_and_the_wrong_ones_named() {
        let (lines, wrong) = parse("\u{feff}# a\r\n\r\nA=b\r\nwrong\nC='d'\n");
        let found: Vec<_> = lines.iter().map(|line| (line.number, line.name.as_str())).collect();
        assert_eq!((found, wrong), (vec![(3, "A"), (5, "C")], vec![4]));
        assert_eq!(lines[0].value, "b");
    }

    proptest! {
        #[test]
        fn single_quotes_keep_anything(text in "[^'\r\n]*") {
            prop_assert_eq!(value(&format!("A='{text}'")), Some(text));
        }

        #[test]
        fn no_line_panics(text in ".*") {
            parse(&text);
        }
    }
}
