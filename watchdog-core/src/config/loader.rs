//! The façade: reads every source once and loads any set of sections.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::assembly::Assembly;
use super::layers;
use super::loaded::{Loaded, Warning};
use super::origin::Origin;
use super::problem::{ConfigError, Problem, ProblemKind};
use super::schema::Table;
use super::section::Environment;
use super::sections::Sections;
use super::sources::{Sources, TomlFile, Variables, read_dotenv};
use super::suggest;
use super::unknown::{CONFIG_FILE, ENV, Known};
use crate::error::ErrorKind;
use crate::secret_source::SecretSource;

/// Loads sections of the configuration.
///
/// Precedence, lowest first: built-in default, TOML file, `.env` (development only),
/// [`SecretSource`], process environment.
///
/// ```
/// use watchdog_core::config::{AppConfig, Loader};
///
/// let error = Loader::from_vars([("WATCHDOG_ENV", "prod"), ("WATCHDOG_LOG_LEVL", "DEBUG")])
///     .load::<AppConfig>()
///     .unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "configuration is not usable: 2 problems (environment: production)\n  \
///      WATCHDOG_ENV is malformed [env:WATCHDOG_ENV]; expected one of production, staging, \
///      development; without it the default is development\n  \
///      WATCHDOG_LOG_LEVL is unknown [env:WATCHDOG_LOG_LEVL]; expected a variable of the \
///      configuration; did you mean WATCHDOG_LOG_LEVEL?",
/// );
/// ```
pub struct Loader {
    env: Vec<(OsString, OsString)>,
    file: Option<PathBuf>,
    dotenv: Dotenv,
    known: Vec<Table>,
}

enum Dotenv {
    None,
    /// `.env` of the current directory, if there is one.
    Ambient,
    Named(PathBuf),
}

impl fmt::Debug for Loader {
    /// Shows no variable: the environment of a process is full of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Loader {
    /// Takes the process environment, once; in development also `.env` of the current directory.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_env() -> Self {
        Self { dotenv: Dotenv::Ambient, ..Self::from_vars(std::env::vars_os()) }
    }

    /// Takes the given variables instead of the process environment, and no `.env`.
    pub fn from_vars<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let env = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { env, file: None, dotenv: Dotenv::None, known: Vec::new() }
    }

    /// Reads a TOML file, one table for each section. `WATCHDOG_CONFIG_FILE` overrides the path.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads this `.env` file, in development only. It never changes the process environment.
    #[must_use]
    pub fn with_dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Dotenv::Named(path.into());
        self
    }

    /// Makes sections known that somebody else loads: their variables are then not unknown, and
    /// are suggested for misspelt ones. The family's own sections are known always.
    #[must_use]
    pub fn with_known<S: Sections>(mut self) -> Self {
        S::describe(&mut self.known);
        self
    }

    /// Loads one section or a tuple of up to twelve.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with every problem of every source and section.
    pub fn load<S: Sections>(&self) -> Result<Loaded<S>, ConfigError> {
        let mut tables = Vec::new();
        S::describe(&mut tables);
        self.assemble(&tables, Fetched::default())
    }

    /// Loads the same, and asks `source` for every secret that the process environment does not
    /// set.
    ///
    /// One call after the other; the source bounds its own time.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as for [`Loader::load`], and for secrets the source could not give.
    pub async fn load_with<S: Sections>(
        &self,
        source: &dyn SecretSource,
    ) -> Result<Loaded<S>, ConfigError> {
        let mut tables = Vec::new();
        S::describe(&mut tables);
        let fetched = self.fetch(&tables, source).await;
        self.assemble(&tables, fetched)
    }

    async fn fetch(&self, tables: &[Table], source: &dyn SecretSource) -> Fetched {
        let env = Variables::from_env(&self.env);
        let unset = |name: &String| !env.contains(name) && !env.contains(&format!("{name}_FILE"));
        let leaves = tables.iter().flat_map(|table| &table.leaves);
        let secrets = leaves.filter(|leaf| leaf.kind.is_secret()).map(|leaf| leaf.variable.clone());
        let secrets: Vec<_> = secrets.filter(unset).collect();
        let origin = Origin::SecretSource(source.name().to_owned());
        let mut fetched = Fetched::default();
        for (position, variable) in secrets.iter().enumerate() {
            let error = match source.fetch(variable).await {
                Ok(Some(secret)) => {
                    fetched.values.insert(variable, secret.expose().to_owned(), origin.clone());
                    continue;
                }
                Ok(None) => continue,
                Err(error) => error,
            };
            // A source that does not answer is asked once, not once for each secret.
            let down = error.kind() == ErrorKind::Unavailable;
            let last = if down { secrets.len() } else { position + 1 };
            fetched.problems.push(Problem {
                kind: ProblemKind::Unreadable,
                variables: secrets[position..last].to_vec(),
                origins: vec![origin.clone()],
                expected: "an answer of the secret source".into(),
                hint: error.to_string(),
            });
            if down {
                break;
            }
        }
        fetched
    }

    fn assemble<S: Sections>(
        &self,
        tables: &[Table],
        fetched: Fetched,
    ) -> Result<Loaded<S>, ConfigError> {
        let Fetched { values: secrets, mut problems } = fetched;
        let bad = problems.iter().flat_map(|problem| problem.variables.clone()).collect();
        let mut warnings = Vec::new();
        let env = Variables::from_env(&self.env);
        let file = self.read_file(&env, &mut problems);
        let environment = environment(&env, &file, tables, &mut problems);
        let dotenv = self.read_dotenv(environment, &mut problems, &mut warnings);
        let sources = Sources { file, dotenv, secrets, env };
        Known::new(tables, &self.known).scan(&sources, &mut problems, &mut warnings);
        let elsewhere = elsewhere(&sources);
        let winners = layers::winners(tables, &sources);
        let mut assembly = Assembly::new(environment, tables, &winners, &elsewhere, bad);
        let sections = S::build(&mut assembly);
        problems.append(&mut assembly.problems);
        warnings.append(&mut assembly.warnings);
        match sections {
            Some(sections) if problems.is_empty() => {
                let leaves = tables.iter().flat_map(|table| &table.leaves);
                let mut set = assembly.set;
                let origins = leaves.map(|leaf| {
                    let origin = set.remove(&leaf.variable).unwrap_or(Origin::Default);
                    (leaf.variable.clone(), origin)
                });
                let origins = origins.collect();
                Ok(Loaded { sections, environment, origins, warnings })
            }
            _ => Err(ConfigError::new(environment, problems)),
        }
    }

    fn read_file(&self, env: &Variables, problems: &mut Vec<Problem>) -> TomlFile {
        if env.contains(CONFIG_FILE) && env.text(CONFIG_FILE).is_none() {
            let origin = Some(Origin::Env(CONFIG_FILE.to_owned()));
            let hint = "the path holds other bytes: rename the file";
            let kind = ProblemKind::Malformed;
            problems.push(Problem::new(kind, CONFIG_FILE, origin, "a path in UTF-8", hint));
            return TomlFile::default();
        }
        let named = env.text(CONFIG_FILE).map(Path::new).or(self.file.as_deref());
        let Some(path) = named else { return TomlFile::default() };
        TomlFile::read(path, CONFIG_FILE).unwrap_or_else(|problem| {
            problems.push(problem);
            TomlFile::default()
        })
    }

    fn read_dotenv(
        &self,
        environment: Environment,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    ) -> Variables {
        let (path, required) = match &self.dotenv {
            Dotenv::None => return Variables::default(),
            Dotenv::Ambient => (Path::new(".env"), false),
            Dotenv::Named(path) => (path.as_path(), true),
        };
        if environment.is_strict() {
            if path.is_file() {
                let message = format!("not read in {}", environment.as_str());
                warnings.push(Warning::new(vec![path.display().to_string()], message));
            }
            return Variables::default();
        }
        let dotenv = read_dotenv(path, required, problems);
        let too_late = |name: &str, fits: bool| {
            let (_, _, origin) = dotenv.iter().find(|(other, ..)| *other == name)?;
            let expected = "a variable of the process environment";
            let hint = "a .env file is read after it is decided: set it outside of the file";
            let kind = ProblemKind::Contradictory;
            (!fits).then(|| Problem::new(kind, name, Some(origin.clone()), expected, hint))
        };
        let development = dotenv.text(ENV).and_then(parse_environment) == Some(environment);
        problems.extend(too_late(ENV, development));
        problems.extend(too_late(CONFIG_FILE, false));
        dotenv
    }
}

