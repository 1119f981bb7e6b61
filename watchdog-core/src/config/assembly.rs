//! From judged values to sections: what is missing, serde's last word, the sections' own rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use figment::Error as FigmentError;
use figment::error::Kind as FigmentKind;
use figment::value::Value as FigmentValue;
use serde_json::{Map, Value};

use super::check::Check;
use super::judge;
use super::loaded::Warning;
use super::origin::Origin;
use super::problem::{Problem, ProblemKind};
use super::schema::{Leaf, Table};
use super::section::{Environment, Section};
use super::sources::Candidate;

type Values = BTreeMap<Vec<String>, Value>;

/// The state of one load.
pub struct Assembly<'a> {
    environment: Environment,
    tables: &'a [Table],
    pub(super) values: Vec<Values>,
    next: usize,
    elsewhere: &'a BTreeSet<String>,
    /// Variables something is wrong with already.
    bad: BTreeSet<String>,
    pub(super) set: BTreeMap<String, Origin>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

impl fmt::Debug for Assembly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly").finish_non_exhaustive()
    }
}

impl<'a> Assembly<'a> {
    /// Judges the winning candidate of every leaf, then looks for what is missing.
    pub(super) fn new(
        environment: Environment,
        tables: &'a [Table],
        winners: &[Vec<Option<Candidate>>],
        elsewhere: &'a BTreeSet<String>,
        bad: BTreeSet<String>,
    ) -> Self {
        let mut assembly = Self {
            environment,
            tables,
            values: vec![Values::new(); tables.len()],
            next: 0,
            elsewhere,
            bad,
            set: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        for (position, table) in tables.iter().enumerate() {
            for (leaf, winner) in table.leaves.iter().zip(&winners[position]) {
                if let Some(candidate) = winner {
                    assembly.judge(position, leaf, candidate);
                }
            }
            assembly.find_missing(position, table, &winners[position]);
        }
        assembly
    }

    fn judge(&mut self, position: usize, leaf: &Leaf, candidate: &Candidate) {
        match judge::judge(leaf, candidate) {
            Ok(judged) => {
                self.values[position].insert(leaf.path.clone(), judged.value);
                self.set.insert(leaf.variable.clone(), judged.origin);
                self.warnings.extend(judged.warning);
            }
            Err(problem) => {
                self.set.insert(leaf.variable.clone(), candidate.origin.clone());
                self.spoil(position, leaf, problem);
            }
        }
    }

    fn find_missing(&mut self, position: usize, table: &Table, winners: &[Option<Candidate>]) {
        let set: Vec<_> =
            table.leaves.iter().zip(winners).filter(|(_, winner)| winner.is_some()).collect();
        for (leaf, winner) in table.leaves.iter().zip(winners) {
            let is_set_below =
                |path: &[String]| set.iter().any(|(other, _)| other.path.starts_with(path));
            if winner.is_some() || !leaf.is_required(is_set_below) {
                continue;
            }
            let (expected, hint) = (leaf.expected(), leaf.purpose());
            let variable = leaf.variable.clone();
            let problem = Problem::new(ProblemKind::Missing, variable, None, expected, hint);
            self.spoil(position, leaf, problem);
        }
    }

    /// Notes a problem and puts a stand-in where the section could not be built without.
    fn spoil(&mut self, position: usize, leaf: &Leaf, problem: Problem) {
        if self.bad.insert(leaf.variable.clone()) {
            self.problems.push(problem);
        }
        if leaf.is_required(|_| true) {
            self.values[position].insert(leaf.path.clone(), leaf.kind.stand_in());
        }
    }

    /// The next section, its own rules applied. `None` when it cannot be built.
    pub(super) fn section<S: Section>(&mut self) -> Option<S> {
        let position = self.next;
        self.next += 1;
        let table = self.tables.get(position)?;
        let section = self.deserialize::<S>(position, table)?;
        let mut check = Check::new(self.environment, table, &self.set, self.elsewhere);
        section.check(&mut check);
        let (problems, warnings) = check.finish();
        let bad = &self.bad;
        self.problems.extend(
            problems
                .into_iter()
                .filter(|problem| !problem.variables.iter().any(|variable| bad.contains(variable))),
        );
        self.warnings.extend(warnings);
        Some(section)
    }

    /// serde stops at its first error: note it, take the value out, try again.
    fn deserialize<S: Section>(&mut self, position: usize, table: &Table) -> Option<S> {
        for _ in 0..=table.leaves.len() {
            let tree = tree(table, &self.values[position]);
            let path = match from_tree(&tree) {
                Ok(section) => return Some(section),
                Err(path) => path,
            };
            let Some(leaf) = longest_prefix(table, &path) else {
                self.problems.push(unbuildable(table));
                return None;
            };
            if self.bad.contains(&leaf.variable) {
                return None;
            }
            self.values[position].remove(&leaf.path);
            let origin = self.set.get(&leaf.variable).cloned();
            // The message of serde may hold the value.
            let (kind, hint) = (ProblemKind::Malformed, leaf.refusal());
            let (variable, expected) = (leaf.variable.clone(), leaf.expected());
            let problem = Problem::new(kind, variable, origin, expected, hint);
            self.spoil(position, leaf, problem);
        }
        None
    }
}

/// The error is the path of the field that was refused; figment's own error holds the value.
fn from_tree<S: Section>(tree: &Value) -> Result<S, Vec<String>> {
    let path_of = |error: FigmentError| {
        let mut path = error.path;
        if let FigmentKind::MissingField(name) = error.kind {
            path.push(name.into_owned());
        }
        path
    };
    let value = FigmentValue::serialize(tree).map_err(path_of)?;
    value.deserialize().map_err(path_of)
}

fn unbuildable(table: &Table) -> Problem {
    let expected = format!("a section [{}] that its type accepts", table.name);
    let hint = "the type and its schema differ: report it to the author of the section";
    Problem::new(ProblemKind::Malformed, format!("{}_*", table.prefix), None, expected, hint)
}

/// Deserialising may fail inside of a leaf: an item of a list.
fn longest_prefix<'a>(table: &'a Table, path: &[String]) -> Option<&'a Leaf> {
    (1..=path.len()).rev().find_map(|length| table.leaf(&path[..length]))
}

/// The values as a tree. A nested struct of which one value is set gets its other values from the
/// default that the outer struct has for it, as the reference shows them: serde alone would take
/// the default of the inner type.
pub(super) fn tree(table: &Table, values: &Values) -> Value {
    let mut root = Map::new();
    for leaf in &table.leaves {
        let value = match values.get(&leaf.path) {
            Some(value) => Some(value),
            None if leaf.path.len() > 1 && is_set_below(values, &leaf.path[0]) => {
                leaf.default.as_ref()
            }
            None => None,
        };
        if let Some(value) = value {
            insert(&mut root, &leaf.path, value.clone());
        }
    }
    Value::Object(root)
}

fn is_set_below(values: &Values, first: &str) -> bool {
    values.keys().any(|path| path.len() > 1 && path[0] == first)
}

fn insert(tree: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            tree.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let branch = tree.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(branch) = branch {
                insert(branch, rest, value);
            }
        }
    }
}
