//! The walk over a section's JSON Schema: path → variable → type → default → documentation.

use std::iter;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::section::Section;

/// One value of a section.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Within the section.
    pub(crate) path: Vec<String>,
    pub(crate) variable: String,
    pub(crate) kind: Kind,
    pub(crate) default: Option<Value>,
    /// What the reference shows as the default of an `Option`: `x-default`.
    shown_default: Option<Value>,
    /// What completes "expected …" where the type alone says too little: `x-expected`.
    expected: Option<String>,
    /// One for each struct on the way and the leaf itself: whether it must be there.
    required: Vec<bool>,
    pub(crate) doc: String,
}

/// The leaves of one section.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) name: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) doc: String,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) schema: Value,
}

impl Leaf {
    /// The variable that names a file with the secret.
    pub(crate) fn file_variable(&self) -> Option<String> {
        self.kind.is_secret().then(|| format!("{}_FILE", self.variable))
    }

    /// Completes "expected …".
    pub(crate) fn expected(&self) -> String {
        self.expected.clone().unwrap_or_else(|| self.kind.expected())
    }

    /// The hint for a value that is of its kind, and that the type still refuses.
    pub(crate) fn refusal(&self) -> String {
        match self.expected {
            Some(_) => self.purpose(),
            None => "the type of the field refuses the value".into(),
        }
    }

    /// Whether the value must be set, given what else is set.
    ///
    /// A struct that may be left out asks for its own values only once one of them is there.
    pub(crate) fn is_required(&self, is_set_below: impl Fn(&[String]) -> bool) -> bool {
        let needed = |(depth, required): (usize, &bool)| {
            *required || (depth + 1 < self.path.len() && is_set_below(&self.path[..=depth]))
        };
        self.required.iter().enumerate().all(needed)
    }

    /// The default as one would write it in the variable. Never of a secret.
    pub(crate) fn default_text(&self) -> Option<String> {
        if self.kind.is_secret() {
            return None;
        }
        match self.default.as_ref().or(self.shown_default.as_ref())? {
            Value::String(text) => Some(text.clone()),
            Value::Array(items) if items.is_empty() => None,
            Value::Array(items) if matches!(self.kind, Kind::List(_)) => {
                let texts = items.iter().map(|item| match item {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                Some(texts.collect::<Vec<_>>().join(","))
            }
            other => Some(other.to_string()),
        }
    }

    /// The first sentence of the documentation, as a hint.
    pub(crate) fn purpose(&self) -> String {
        let first = self.doc.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        let first = first.split(". ").next().unwrap_or_default().trim_end_matches('.');
        if first.is_empty() {
            "see the reference of the section".into()
        } else {
            format!("it is: {first}")
        }
    }
}

impl Table {
    pub(crate) fn of<S: Section>() -> Self {
        let settings = SchemaSettings::draft2020_12();
        let schema = settings.into_generator().into_root_schema_for::<S>().to_value();
        Self::new(S::NAME, S::PREFIX, schema)
    }

    pub(crate) fn new(name: &'static str, prefix: &'static str, schema: Value) -> Self {
        let mut leaves = Vec::new();
        let root = resolve(&schema, &schema);
        let at = At { path: &[], prefix, required: &[], default: None };
        walk(&schema, &root, &at, &mut leaves);
        Self { name, prefix, doc: text(&root, "description"), leaves, schema }
    }

    pub(crate) fn leaf(&self, path: &[String]) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.path == path)
    }

    /// The leaf for a dotted path, as a section's rules name it.
    pub(crate) fn field(&self, dotted: &str) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.path.iter().map(String::as_str).eq(dotted.split('.')))
    }
}

/// Where the walk stands.
struct At<'a> {
    path: &'a [String],
    prefix: &'a str,
    required: &'a [bool],
    /// What an outer struct's default says about this place.
    default: Option<&'a Value>,
}

fn walk(root: &Value, node: &Map<String, Value>, at: &At<'_>, leaves: &mut Vec<Leaf>) {
    let Some(Value::Object(properties)) = node.get("properties") else { return };
    let needed = node.get("required").and_then(Value::as_array);
    for (name, property) in properties {
        let node = resolve(root, property);
        let path: Vec<_> = at.path.iter().chain([name]).cloned().collect();
        let needed = needed.is_some_and(|names| names.iter().any(|other| other == name));
        let required: Vec<_> = at.required.iter().copied().chain(iter::once(needed)).collect();
        let variable = match property.get("x-env").and_then(Value::as_str) {
            Some(variable) => variable.to_owned(),
            None => variable(at.prefix, name),
        };
        let outer = at.default.and_then(|outer| outer.get(name));
        let default = outer.or_else(|| property.get("default")).or_else(|| node.get("default"));
        if node.contains_key("properties") {
            let at = At { path: &path, prefix: &variable, required: &required, default };
            walk(root, &node, &at, leaves);
        } else {
            leaves.push(Leaf {
                path,
                variable,
                kind: kind(root, &node),
                default: default.filter(|value| !value.is_null()).cloned(),
                shown_default: node.get("x-default").cloned(),
                expected: node.get("x-expected").and_then(Value::as_str).map(str::to_owned),
                required,
                doc: text(&node, "description"),
            });
        }
    }
}

