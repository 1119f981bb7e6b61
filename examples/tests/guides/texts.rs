//! Parts of a guide that are the docs of a crate.
//!
//! `<!-- text of <file> -->` takes the text at the head of a file, `<!-- text of <file>: <item> -->`
//! that of an item in it; each ends at `<!-- end -->`.

use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- text of ";
const END: &str = "<!-- end -->";

/// The guide with every part as the sources have it.
pub(crate) fn filled(guide: &str, root: &Path) -> String {
    let mut whole = String::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        whole.push_str(line);
        whole.push('\n');
        let Some(place) = line.strip_prefix(BEGIN) else { continue };
        let place = place.trim_end_matches(" -->");
        let (file, item) = place.split_once(": ").map_or((place, None), |(a, b)| (a, Some(b)));
        let source = fs::read_to_string(root.join(file)).unwrap();
        let text = item.map_or_else(|| head(&source), |item| of_item(&source, item));
        assert!(!text.is_empty(), "{place} has no text");
        whole.push('\n');
        text.iter().for_each(|line| whole.push_str(&format!("{}\n", told(line))));
        whole.push_str(&format!("\n{END}\n"));
        assert!(lines.any(|line| line == END), "the part {place} has no end");
    }
    whole
}

/// The docs at the head of a file, without its first sentence's paragraph and without definitions
/// of links.
fn head(source: &str) -> Vec<String> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned());
    let lines = lines.skip_while(|line| !line.is_empty()).skip(1);
    let lines = lines.filter(|line| !(line.starts_with("[`") && line.contains("`]: ")));
    squeezed(lines)
}

/// The docs of an item, without the paragraph of their first sentence.
fn of_item(source: &str, item: &str) -> Vec<String> {
    let at = source.lines().position(|line| line.starts_with(item)).unwrap();
    let lines: Vec<_> = source.lines().take(at).collect();
    let own = lines.iter().rev().skip_while(|line| line.starts_with("#["));
    let mut own: Vec<_> = own.map_while(|line| line.strip_prefix("///")).collect();
    own.reverse();
    let own = own.into_iter().map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned());
    squeezed(own.skip_while(|line| !line.is_empty()).skip(1))
}

/// Without hidden lines of code, which is tested where it stands, and with one empty line where there are several.
fn squeezed(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut is_code = false;
    for line in lines {
        if line.starts_with("```") {
            is_code = !is_code;
            let language = if is_code && line == "```" { "rust,ignore" } else { "" };
            kept.push(format!("{line}{language}"));
        } else if is_code && (line == "#" || line.starts_with("# ")) {
        } else if !(line.is_empty() && kept.last().is_none_or(String::is_empty)) {
            kept.push(if is_code { format!("\u{0}{line}") } else { line });
        }
    }
    while kept.last().is_some_and(String::is_empty) {
        kept.pop();
    }
    kept
}

/// A line as it stands in a guide: headings two levels down, and names of items for links to them.
fn told(line: &str) -> String {
    if let Some(code) = line.strip_prefix('\u{0}') {
        return code.to_owned();
    }
    let line = if line.starts_with('#') { format!("##{line}") } else { line.to_owned() };
    let mut told = String::new();
    let mut rest = line.as_str();
    while let Some((before, linked)) = rest.split_once('[') {
        told.push_str(before);
        let Some((name, after)) = linked.split_once(']') else {
            told.push('[');
            rest = linked;
            continue;
        };
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        match target {
            Some((target, after)) if target.contains("::") => {
                told.push_str(name);
                rest = after;
            }
            None if name.starts_with('`') => {
                told.push_str(name);
                rest = after;
            }
            _ => {
                told.push('[');
                rest = linked;
            }
        }
    }
    told.push_str(rest);
    told
}

#[test]
fn links_to_items_become_their_names() {
    assert_eq!(told("# Keys"), "### Keys");
    assert_eq!(told("a [`B`](crate::B) and [`C`]."), "a `B` and `C`.");
    assert_eq!(told("see [there](other.md), a[0]"), "see [there](other.md), a[0]");
}
