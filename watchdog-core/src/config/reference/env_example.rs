//! `.env.example`.

use super::{Reference, comment};
use crate::config::schema::Leaf;

const HEAD: &str = "\
# Generated from the sections' schemas. Do not edit.
#
# Copy to .env for development. Every line that is commented out shows the default. A value with
# white space or # in it belongs into 'single quotes'. Nothing is substituted.
#
# Path of a TOML file with the same settings; only from the process environment.
#WATCHDOG_CONFIG_FILE=
";

pub(super) fn render(reference: &Reference) -> String {
    let mut text = HEAD.to_owned();
    for table in &reference.tables {
        text.push_str(&format!("\n# ---- {} ----\n", table.name));
        text.push_str(&comment(&table.doc, "# "));
        for leaf in &table.leaves {
            text.push('\n');
            text.push_str(&comment(&leaf.doc, "# "));
            text.push_str(&line(reference, leaf));
        }
    }
    text
}

fn line(reference: &Reference, leaf: &Leaf) -> String {
    let Some(default) = leaf.default_text() else {
        // A placeholder that is left in place is reported by the loader.
        if leaf.is_required(|_| true) {
            return format!("{}='<{}>'\n", leaf.variable, leaf.kind.label());
        }
        return match reference.need(leaf) {
            Some(need) => format!("# Required {need}.\n#{}=\n", leaf.variable),
            None => format!("#{}=\n", leaf.variable),
        };
    };
    let quoted = default.contains(char::is_whitespace) || default.contains(['#', '\'', '"']);
    let default = if quoted { format!("'{default}'") } else { default };
    format!("#{}={default}\n", leaf.variable)
}