fn variable(prefix: &str, name: &str) -> String {
    let name = name.to_ascii_uppercase().replace('-', "_");
    if prefix.is_empty() { name } else { format!("{prefix}_{name}") }
}

/// Follows `$ref` and the `anyOf` of an `Option`. What stands beside them wins.
fn resolve(root: &Value, node: &Value) -> Map<String, Value> {
    let Value::Object(node) = node else { return Map::new() };
    let mut node = node.clone();
    // Recursive types are no configuration; the bound only keeps the walk finite.
    for _ in 0..8 {
        let next = match (node.remove("$ref"), optional(&node)) {
            (Some(Value::String(target)), _) => {
                target.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).cloned()
            }
            (_, Some(inner)) => {
                node.remove("anyOf");
                Some(inner)
            }
            _ => break,
        };
        let Some(Value::Object(base)) = next else { break };
        for (key, value) in base {
            node.entry(key).or_insert(value);
        }
    }
    node
}

/// The one alternative that is not null.
fn optional(node: &Map<String, Value>) -> Option<Value> {
    let alternatives = node.get("anyOf")?.as_array()?;
    let mut real = alternatives.iter().filter(|schema| schema.get("type") != Some(&"null".into()));
    let first = real.next()?;
    real.next().is_none().then(|| first.clone())
}

fn kind(root: &Value, node: &Map<String, Value>) -> Kind {
    if let Some(names) = choices(node) {
        return Kind::Choice(names);
    }
    let format = node.get("format").and_then(Value::as_str).unwrap_or_default();
    match type_name(node) {
        Some("boolean") => Kind::Bool,
        Some("integer") => {
            let unsigned = format.starts_with("uint");
            let (low, high) =
                if unsigned { (0, u64::MAX.into()) } else { (i64::MIN.into(), i64::MAX.into()) };
            Kind::Integer {
                min: node.get("minimum").and_then(whole).unwrap_or(low),
                max: node.get("maximum").and_then(whole).unwrap_or(high),
            }
        }
        Some("number") => Kind::Float {
            min: node.get("minimum").and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY),
            max: node.get("maximum").and_then(Value::as_f64).unwrap_or(f64::INFINITY),
        },
        // Whoever prints a configuration must not print this one: a URL with a password.
        Some("string") if node.get("writeOnly") == Some(&Value::Bool(true)) => Kind::Secret,
        Some("string") => string(node, format),
        Some("array") => match node.get("items").map(|items| kind(root, &resolve(root, items))) {
            Some(Kind::Secret) => Kind::Secrets,
            Some(Kind::Json | Kind::List(_) | Kind::Secrets) | None => Kind::Json,
            Some(item) => Kind::List(Box::new(item)),
        },
        _ => Kind::Json,
    }
}

fn string(node: &Map<String, Value>, format: &str) -> Kind {
    match format {
        "password" => Kind::Secret,
        "duration" => Kind::Duration,
        "period" => Kind::Period,
        "bytes" => Kind::Size,
        "rate" => Kind::Rate,
        "uri" => Kind::Url,
        "host-or-url" => Kind::HostOrUrl,
        "path" => Kind::Path,
        _ => Kind::Text {
            min: node.get("minLength").and_then(Value::as_u64).unwrap_or(0),
            max: node.get("maxLength").and_then(Value::as_u64).unwrap_or(u64::MAX),
        },
    }
}

fn type_name(node: &Map<String, Value>) -> Option<&str> {
    match node.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

/// The names of a unit enum, which comes as `enum`, or as `oneOf` when its variants have docs.
fn choices(node: &Map<String, Value>) -> Option<Vec<String>> {
    if let Some(names) = node.get("enum").and_then(Value::as_array) {
        let names = names.iter().filter(|name| !name.is_null());
        return names.map(|name| name.as_str().map(str::to_owned)).collect();
    }
    let mut names = Vec::new();
    for alternative in node.get("oneOf")?.as_array()? {
        match (alternative.get("const"), alternative.get("enum")) {
            (Some(Value::String(name)), _) => names.push(name.clone()),
            (_, Some(Value::Array(more))) => {
                for name in more {
                    names.push(name.as_str()?.to_owned());
                }
            }
            _ => return None,
        }
    }
    Some(names)
}

fn whole(value: &Value) -> Option<i128> {
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    // A range written with a float bound; the cast saturates.
    integer.or_else(|| value.as_f64().map(|bound| bound as i128))
}

fn text(node: &Map<String, Value>, key: &str) -> String {
    node.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
