//! What a section of the configuration is.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A section of the configuration: one struct, owned by the crate that uses it.
///
/// The loader walks the JSON Schema of the struct. The variable of a field is
/// [`Section::PREFIX`], an underscore and the field's path in upper case: `pool_size` in a section
/// with the prefix `WATCHDOG_DB` is `WATCHDOG_DB_POOL_SIZE`. Nothing ever splits a variable name.
/// A nested struct adds its field's name; `#[schemars(extend("x-env" = "WATCHDOG_S3"))]` on a
/// field replaces the whole name, of a nested struct's fields the prefix.
pub trait Section: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Name of the section, and of its table in the TOML file.
    const NAME: &'static str;

    /// What the section's variables begin with: `WATCHDOG_DB`.
    const PREFIX: &'static str;

    /// Rules across fields, and what production refuses.
    ///
    /// Runs when every single value of the section is well formed.
    fn check(&self, _check: &mut Check<'_>) {}
}

/// Where a service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real users: everything unsafe is refused.
    Production,
    /// A rehearsal of production, under the same rules.
    Staging,
    /// A developer's machine: safe defaults, nothing refused.
    #[default]
    Development,
}

impl Environment {
    /// The name used in the variable `WATCHDOG_ENV`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
        }
    }

    /// Whether what is unsafe is refused: in production and in staging.
    pub const fn is_strict(self) -> bool {
        !matches!(self, Self::Development)
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Built in.
    Default,
    /// A variable of the process environment, by name.
    Env(String),
}

/// What a section's own rules see, and where they put what they find.
#[allow(missing_debug_implementations, clippy::allow_attributes, reason = "skeleton")]
pub struct Check<'a> {
    environment: Environment,
    is_set: &'a dyn Fn(&str) -> bool,
    problems: Vec<(Vec<String>, String, String)>,
}

impl Check<'_> {
    /// Where the service runs.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Whether anything but the built-in default set a field of this section, by path: `s3.bucket`.
    pub fn is_set(&self, field: &str) -> bool {
        (self.is_set)(field)
    }

    /// Whether any source sets a variable, of whatever section: `WATCHDOG_REDIS_URL`.
    pub fn is_variable_set(&self, variable: &str) -> bool {
        (self.is_set)(variable)
    }

    /// Reports that fields of this section, given by path, are missing, unsafe or contradict each
    /// other. `expected` completes "expected …"; `hint` says how to mend it. Never put the value
    /// of a secret into either.
    pub fn problem(
        &mut self,
        fields: &[&str],
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        self.problems.push((fields, expected.into(), hint.into()));
    }
}
