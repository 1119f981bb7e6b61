//! `docs/kubernetes.yaml`.

use super::{Reference, comment};
use crate::config::schema::{Leaf, Table};

pub(super) fn render(reference: &Reference, name: &str) -> String {
    let mut text = format!(
        "\
# Generated from the sections' schemas. Do not edit: copy, fill in, apply.
# A placeholder <...> that is left in place is refused at start.
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}-config
data:
"
    );
    for table in &reference.tables {
        push(&mut text, reference, table, |leaf| !leaf.kind.is_secret());
    }
    text.push_str(&format!(
        "\
---
# Better still, mount secrets as files and name them with *_FILE variables: a file is not inherited
# by child processes and does not show in a dump of the environment.
apiVersion: v1
kind: Secret
metadata:
  name: {name}-secrets
type: Opaque
stringData:
"
    ));
    for table in &reference.tables {
        push(&mut text, reference, table, |leaf| leaf.kind.is_secret());
    }
    text.push_str(&pod(name));
    text
}

fn push(text: &mut String, reference: &Reference, table: &Table, wanted: impl Fn(&Leaf) -> bool) {
    let leaves: Vec<_> = table.leaves.iter().filter(|leaf| wanted(leaf)).collect();
    if leaves.is_empty() {
        return;
    }
    text.push_str(&format!("  # ---- {} ----\n", table.name));
    for leaf in leaves {
        text.push_str(&comment(&leaf.doc, "  # "));
        text.push_str(&line(reference, leaf));
    }
}

fn line(reference: &Reference, leaf: &Leaf) -> String {
    let variable = &leaf.variable;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    if variable == super::ENV {
        return format!("  {variable}: {}\n", quoted("production"));
    }
    match leaf.default_text() {
        Some(default) => format!("  # {variable}: {}\n", quoted(&default)),
        None => {
            let placeholder = quoted(&format!("<{}>", leaf.kind.label()));
            if leaf.is_required(|_| true) {
                return format!("  {variable}: {placeholder}\n");
            }
            match reference.need(leaf) {
                Some(need) => format!("  # Required {need}.\n  {variable}: {placeholder}\n"),
                None => format!("  # {variable}: {placeholder}\n"),
            }
        }
    }
}

fn pod(name: &str) -> String {
    format!(
        "\
---
# The part of a Deployment that uses both.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      # Without this Kubernetes sets WATCHDOG_DB_PORT=tcp://... for a Service named watchdog-db.
      enableServiceLinks: false
      containers:
        - name: {name}
          image: \"<image>\"
          envFrom:
            - configMapRef:
                name: {name}-config
            - secretRef:
                name: {name}-secrets
"
    )
}
