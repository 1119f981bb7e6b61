//! What a section's own rules see, and where they put what they find.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::loaded::Warning;
use super::origin::Origin;
use super::problem::{Problem, ProblemKind};
use super::schema::{Leaf, Table};
use super::section::Environment;

/// What a section's own rules see, and where they put what they find.
pub struct Check<'a> {
    environment: Environment,
    table: &'a Table,
    /// Origins of the values that something but the default set, by variable, of all sections.
    set: &'a BTreeMap<String, Origin>,
    /// Variables that some source sets although no loaded section has them.
    elsewhere: &'a BTreeSet<String>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("environment", &self.environment)
            .field("section", &self.table.name)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl<'a> Check<'a> {
    pub(super) fn new(
        environment: Environment,
        table: &'a Table,
        set: &'a BTreeMap<String, Origin>,
        elsewhere: &'a BTreeSet<String>,
    ) -> Self {
        Self { environment, table, set, elsewhere, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Warning>) {
        (self.problems, self.warnings)
    }
}

impl Check<'_> {
    /// Where the service runs.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Whether anything but the built-in default set a field of this section, by path: `s3.bucket`.
    pub fn is_set(&self, field: &str) -> bool {
        self.set.contains_key(&self.variable(field))
    }

    /// Whether any source sets a variable, of whatever section: `WATCHDOG_REDIS_URL`.
    pub fn is_variable_set(&self, variable: &str) -> bool {
        self.set.contains_key(variable) || self.elsewhere.contains(variable)
    }

    /// Reports that fields of this section, given by path, are missing, not acceptable or
    /// contradict each other. `expected` completes "expected …"; `hint` says how to mend it. Never put the
    /// value of a secret into either.
    pub fn problem(
        &mut self,
        fields: &[&str],
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let kind = match fields {
            [field] if self.is_absent(field) => ProblemKind::Missing,
            [_] => ProblemKind::Refused,
            _ => ProblemKind::Contradictory,
        };
        self.report(kind, fields, expected.into(), hint.into());
    }

    /// Reports the same, in a strict environment only (production and staging). A field that has
    /// no default and is not set is missing, anything else unsafe.
    pub fn unsafe_in_production(
        &mut self,
        fields: &[&str],
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !self.environment.is_strict() {
            return;
        }
        let kind = match fields {
            [field] if self.is_absent(field) => ProblemKind::Missing,
            _ => ProblemKind::Unsafe,
        };
        self.report(kind, fields, expected.into(), hint.into());
    }

    /// Says something about fields that does not stop the service: it is found in
    /// [`Loaded::warnings`](super::Loaded::warnings). Never put the value of a secret into it.
    pub fn warn(&mut self, fields: &[&str], message: impl Into<String>) {
        let variables = fields.iter().map(|field| self.variable(field)).collect();
        self.warnings.push(Warning::new(variables, message));
    }

    fn report(&mut self, kind: ProblemKind, fields: &[&str], expected: String, hint: String) {
        let variables: Vec<_> = fields.iter().map(|field| self.variable(field)).collect();
        let origins = variables
            .iter()
            .map(|variable| self.set.get(variable).cloned().unwrap_or(Origin::Default))
            .filter(|origin| kind != ProblemKind::Missing || *origin != Origin::Default)
            .collect();
        self.problems.push(Problem { kind, variables, origins, expected, hint });
    }

    /// Neither set nor with a default.
    fn is_absent(&self, field: &str) -> bool {
        !self.is_set(field) && self.leaf(field).is_some_and(|leaf| leaf.default.is_none())
    }

    fn leaf(&self, field: &str) -> Option<&Leaf> {
        self.table.field(field)
    }

    fn variable(&self, field: &str) -> String {
        match self.leaf(field) {
            Some(leaf) => leaf.variable.clone(),
            // A rule that names no field is a slip of its author; the report stays readable.
            None => format!("{}.{field}", self.table.name),
        }
    }
}
