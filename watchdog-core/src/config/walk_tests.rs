//! Any tree of sections, with underscores anywhere in its names, loads what was rendered from it:
//! the property that every splitter of variable names fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::assembly::{Assembly, tree};
use super::schema::Table;
use super::section::Environment;
use super::sources::{Sources, Variables};
use super::{layers, placeholder};

#[derive(Clone, Debug)]
enum Node {
    Integer(i64),
    Bool(bool),
    Text(String),
    Secret(String),
    Texts(Vec<String>),
    Branch(BTreeMap<String, Self>),
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_]{1,4}"
}

fn node() -> impl Strategy<Value = Node> {
    let resolved = |text: &String| !placeholder::is_unresolved(text);
    let leaf = prop_oneof![
        any::<i64>().prop_map(Node::Integer),
        any::<bool>().prop_map(Node::Bool),
        // Text that looks like something else stays text.
        "[a-z0-9.,]{1,6}|[0-9]{1,6}|true|null".prop_map(Node::Text),
        ".{1,12}".prop_filter("no placeholder", resolved).prop_map(Node::Secret),
        prop::collection::vec("[a-z0-9]{1,4}", 1..4).prop_map(Node::Texts),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map(name(), inner, 1..4).prop_map(Node::Branch)
    })
}

impl Node {
    fn schema(&self) -> Value {
        match self {
            Self::Integer(_) => json!({ "type": "integer", "format": "int64" }),
            Self::Bool(_) => json!({ "type": "boolean" }),
            Self::Text(_) => json!({ "type": ["string", "null"] }),
            Self::Secret(_) => json!({ "type": "string", "format": "password", "writeOnly": true }),
            Self::Texts(_) => json!({ "type": "array", "items": { "type": "string" } }),
            Self::Branch(nodes) => {
                let properties: Map<_, _> =
                    nodes.iter().map(|(name, node)| (name.clone(), node.schema())).collect();
                let required: Vec<_> = nodes.keys().collect();
                json!({ "type": "object", "properties": properties, "required": required })
            }
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Integer(value) => json!(value),
            Self::Bool(value) => json!(value),
            Self::Text(value) | Self::Secret(value) => json!(value),
            Self::Texts(values) => json!(values),
            Self::Branch(nodes) => {
                nodes.iter().map(|(name, node)| (name.clone(), node.value())).collect()
            }
        }
    }

    fn render(&self, name: &str, into: &mut Vec<(OsString, OsString)>) {
        let text = match self {
            Self::Integer(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(value) | Self::Secret(value) => value.clone(),
            Self::Texts(values) => values.join(","),
            Self::Branch(nodes) => {
                for (inner, node) in nodes {
                    node.render(&format!("{name}_{}", inner.to_ascii_uppercase()), into);
                }
                return;
            }
        };
        into.push((name.into(), text.into()));
    }
}

proptest! {
    #[test]
    fn any_tree_loads_what_was_rendered_from_it(
        nodes in prop::collection::btree_map(name(), node(), 1..5)
    ) {
        let section = Node::Branch(nodes);
        let table = Table::new("t", "T", section.schema());
        let mut variables = Vec::new();
        section.render("T", &mut variables);
        let names = |table: &Table| -> Vec<String> {
            let leaves = table.leaves.iter();
            leaves.flat_map(|leaf| [Some(leaf.variable.clone()), leaf.file_variable()]).flatten().collect()
        };
        let unique: BTreeSet<_> = names(&table).into_iter().collect();
        prop_assume!(unique.len() == names(&table).len());
        prop_assert_eq!(variables.len(), table.leaves.len());

        let sources = Sources { env: Variables::from_env(&variables), ..Sources::default() };
        let tables = [table];
        let winners = layers::winners(&tables, &sources);
        let nothing = BTreeSet::new();
        let assembly =
            Assembly::new(Environment::Production, &tables, &winners, &nothing, BTreeSet::new());
        prop_assert_eq!(&assembly.problems, &[]);
        prop_assert_eq!(tree(&tables[0], &assembly.values[0]), section.value());
    }
}
