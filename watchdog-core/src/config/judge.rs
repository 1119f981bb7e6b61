//! From what a source says about a leaf to its value, or to the problem with it.

use serde_json::Value;

use super::kind::{Fault, Kind};
use super::loaded::Warning;
use super::origin::Origin;
use super::problem::{Problem, ProblemKind};
use super::schema::Leaf;
use super::sources::{Candidate, Raw};
use super::{placeholder, secret_file, service_link, suggest};

/// A value that is well formed.
pub(super) struct Judged {
    pub(super) value: Value,
    pub(super) origin: Origin,
    pub(super) warning: Option<Warning>,
}

pub(super) fn judge(leaf: &Leaf, candidate: &Candidate) -> Result<Judged, Problem> {
    let origin = candidate.origin.clone();
    let problem = |kind, expected: String, hint: String| {
        Problem::new(kind, leaf.variable.clone(), Some(candidate.origin.clone()), expected, hint)
    };
    match &candidate.raw {
        Raw::Text(text) => judge_text(leaf, text, origin),
        Raw::Toml(value) => leaf
            .kind
            .accept(value)
            .map(|value| Judged { value, origin, warning: None })
            .map_err(|fault| problem(kind(fault), leaf.expected(), toml_hint(leaf, value))),
        Raw::NotUtf8 => Err(problem(
            ProblemKind::Malformed,
            "UTF-8 text".into(),
            "the value holds other bytes: encode it".into(),
        )),
        Raw::Both => {
            let twin = format!("{}_FILE", leaf.variable);
            let (expected, hint) = ("one of the two".into(), "unset one of them".into());
            let mut problem = problem(ProblemKind::Conflict, expected, hint);
            if let Origin::Env(_) = origin {
                problem.origins.push(Origin::Env(twin.clone()));
            }
            problem.variables.push(twin);
            Err(problem)
        }
        Raw::SecretFile(path, variable) => {
            let refuse = |kind, hint| {
                let expected = "a file that holds the secret";
                Problem::new(kind, variable.clone(), Some(candidate.origin.clone()), expected, hint)
            };
            let text =
                secret_file::read(path).map_err(|refusal| refuse(refusal.kind, refusal.hint))?;
            if placeholder::is_whole(&text) {
                let hint = "the file holds a template that nobody rendered";
                return Err(refuse(ProblemKind::Unresolved, hint.into()));
            }
            let origin = Origin::SecretFile(path.clone());
            let malformed = |fault| refuse(kind(fault), leaf.expected());
            let value = leaf.kind.parse(&text).map_err(malformed)?;
            Ok(Judged { value, origin, warning: None })
        }
    }
}

fn judge_text(leaf: &Leaf, text: &str, origin: Origin) -> Result<Judged, Problem> {
    let problem = |kind, expected: String, hint: String| {
        Problem::new(kind, leaf.variable.clone(), Some(origin.clone()), expected, hint)
    };
    if placeholder::is_unresolved(text) {
        let hint = if leaf.kind.is_secret() {
            "nobody replaced the placeholder; a secret that looks like one goes into a file named by \
             its _FILE variable"
        } else {
            "nobody replaced the placeholder; variables are not substituted here"
        };
        return Err(problem(ProblemKind::Unresolved, leaf.expected(), hint.into()));
    }
    match leaf.kind.parse(text) {
        Ok(value) => {
            let stray = leaf.kind == Kind::Secret && text.ends_with(['\n', '\r']);
            let warning = stray.then(|| {
                Warning::new(vec![leaf.variable.clone()], "the secret ends with a line end")
            });
            Ok(Judged { value, origin, warning })
        }
        Err(_) if service_link::is_link(&leaf.variable, text) => {
            Err(problem(ProblemKind::ServiceLink, leaf.expected(), service_link::HINT.into()))
        }
        Err(fault) => Err(problem(kind(fault), leaf.expected(), hint(leaf, text))),
    }
}

fn kind(fault: Fault) -> ProblemKind {
    match fault {
        Fault::Malformed => ProblemKind::Malformed,
        Fault::OutOfRange => ProblemKind::OutOfRange,
    }
}

/// What most likely went wrong. May look at the value, never shows it.
fn hint(leaf: &Leaf, text: &str) -> String {
    let quoted = |mark| text.len() >= 2 && text.starts_with(mark) && text.ends_with(mark);
    if quoted('"') || quoted('\'') {
        return "remove the quotes: they are part of the value here".into();
    }
    if text.trim() != text {
        return "remove the white space or line end around the value".into();
    }
    if let Kind::Choice(names) = &leaf.kind
        && let Some(name) = suggest::closest(text, names.iter().map(String::as_str))
    {
        return format!("did you mean {name}?");
    }
    if leaf.kind == Kind::Duration && text.ends_with('m') {
        return "minutes are written min".into();
    }
    default_hint(leaf)
}

fn toml_hint(leaf: &Leaf, value: &toml::Value) -> String {
    if value.is_str() || !matches!(leaf.kind, Kind::Secret | Kind::Text { .. }) {
        return default_hint(leaf);
    }
    "put the value in quotes".into()
}

fn default_hint(leaf: &Leaf) -> String {
    match leaf.default_text() {
        Some(default) => format!("without it the default is {default}"),
        None => leaf.purpose(),
    }
}
