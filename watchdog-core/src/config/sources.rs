//! The sources of values, read once, and what each says about a leaf.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::dotenv;
use super::origin::Origin;
use super::problem::{Problem, ProblemKind};
use super::schema::{Leaf, Table};
use super::secret_file;

/// What a source says about a leaf, before anybody has looked at it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

#[derive(Clone)]
pub(super) enum Raw {
    Text(String),
    NotUtf8,
    Toml(toml::Value),
    /// The path of a file with the secret, and the variable that names it.
    SecretFile(PathBuf, String),
    /// Both the variable and its `_FILE` twin.
    Both,
}

/// The variables of one source, without the empty ones.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, (Option<String>, Origin)>);

impl Variables {
    pub(super) fn from_env(pairs: &[(OsString, OsString)]) -> Self {
        let named = pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let text = value.to_str().map(str::to_owned);
            (name.clone(), (text, Origin::Env(name)))
        });
        Self(named.collect())
    }

    pub(super) fn insert(&mut self, name: &str, text: String, origin: Origin) {
        if !text.is_empty() {
            self.0.insert(name.to_owned(), (Some(text), origin));
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The text of a variable, when it is set and readable.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.0.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>, &Origin)> {
        self.0.iter().map(|(name, (text, origin))| (name.as_str(), text.as_deref(), origin))
    }

    fn candidate(&self, leaf: &Leaf) -> Option<Candidate> {
        let plain = self.0.get(&leaf.variable);
        let twin = leaf.file_variable();
        let file = twin.as_ref().and_then(|name| self.0.get(name));
        let (raw, origin) = match (plain, file) {
            (None, None) => return None,
            (Some((_, origin)), Some(_)) => (Raw::Both, origin),
            (Some((Some(text), origin)), None) => (Raw::Text(text.clone()), origin),
            (None, Some((Some(path), origin))) => {
                (Raw::SecretFile(path.into(), twin.unwrap_or_default()), origin)
            }
            (Some((None, origin)), None) | (None, Some((None, origin))) => (Raw::NotUtf8, origin),
        };
        Some(Candidate { raw, origin: origin.clone() })
    }
}

/// The TOML file.
#[derive(Default)]
pub(super) struct TomlFile {
    pub(super) path: PathBuf,
    pub(super) content: toml::Table,
}

impl TomlFile {
    pub(super) fn origin(&self) -> Origin {
        Origin::File(self.path.clone())
    }

    /// Reads a file. Problems are named by the variable that named the file.
    pub(super) fn read(path: &Path, variable: &str) -> Result<Self, Problem> {
        let origin = Some(Origin::File(path.to_owned()));
        let text = secret_file::read_bounded(path).map_err(|refusal| {
            let expected = "a readable TOML file";
            Problem::new(refusal.kind, variable, origin.clone(), expected, refusal.hint)
        })?;
        // The message of the parser shows the text around the place.
        let content = text.parse::<toml::Table>().map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            let hint = format!("line {line} cannot be read as TOML");
            Problem::new(ProblemKind::Malformed, variable, origin, "a TOML file", hint)
        })?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// What the file says, of whatever type. An empty text is no value.
    pub(super) fn value(&self, section: &str, key: &str) -> Option<&toml::Value> {
        self.content.get(section)?.get(key).filter(|value| value.as_str() != Some(""))
    }

    fn candidate(&self, table: &Table, leaf: &Leaf) -> Option<Candidate> {
        let (name, above) = leaf.path.split_last()?;
        let mut place = self.content.get(table.name)?;
        for key in above {
            place = place.get(key)?;
        }
        let is_empty = |value: &&toml::Value| value.as_str() == Some("");
        let plain = place.get(name).filter(|value| !is_empty(value));
        let twin = format!("{name}_file");
        let file = leaf.kind.is_secret().then(|| place.get(&twin)).flatten();
        let raw = match (plain, file.filter(|value| !is_empty(value))) {
            (None, None) => return None,
            (Some(_), Some(_)) => Raw::Both,
            (Some(toml::Value::String(text)), None) => Raw::Text(text.clone()),
            (Some(value), None) => Raw::Toml(value.clone()),
            (None, Some(path)) => match path.as_str() {
                Some(path) => Raw::SecretFile(path.into(), format!("{}_FILE", leaf.variable)),
                None => Raw::NotUtf8,
            },
        };
        Some(Candidate { raw, origin: self.origin() })
    }
}

/// Reads a `.env` file; `required` when somebody named it.
pub(super) fn read_dotenv(path: &Path, required: bool, problems: &mut Vec<Problem>) -> Variables {
    let mut variables = Variables::default();
    if !required && !path.is_file() {
        return variables;
    }
    let name = path.display().to_string();
    let text = match secret_file::read_bounded(path) {
        Ok(text) => text,
        Err(refusal) => {
            let expected = "a readable file of NAME=value lines";
            problems.push(Problem::new(refusal.kind, name, None, expected, refusal.hint));
            return variables;
        }
    };
    let (lines, wrong) = dotenv::parse(&text);
    for line in wrong {
        problems.push(Problem::new(
            ProblemKind::Malformed,
            name.clone(),
            Some(Origin::Dotenv(path.to_owned(), line)),
            "NAME=value, NAME='value' or NAME=\"value\"",
            "put a value with white space and # into single quotes, a comment on its own line",
        ));
    }
    for line in lines {
        let origin = Origin::Dotenv(path.to_owned(), line.number);
        if variables.contains(&line.name) {
            problems.push(Problem::new(
                ProblemKind::Contradictory,
                line.name.clone(),
                Some(origin.clone()),
                "one line for one variable",
                "remove one of the lines",
            ));
        }
        variables.insert(&line.name, line.value, origin);
    }
    variables
}

/// Every source, lowest precedence first.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) file: TomlFile,
    pub(super) dotenv: Variables,
    pub(super) secrets: Variables,
    pub(super) env: Variables,
}

impl Sources {
    /// What each source says about a leaf, lowest precedence first.
    pub(super) fn candidates(&self, table: &Table, leaf: &Leaf) -> [Option<Candidate>; 4] {
        [
            self.file.candidate(table, leaf),
            self.dotenv.candidate(leaf),
            self.secrets.candidate(leaf),
            self.env.candidate(leaf),
        ]
    }
}
