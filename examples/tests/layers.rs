//! The architecture as the build sees it: which crate may know which, one crypto stack, licences,
//! what a published crate must say about itself, and how many crates a user compiles.
#![expect(clippy::expect_used, reason = "a test states what it expects")]

use std::process::Command;

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};

#[path = "layers/edges.rs"]
mod edges;
#[path = "layers/licences.rs"]
mod licences;
#[path = "layers/manifests.rs"]
mod manifests;
#[path = "layers/tree.rs"]
mod tree;

/// The most crates that `watchdog-session` with its default features may bring, itself included,
/// without build dependencies, on Linux. The goal is 120; the Redis client and the configuration
/// loader are what is above it.
const SESSION_TREE: usize = 150;

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(vec!["--locked".into()])
        .exec()
        .expect("cargo describes the workspace")
}

/// Runs `cargo tree`; one line per crate and place.
fn cargo_tree(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}|{l}"])
        .args(args)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Every crate that any of our crates brings, on any platform, for any purpose.
fn whole_tree() -> Vec<tree::Crate> {
    tree::parse(&cargo_tree(&["--workspace", "--all-features", "--target", "all"]))
}

fn deny() -> toml::Table {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml"));
    text.expect("deny.toml is there").parse().expect("deny.toml is TOML")
}

/// The strings in a list, or the names in a list of tables.
fn names(list: &toml::Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    let name = |value: &toml::Value| value.get("name").unwrap_or(value).as_str().map(str::to_owned);
    list.iter().map(|value| name(value).expect("a name")).collect()
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn crates_know_only_what_the_map_allows() {
    assert_none(&edges::problems(&edges::members(&metadata())));
}

#[test]
fn published_crates_say_what_they_are_and_the_others_stay_at_home() {
    let metadata = metadata();
    assert_none(&manifests::problems(&metadata.workspace_packages()));
}

#[test]
fn there_is_one_crypto_stack() {
    let banned = names(&deny()["bans"]["deny"]);
    assert!(banned.iter().any(|name| name == "ring"), "{banned:?}");
    let crates = whole_tree();
    assert!(crates.iter().any(|found| found.name == "aws-lc-rs"), "the tree was read");
    assert_none(&tree::banned(&crates, &banned));
}

#[test]
fn every_licence_is_allowed() {
    let allowed = names(&deny()["licenses"]["allow"]);
    assert_none(&licences::problems(&whole_tree(), &allowed));
}

#[test]
fn no_licence_is_allowed_that_no_crate_needs() {
    let (crates, allowed) = (whole_tree(), names(&deny()["licenses"]["allow"]));
    let is_needed = |dropped: &&String| {
        let rest: Vec<String> = allowed.iter().filter(|name| name != dropped).cloned().collect();
        !licences::problems(&crates, &rest).is_empty()
    };
    let unneeded: Vec<&String> = allowed.iter().filter(|name| !is_needed(name)).collect();
    assert!(unneeded.is_empty(), "take off the list in deny.toml: {unneeded:?}");
}

#[test]
fn everything_comes_from_one_registry() {
    let metadata = metadata();
    let sources = metadata.packages.iter().map(|package| {
        let source = package.source.as_ref().map(|source| source.repr.as_str());
        (package.name.as_str(), source)
    });
    assert_none(&tree::foreign_sources(sources));
}

#[test]
fn sessions_stay_small() {
    let args = ["--package", "watchdog-session", "--edges", "normal"];
    let target = ["--target", "x86_64-unknown-linux-gnu"];
    let crates = tree::parse(&cargo_tree(&[args.as_slice(), target.as_slice()].concat()));
    let count = crates.len();
    // Past the capture of the harness: the number is worth seeing when the test passes.
    let line = format!("watchdog-session with default features: {count} crates (goal 120)\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    assert!(count <= SESSION_TREE, "{count} crates, {SESSION_TREE} at most");
    assert!(count + 10 >= SESSION_TREE, "only {count} crates: lower the bound to keep it so");
}
