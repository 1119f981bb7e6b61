//! Did you mean …?

use strsim::osa_distance;

/// The known name that an unknown one was probably meant to be.
pub(super) fn closest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let wanted = normal(unknown);
    let (distance, name) =
        known.clone().into_iter().map(|name| (osa_distance(&wanted, &normal(name)), name)).min()?;
    if distance <= allowed(&wanted) {
        return Some(name);
    }
    // `WATCHDOG_POOL_SIZE`: a word was left out.
    let tail = wanted.split_once('_').map(|(_, tail)| format!("_{tail}"))?;
    let mut longer = known.into_iter().filter(|name| normal(name).ends_with(&tail));
    let only = longer.next()?;
    longer.next().is_none().then_some(only)
}

/// Whether a name outside every known prefix is so near to a known variable that it can only be a
/// slip: `WATCHDG_DB_HOST`.
pub(super) fn is_slip<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = normal(unknown);
    // The length alone rules most of an ordinary environment out.
    known
        .into_iter()
        .filter(|name| name.len() >= 12 && name.len().abs_diff(wanted.len()) <= 2)
        .find(|name| osa_distance(&wanted, &normal(name)) <= 2)
}

/// Case, doubled underscores and dashes are the commonest differences.
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        let character = if character == '-' { '_' } else { character.to_ascii_uppercase() };
        if character != '_' || !normal.ends_with('_') {
            normal.push(character);
        }
    }
    normal
}

fn allowed(name: &str) -> usize {
    let own = name.strip_prefix("WATCHDOG_").unwrap_or(name);
    1 + own.len() / 6
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = [
        "WATCHDOG_DB_HOST",
        "WATCHDOG_DB_POOL_SIZE",
        "WATCHDOG_ENV",
        "WATCHDOG_NOVA_TIMEOUT",
        "WATCHDOG_SESSION_TIMEOUT",
    ];

    #[test]
    fn slips_find_what_was_meant() {
        for (unknown, meant) in [
            ("WATCHDOG_SESION_TIMEOUT", Some("WATCHDOG_SESSION_TIMEOUT")),
            ("WATCHDOG_DB__HOST", Some("WATCHDOG_DB_HOST")),
            ("watchdog_db_host", Some("WATCHDOG_DB_HOST")),
            ("WATCHDOG_DB_HSOT", Some("WATCHDOG_DB_HOST")),
            ("WATCHDOG_POOL_SIZE", Some("WATCHDOG_DB_POOL_SIZE")),
            ("WATCHDOG_TIMEOUT", None),
            ("WATCHDOG_COFFEE", None),
            ("WATCHDOG_XYZ", None),
        ] {
            assert_eq!(closest(unknown, KNOWN), meant, "{unknown}");
        }
        assert_eq!(closest("A", []), None);
    }

    #[test]
    fn only_a_near_miss_is_taken_from_outside_the_prefix() {
        assert_eq!(is_slip("WATCHDG_DB_HOST", KNOWN), Some("WATCHDOG_DB_HOST"));
        for foreign in ["DB_HOST", "PATH", "WATCH_DB_HOST", "WATCHDOGS"] {
            assert_eq!(is_slip(foreign, KNOWN), None, "{foreign}");
        }
    }
}
