//! The guides keep their word: their links lead somewhere, and the tests they name exist.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

mod guides {
    pub(super) mod texts;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn guides() -> Vec<PathBuf> {
    let root = root();
    let mut all = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let folder = fs::read_dir(root.join("docs")).unwrap();
    all.extend(folder.map(|entry| entry.unwrap().path()).filter(|path| is_a(path, "md")));
    all
}

fn is_a(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|extension| extension == kind)
}

/// What stands between `](` and `)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchors of a page, as the usual viewers make them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let line = line.trim_start_matches('#').trim().to_lowercase();
            let kept =
                |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
            line.chars().filter(kept).collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_of_the_guides_lead_somewhere() {
    let mut broken = Vec::new();
    for guide in guides() {
        let text = fs::read_to_string(&guide).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { guide.clone() } else { guide.parent().unwrap().join(path) };
            let is_there = target.exists();
            let has_anchor = anchor.is_empty()
                || is_there && anchors(&fs::read_to_string(&target).unwrap()).contains(anchor);
            if !is_there || !has_anchor {
                broken.push(format!("{}: {link}", guide.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_promise_of_a_front_page_has_its_test() {
    let root = root();
    let mut sources = String::new();
    gather(&root, &mut sources);
    for (page, head) in [
        ("README.md", "| promise | crate | test |"),
        ("watchdog-session/src/lib.rs", "| what | how much | test |"),
    ] {
        let text = fs::read_to_string(root.join(page)).unwrap().replace("//! ", "");
        let promised = promised(&text, head);
        assert!(promised.len() > 8, "{page}: {promised:?}");
        let is_missing = |name: &&String| !sources.contains(&format!("fn {name}("));
        let missing: Vec<_> = promised.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "{page}: {missing:?}");
    }
}

/// Each attack of `docs/attack-tests.md` names its tests and their files, and no test is left out.
#[test]
fn every_attack_has_its_tests_where_the_guide_says() {
    let tests = root().join("watchdog-session/tests");
    let guide = fs::read_to_string(root().join("docs/attack-tests.md")).unwrap();
    let mut named = BTreeSet::new();
    for number in 1..=52 {
        let start = format!("| T{number} | ");
        let row = guide.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("T{number} has no row"));
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for group in cell.split("; ") {
            let mut words = group.split('`').skip(1).step_by(2);
            let file = words.next().unwrap();
            let source = fs::read_to_string(tests.join(file)).unwrap_or_default();
            let before = named.len();
            for name in words {
                assert!(name.starts_with(&format!("t{number:02}_")), "{name} in T{number}");
                assert!(source.contains(&format!("fn {name}(")), "{name} is not in {file}");
                named.insert(name.to_owned());
            }
            assert!(named.len() > before, "T{number} names no test of {file}");
        }
    }
    let mut sources = String::new();
    gather(&tests, &mut sources);
    for name in sources.split("fn ").filter_map(|rest| rest.split('(').next()) {
        let is_numbered = name.len() > 4 && name.starts_with('t') && name[3..].starts_with('_');
        let is_attack = is_numbered && name[1..3].bytes().all(|byte| byte.is_ascii_digit());
        // The process that another test kills.
        assert!(!is_attack || name == "t14_child" || named.contains(name), "{name} has no row");
    }
}

/// What the guide of the audit log shares with the docs of the crate is written once, there. Run
/// with `WD_UPDATE=1` to bring it over.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the product")]
fn the_guide_of_the_audit_log_says_what_the_crate_says() {
    let path = root().join("docs/audit.md");
    let found = fs::read_to_string(&path).unwrap();
    let whole = guides::texts::filled(&found, &root());
    if found != whole && std::env::var_os("WD_UPDATE").is_some() {
        return fs::write(&path, whole).unwrap();
    }
    let differs = found.lines().zip(whole.lines()).find(|(there, due)| there != due);
    assert!(found == whole, "run this with WD_UPDATE=1; the first difference: {differs:?}");
}

#[test]
fn metrics_of_the_guide_of_the_audit_log_exist() {
    let guide = fs::read_to_string(root().join("docs/audit.md")).unwrap();
    let mut sources = String::new();
    gather(&root().join("watchdog-audit/src"), &mut sources);
    let names =
        guide.split('`').skip(1).step_by(2).filter(|name| name.starts_with("watchdog_audit_"));
    let names: BTreeSet<_> = names.map(|name| name.split('{').next().unwrap()).collect();
    assert!(names.len() > 8, "{names:?}");
    let missing: Vec<_> =
        names.iter().filter(|name| !sources.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The names in the last column of a table.
fn promised(text: &str, head: &str) -> Vec<String> {
    let table = text.split(head).nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_end_matches('|').trim_end().rsplit('|').next().unwrap());
    let names = cells.flat_map(|cell| cell.split(','));
    names.map(|name| name.trim().trim_matches('`').to_owned()).filter(|it| !it.is_empty()).collect()
}

/// All Rust files of the workspace's crates.
fn gather(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            gather(&path, sources);
        } else if is_a(&path, "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

mod tests {
    use super::*;

    #[test]
    fn anchors_are_made_as_viewers_make_them() {
        let made = anchors("# A b\n## `GET /x`: it's 1,5 %\ntext\n### Äpfel-x_y");
        assert!(made.contains("a-b"));
        assert!(made.contains("get-x-its-15-"));
        assert!(made.contains("äpfel-x_y"));
        assert_eq!(made.len(), 3);
    }

    #[test]
    fn links_are_found() {
        assert_eq!(links("[a](b.md#c) and [d](#e)"), ["b.md#c", "#e"]);
    }
}
