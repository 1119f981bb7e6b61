//! Whether a licence expression can be met by allowed licences alone.

use super::tree::Crate;

pub(crate) fn problems(crates: &[Crate], allowed: &[String]) -> Vec<String> {
    crates
        .iter()
        .filter(|found| !is_met(&found.licence, allowed))
        .map(|found| format!("{} {}: licence {:?}", found.name, found.version, found.licence))
        .collect()
}

/// Reads an SPDX expression (`OR` binds weaker than `AND`, `/` is an old `OR`). What cannot be read
/// is not met.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    let met = reader.any();
    met == Some(true) && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.take("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.any()?;
            return self.take(")").then_some(met);
        }
        let licence = self.word()?;
        let licence = if self.take("WITH") {
            format!("{licence} WITH {}", self.word()?)
        } else {
            licence.to_owned()
        };
        Some(self.allowed.contains(&licence))
    }

    fn word(&mut self) -> Option<&'a str> {
        let (&word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(word)
    }

    fn take(&mut self, expected: &str) -> bool {
        let is_next = self.words.first() == Some(&expected);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }
}

mod tests {
    use super::*;

    fn met(expression: &str) -> bool {
        is_met(expression, &["MIT".into(), "ISC".into(), "Apache-2.0 WITH LLVM-exception".into()])
    }

    #[test]
    fn one_of_several_or_all_of_several() {
        for expression in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/GPL-3.0",
            "MIT AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "GPL-3.0 AND X OR MIT",
            "Apache-2.0 WITH LLVM-exception OR X",
        ] {
            assert!(met(expression), "{expression}");
        }
        for expression in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "GPL-3.0 OR X",
            "Apache-2.0",
            "MIT WITH X",
            "ISC AND (GPL-3.0 OR X)",
            "",
            "MIT OR",
            "(MIT",
            "MIT ISC",
        ] {
            assert!(!met(expression), "{expression}");
        }
    }
}
