//! What `cargo tree` prints.

use std::collections::BTreeSet;

/// A crate of the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// As an SPDX expression.
    pub(crate) licence: String,
}

/// Reads lines like `serde v1.0.229|MIT OR Apache-2.0 (*)`; each crate once.
pub(crate) fn parse(lines: &str) -> Vec<Crate> {
    let crates: BTreeSet<Crate> = lines.lines().filter_map(crate_of).collect();
    crates.into_iter().collect()
}

fn crate_of(line: &str) -> Option<Crate> {
    let line = line.strip_suffix(" (*)").unwrap_or(line);
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Crate { name, version, licence: licence.to_owned() })
}

pub(crate) fn banned(crates: &[Crate], banned: &[String]) -> Vec<String> {
    crates
        .iter()
        .filter(|found| banned.contains(&found.name))
        .map(|found| format!("{} {} is banned: cargo tree -i {0}", found.name, found.version))
        .collect()
}

/// Every crate is ours or from one and the same registry.
pub(crate) fn foreign_sources<'a>(
    sources: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Vec<String> {
    let mut registry = None;
    let mut problems = Vec::new();
    for (name, source) in sources {
        match source {
            None if name.starts_with("watchdog-") => {}
            None => problems.push(format!("{name} comes from a path")),
            Some(source) if !source.starts_with("registry+") => {
                problems.push(format!("{name} comes from {source}"));
            }
            Some(source) if source != *registry.get_or_insert(source) => {
                problems.push(format!("{name} comes from a second registry, {source}"));
            }
            Some(_) => {}
        }
    }
    problems
}

mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_and_repetitions_count_once() {
        let crates = parse(
            "watchdog-core v0.1.0 (/x/watchdog-core)|MIT\n\
             serde v1.0.1|MIT OR Apache-2.0\n\
             serde v1.0.1|MIT OR Apache-2.0 (*)\n\
             serde_derive v1.0.1 (proc-macro)|MIT\n\n",
        );
        let names: Vec<&str> = crates.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["serde", "serde_derive", "watchdog-core"]);
        assert_eq!(crates[0].licence, "MIT OR Apache-2.0");
    }

    #[test]
    fn a_banned_crate_is_found() {
        let crates = parse("ring v0.17.14|Apache-2.0 AND ISC\nstring v1.0.0|MIT\n");
        assert_eq!(banned(&crates, &["ring".into()]).len(), 1);
        assert!(banned(&crates, &["openssl".into()]).is_empty());
    }

    #[test]
    fn a_foreign_source_is_found() {
        let found = foreign_sources(
            [
                ("watchdog-core", None),
                ("serde", Some("registry+a")),
                ("fork", Some("git+b")),
                ("local", None),
                ("other", Some("registry+c")),
            ]
            .into_iter(),
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
