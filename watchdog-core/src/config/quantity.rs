//! Numbers with units, as in `1h30min` or `8MiB`: the shared first step of several parsers.

/// Splits `1h30min` into `(1, "h")` and `(30, "min")`.
///
/// Strict: digits, then letters, repeated, nothing between or around them. `None` for anything
/// else, including a number that does not fit.
pub(super) fn split(text: &str) -> Option<Vec<(u64, &str)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return None;
        }
        parts.push((number.parse().ok()?, unit));
        rest = tail;
    }
    (!parts.is_empty()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn numbers_and_units_alternate_without_anything_between() {
        assert_eq!(split("30s"), Some(vec![(30, "s")]));
        assert_eq!(split("1h30min"), Some(vec![(1, "h"), (30, "min")]));
        for wrong in ["", "30", "s", "-1s", "+1s", "1.5h", "1 h", " 1h", "1h ", "1h2", "1h-2s"] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
        assert_eq!(split("99999999999999999999s"), None);
    }
}
