//! Which source wins, decided by figment.
//!
//! figment's own errors and `Debug` print values, so it never sees one here: the layers hold
//! *handles* of candidates.

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use super::schema::Table;
use super::sources::{Candidate, Sources};

const NAMES: [&str; 4] = ["file", "dotenv", "secret source", "environment"];

struct Layer {
    name: &'static str,
    handles: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.handles.clone()))
    }
}

/// The winning candidate of every leaf: outer index the table, inner index the leaf.
pub(super) fn winners(tables: &[Table], sources: &Sources) -> Vec<Vec<Option<Candidate>>> {
    let mut candidates = Vec::new();
    let mut layers = NAMES.map(|name| Layer { name, handles: Dict::new() });
    for (t, table) in tables.iter().enumerate() {
        for (l, leaf) in table.leaves.iter().enumerate() {
            for (layer, candidate) in layers.iter_mut().zip(sources.candidates(table, leaf)) {
                if let Some(candidate) = candidate {
                    layer.handles.insert(key(t, l), Value::from(candidates.len()));
                    candidates.push(candidate);
                }
            }
        }
    }
    let figment = layers.into_iter().fold(Figment::new(), Figment::merge);
    let winner = |t, l| {
        let handle = figment.extract_inner::<usize>(&key(t, l)).ok()?;
        candidates.get(handle).cloned()
    };
    tables
        .iter()
        .enumerate()
        .map(|(t, table)| (0..table.leaves.len()).map(|l| winner(t, l)).collect())
        .collect()
}

fn key(table: usize, leaf: usize) -> String {
    format!("{table}:{leaf}")
}
