//! `docs/configuration.schema.json`: the schema of the TOML file.

use serde_json::{Map, Value, json};

use super::Reference;
use crate::config::schema::Table;

pub(super) fn render(reference: &Reference) -> String {
    let (mut properties, mut definitions) = (Map::new(), Map::new());
    for table in &reference.tables {
        let mut schema = table.schema.clone();
        if let Value::Object(object) = &mut schema {
            object.remove("$schema");
            if let Some(Value::Object(own)) = object.remove("$defs") {
                for (name, mut definition) in own {
                    adapt(&mut definition, table);
                    definitions.insert(format!("{}.{name}", table.name), definition);
                }
            }
            object.insert("x-variables".into(), variables(table));
        }
        adapt(&mut schema, table);
        properties.insert(table.name.into(), schema);
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration",
        "description": "The TOML file that WATCHDOG_CONFIG_FILE names. Generated; do not edit.",
        "type": "object",
        "properties": properties,
        "$defs": definitions,
    });
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

/// Which variable sets which field.
fn variables(table: &Table) -> Value {
    let pair =
        |leaf: &crate::config::schema::Leaf| (leaf.variable.clone(), leaf.path.join(".").into());
    Value::Object(table.leaves.iter().map(pair).collect())
}

/// From the schema of the type to the schema of its table: references get the section's name, the
/// twins `name_file` of secrets come in, anything else is refused, and numbers may stand for
/// durations and sizes.
fn adapt(schema: &mut Value, table: &Table) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, table)),
        Value::Object(object) => {
            object.iter_mut().filter(|(key, _)| is_schema(key)).for_each(|(_, v)| adapt(v, table));
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                properties.values_mut().for_each(|property| adapt(property, table));
                let secrets = add_twins(properties);
                // A secret that must be there may come from its file instead.
                if let Some(Value::Array(required)) = object.get_mut("required") {
                    required.retain(|name| !secrets.iter().any(|secret| name == secret));
                }
                object.insert("additionalProperties".into(), Value::Bool(false));
            }
            if let Some(Value::String(target)) = object.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{}.{name}", table.name);
            }
            let format = object.get("format").and_then(Value::as_str).unwrap_or_default();
            if matches!(format, "duration" | "bytes") {
                object.insert("type".into(), json!(["string", "integer"]));
            }
            // TOML has no null: a field that may be left out is left out.
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
        }
        _ => {}
    }
}

fn is_schema(key: &str) -> bool {
    matches!(key, "items" | "anyOf" | "oneOf" | "allOf")
}

/// The names of the secrets.
fn add_twins(properties: &mut Map<String, Value>) -> Vec<String> {
    let is_secret = |schema: &Value| {
        let own = schema.get("writeOnly") == Some(&Value::Bool(true));
        own || schema.pointer("/items/writeOnly") == Some(&Value::Bool(true))
    };
    let secrets = properties.iter().filter(|(_, schema)| is_secret(schema));
    let names: Vec<_> = secrets.map(|(name, _)| name.clone()).collect();
    for name in &names {
        let description = format!("Path of a file that holds `{name}`.");
        let twin = json!({ "type": "string", "description": description });
        properties.insert(format!("{name}_file"), twin);
    }
    names
}
