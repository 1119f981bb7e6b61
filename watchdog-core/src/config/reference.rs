//! Reference documents generated from the schemas of sections.
//!
//! The same walk that loads a section writes these, so they cannot tell another story. Compare
//! them with files in a test, and they cannot drift either.
//!
//! ```
//! use watchdog_core::config::reference::Reference;
//! use watchdog_core::config::{AppConfig, NovaConfig};
//!
//! let reference = Reference::new().with::<AppConfig>().with::<NovaConfig>();
//! assert!(reference.markdown().contains("| `WATCHDOG_NOVA_RATE_LIMIT` | rate | `100/min` |"));
//! assert!(reference.env_example().contains("#WATCHDOG_LOG_LEVEL=INFO"));
//! ```

mod env_example;
mod json_schema;
mod kubernetes;
mod markdown;

use std::collections::{BTreeMap, BTreeSet};

use super::loader::Loader;
use super::problem::{ConfigError, ProblemKind};
use super::schema::{Leaf, Table};
use super::sections::Sections;
use super::unknown::{CONFIG_FILE, ENV};

/// The reference of a set of sections.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    tables: Vec<Table>,
    /// Variables that production asks for, as the sections' own rules say.
    needed: BTreeSet<String>,
    /// The same, unless another variable is set: that variable.
    needed_unless: BTreeMap<String, BTreeSet<String>>,
}

impl Reference {
    /// The reference of no section.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one section or a tuple of sections.
    #[must_use]
    pub fn with<S: Sections>(mut self) -> Self {
        S::describe(&mut self.tables);
        let bare = missing::<S>(&[(ENV, "production")]);
        let with_redis = missing::<S>(&[(ENV, "production"), (REDIS_URL, "redis://localhost")]);
        // What Redis makes good is asked for as Redis: it is what production has.
        let instead: BTreeSet<_> = bare.difference(&with_redis).cloned().collect();
        if !instead.is_empty() {
            self.needed_unless.entry(REDIS_URL.to_owned()).or_default().extend(instead);
        }
        self.needed.extend(with_redis);
        self
    }

    /// Every variable with its `NAME_FILE` twin, sorted.
    pub fn variables(&self) -> Vec<String> {
        let mut variables = self.all();
        variables.sort();
        variables.dedup();
        variables
    }

    /// The names of the sections, sorted.
    pub fn sections(&self) -> Vec<&'static str> {
        let names: BTreeSet<_> = self.tables.iter().map(|table| table.name).collect();
        names.into_iter().collect()
    }

    /// Variables that two fields claim, the twin `NAME_FILE` of one and the name of another
    /// included. Empty for sections that can be loaded together.
    pub fn clashes(&self) -> Vec<String> {
        let mut seen = BTreeSet::from([CONFIG_FILE.to_owned()]);
        self.all().into_iter().filter(|variable| !seen.insert(variable.clone())).collect()
    }

    /// Markdown: one table for each section.
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// A `.env` file with every variable, commented out.
    pub fn env_example(&self) -> String {
        env_example::render(self)
    }

    /// A JSON Schema of the TOML file, pretty-printed.
    pub fn json_schema(&self) -> String {
        json_schema::render(self)
    }

    /// Kubernetes manifests: a `ConfigMap`, a `Secret` and the part of a pod that uses both.
    pub fn kubernetes(&self, name: &str) -> String {
        kubernetes::render(self, name)
    }

    fn all(&self) -> Vec<String> {
        let leaves = self.tables.iter().flat_map(|table| &table.leaves);
        leaves
            .flat_map(|leaf| [Some(leaf.variable.clone()), leaf.file_variable()])
            .flatten()
            .collect()
    }

    /// When production asks for a variable, in words; `None` when it never does.
    fn need(&self, leaf: &Leaf) -> Option<String> {
        if self.needed.contains(&leaf.variable) {
            return Some("in production".to_owned());
        }
        let others = self.needed_unless.get(&leaf.variable)?;
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        Some(format!("in production, unless {} is set", others.join(" and ")))
    }
}

/// Whether sessions are shared decides on this one, see the session's rules.
const REDIS_URL: &str = "WATCHDOG_REDIS_URL";

/// The variables that sections miss, given some.
fn missing<S: Sections>(set: &[(&str, &str)]) -> BTreeSet<String> {
    let error = Loader::from_vars(set.iter().copied()).load::<S>().err();
    let problems = error.iter().flat_map(ConfigError::problems);
    let missing = problems.filter(|problem| problem.kind() == ProblemKind::Missing);
    missing.flat_map(|problem| problem.variables().to_vec()).collect()
}

/// The documentation of a field or section as one paragraph without the links of rustdoc.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The paragraph in lines of at most 96 characters, each with a prefix.
fn comment(doc: &str, prefix: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in doc.split_whitespace() {
        if !line.is_empty() && prefix.len() + line.len() + 1 + word.len() > 96 {
            lines.push_str(&format!("{prefix}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push_str(&format!("{prefix}{line}\n"));
    }
    lines
}
