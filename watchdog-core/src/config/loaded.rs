//! A configuration that can be used.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use super::origin::Origin;
use super::section::Environment;

/// A configuration that can be used: the sections, and where every value came from.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    pub(super) sections: T,
    pub(super) environment: Environment,
    pub(super) origins: BTreeMap<String, Origin>,
    pub(super) warnings: Vec<Warning>,
}

impl<T> Loaded<T> {
    /// The sections themselves.
    pub fn into_inner(self) -> T {
        self.sections
    }

    /// Where the service runs.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Where the value of a variable came from; `None` when no loaded section has it.
    pub fn origin(&self, variable: &str) -> Option<&Origin> {
        self.origins.get(variable)
    }

    /// Every variable of the loaded sections with the origin of its value, sorted by variable.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins.iter().map(|(variable, origin)| (variable.as_str(), origin))
    }

    /// What an operator should look at although it stops nothing.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl<T> Deref for Loaded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.sections
    }
}

/// Something an operator should look at although it stops nothing. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    variables: Vec<String>,
    message: String,
}

impl Warning {
    pub(super) fn new(variables: Vec<String>, message: impl Into<String>) -> Self {
        Self { variables, message: message.into() }
    }

    /// The variables it is about.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variables.join(", "), self.message)
    }
}
