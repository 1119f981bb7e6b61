//! Names that nobody asked for.

use std::collections::BTreeSet;

use super::family;
use super::loaded::Warning;
use super::origin::Origin;
use super::problem::{Problem, ProblemKind};
use super::schema::Table;
use super::service_link;
use super::sources::{Sources, TomlFile};
use super::suggest;

/// Names the file of the configuration.
pub(super) const CONFIG_FILE: &str = "WATCHDOG_CONFIG_FILE";
/// Names the environment.
pub(super) const ENV: &str = "WATCHDOG_ENV";
const FAMILY: &str = "WATCHDOG_";

/// Set by systemd for a unit with `WatchdogSec=` (`sd_watchdog_enabled(3)`), and by the reference
/// service.
const TOLERATED: [&str; 3] = ["WATCHDOG_EXAMPLE_ADDR", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// What is known: the sections that are loaded, those that exist beside them, and the family.
pub(super) struct Known<'a> {
    loaded: &'a [Table],
    beside: &'a [Table],
    variables: BTreeSet<String>,
    prefixes: BTreeSet<String>,
}

impl<'a> Known<'a> {
    pub(super) fn new(loaded: &'a [Table], beside: &'a [Table]) -> Self {
        let mut variables: BTreeSet<_> =
            family::VARIABLES.iter().map(|&name| name.into()).collect();
        variables.extend([CONFIG_FILE.to_owned(), ENV.to_owned()]);
        let mut prefixes = BTreeSet::from([FAMILY.to_owned()]);
        for table in loaded.iter().chain(beside) {
            if !table.prefix.is_empty() {
                prefixes.insert(format!("{}_", table.prefix));
            }
            for leaf in &table.leaves {
                variables.insert(leaf.variable.clone());
                variables.extend(leaf.file_variable());
            }
        }
        Self { loaded, beside, variables, prefixes }
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.variables.iter().map(String::as_str)
    }

    /// Looks through every name of the environment, the `.env` file and the TOML file.
    pub(super) fn scan(
        &self,
        sources: &Sources,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    ) {
        for (name, text, origin) in sources.env.iter().chain(sources.dotenv.iter()) {
            if self.variables.contains(name) || TOLERATED.contains(&name) {
                continue;
            }
            if !self.is_ours(name) {
                if let Some(meant) = suggest::is_slip(name, self.names()) {
                    problems.push(self.unknown(name, origin, Some(meant)));
                }
            } else if service_link::is_link(name, text.unwrap_or_default()) {
                let message = format!("Kubernetes service link, ignored; {}", service_link::HINT);
                warnings.push(Warning::new(vec![shown(name)], message));
            } else {
                problems.push(self.unknown(name, origin, suggest::closest(name, self.names())));
            }
        }
        self.scan_file(&sources.file, problems);
    }

    fn is_ours(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    fn unknown(&self, name: &str, origin: &Origin, meant: Option<&str>) -> Problem {
        let plain = name.strip_suffix("_FILE").filter(|plain| self.variables.contains(*plain));
        let hint = match (plain, meant) {
            (Some(plain), _) => format!("only secrets are read from files: set {plain} itself"),
            (None, Some(meant)) => format!("did you mean {meant}?"),
            (None, None) => "nothing reads it: remove it, or load the section it belongs to".into(),
        };
        let origin = match origin {
            Origin::Env(name) => Origin::Env(shown(name)),
            other => other.clone(),
        };
        let expected = "a variable of the configuration";
        Problem::new(ProblemKind::Unknown, shown(name), Some(origin), expected, hint)
    }

    fn scan_file(&self, file: &TomlFile, problems: &mut Vec<Problem>) {
        for (name, value) in &file.content {
            let tables: Vec<_> = self.loaded.iter().filter(|table| table.name == name).collect();
            let beside = self.beside.iter().any(|table| table.name == name);
            if !tables.is_empty() {
                scan_table(file, &tables, &mut vec![name.clone()], value, problems);
            } else if !beside && !family::SECTIONS.contains(&name.as_str()) {
                let known = self.loaded.iter().chain(self.beside).map(|table| table.name);
                let known = known.chain(family::SECTIONS.iter().copied());
                problems.push(unknown_key(file, name, suggest::closest(name, known)));
            }
        }
    }
}

/// `path` begins with the section's name.
fn scan_table(
    file: &TomlFile,
    tables: &[&Table],
    path: &mut Vec<String>,
    value: &toml::Value,
    problems: &mut Vec<Problem>,
) {
    let Some(content) = value.as_table() else {
        let (kind, expected) = (ProblemKind::Malformed, format!("a table [{}]", path.join(".")));
        let hint = "write the section's values below its name in brackets";
        problems.push(Problem::new(kind, path.join("."), Some(file.origin()), expected, hint));
        return;
    };
    let depth = path.len();
    let leaves = || tables.iter().flat_map(|table| &table.leaves);
    for (key, value) in content {
        path.push(key.clone());
        let here = &path[1..];
        let is_leaf = leaves()
            .any(|leaf| leaf.path == here || is_file_twin(&leaf.path, here, leaf.kind.is_secret()));
        if is_leaf {
            // A leaf that is itself a table (JSON) is its type's business.
        } else if leaves().any(|leaf| leaf.path.starts_with(here)) {
            scan_table(file, tables, path, value, problems);
        } else {
            let siblings = leaves().filter(|leaf| leaf.path.starts_with(&here[..depth - 1]));
            let siblings = siblings.filter_map(|leaf| leaf.path.get(depth - 1)).map(String::as_str);
            problems.push(unknown_key(file, &path.join("."), suggest::closest(key, siblings)));
        }
        path.pop();
    }
}

fn is_file_twin(leaf: &[String], here: &[String], secret: bool) -> bool {
    let (Some((name, above)), Some((key, place))) = (leaf.split_last(), here.split_last()) else {
        return false;
    };
    secret && above == place && key.strip_suffix("_file") == Some(name)
}

fn unknown_key(file: &TomlFile, key: &str, meant: Option<&str>) -> Problem {
    let hint = match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => "nothing reads it: remove it, or load the section it belongs to".into(),
    };
    let expected = "a key of the configuration";
    Problem::new(ProblemKind::Unknown, shown(key), Some(file.origin()), expected, hint)
}

/// A name from outside, made fit for a log line: at most 80 characters, none of them a control.
fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().count() > 80 {
        text.push('…');
    }
    text
}
