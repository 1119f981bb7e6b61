//! `docs/configuration.md`.

use super::{Reference, paragraph};
use crate::config::schema::{Leaf, Table};

const HEAD: &str = "\
<!-- Generated from the sections' schemas. Do not edit. -->
# Configuration

Variables of the process environment configure everything. Precedence, lowest first: built-in
default, TOML file (`WATCHDOG_CONFIG_FILE`), `.env` in the current directory (development only), a
secret source of the application, the process environment. An empty variable is unset. An unknown
`WATCHDOG_*` variable is an error, and so is anything else that is wrong: one start shows all of it.

- **secret**: taken unchanged, never shown. `NAME_FILE` names a file that holds it instead, of at
  most 1 MiB; one line end at its end is not part of it. Setting both is an error.
- **secrets**: one on each line, or a JSON array of strings. Also from a file.
- **duration**: whole seconds (`1800`), or whole numbers with the units `ms`, `s`, `min`, `h`, `d`
  (`250ms`, `30s`, `1h30min`).
- **period**: whole numbers with the units `years`, `months`, `weeks`, `days` (`2years`).
- **size**: whole bytes, or a whole number with `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB` (`8MiB`).
- **rate**: a number per time (`100/min`, `5/10s`).
- **list**: items with commas between them; an empty item is an error.
";

pub(super) fn render(reference: &Reference) -> String {
    let mut text = HEAD.to_owned();
    for table in &reference.tables {
        text.push_str(&section(reference, table));
    }
    text
}

fn section(reference: &Reference, table: &Table) -> String {
    let mut text = format!(
        "\n## {}\n\n{} Table `[{}]` of the TOML file.\n\n\
         | variable | type | default | meaning |\n|---|---|---|---|\n",
        table.name,
        cell(&table.doc),
        table.name,
    );
    for leaf in &table.leaves {
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            leaf.variable,
            cell(&leaf.kind.label()),
            default(reference, leaf),
            cell(&leaf.doc)
        ));
    }
    text
}

fn default(reference: &Reference, leaf: &Leaf) -> String {
    match (leaf.default_text(), reference.need(leaf)) {
        (Some(text), _) => format!("`{}`", cell(&text)),
        (None, _) if leaf.is_required(|_| true) => "**required**".into(),
        (None, Some(need)) => format!("**required {need}**"),
        (None, None) => "unset".into(),
    }
}

fn cell(text: &str) -> String {
    paragraph(text).replace('|', "\\|")
}