/// What a secret source gave, and what it did not.
#[derive(Default)]
struct Fetched {
    values: Variables,
    problems: Vec<Problem>,
}

/// The environment decides whether `.env` is read, so it comes before it. A malformed one means the
/// strictest rules.
fn environment(
    env: &Variables,
    file: &TomlFile,
    tables: &[Table],
    problems: &mut Vec<Problem>,
) -> Environment {
    let (text, origin) = if env.contains(ENV) {
        (env.text(ENV), Origin::Env(ENV.to_owned()))
    } else {
        match file.value("app", "env") {
            Some(value) => (value.as_str(), file.origin()),
            None => return Environment::default(),
        }
    };
    if let Some(environment) = text.and_then(parse_environment) {
        return environment;
    }
    // The section that has the variable, when it is loaded, says the same.
    if !tables.iter().flat_map(|table| &table.leaves).any(|leaf| leaf.variable == ENV) {
        let names = Environment::ALL.map(Environment::as_str);
        let hint = match suggest::closest(text.unwrap_or_default(), names) {
            Some(name) => format!("did you mean {name}?"),
            None => "without it the default is development".into(),
        };
        let expected = format!("one of {}", names.join(", "));
        problems.push(Problem::new(ProblemKind::Malformed, ENV, Some(origin), expected, hint));
    }
    Environment::Production
}

fn parse_environment(text: &str) -> Option<Environment> {
    Environment::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text))
}

/// Every variable that some source sets, whether a loaded section has it or not. A key of the TOML
/// file counts under the name it has by convention.
fn elsewhere(sources: &Sources) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, ..) in sources.env.iter().chain(sources.dotenv.iter()) {
        names.insert(name.to_owned());
        names.extend(name.strip_suffix("_FILE").map(str::to_owned));
    }
    let mut stack: Vec<_> = sources
        .file
        .content
        .iter()
        .map(|(key, value)| (format!("WATCHDOG_{key}"), value))
        .collect();
    while let Some((name, value)) = stack.pop() {
        match value.as_table() {
            Some(table) => {
                stack.extend(table.iter().map(|(key, value)| (format!("{name}_{key}"), value)));
            }
            None => {
                names.insert(name.to_ascii_uppercase());
            }
        }
    }
    names
}
