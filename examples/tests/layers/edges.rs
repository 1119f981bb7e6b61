//! Which of our crates may depend on which.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata};

/// One of our crates and the crates of ours that it names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) edges: Vec<Edge>,
    /// Features by name, with what each switches on.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) to: String,
    pub(crate) is_dev: bool,
    pub(crate) is_optional: bool,
}

/// The layer of a crate, what it may always depend on, and what by which features.
struct Rule {
    layer: u8,
    always: &'static [&'static str],
    by_feature: &'static [(&'static str, &'static [&'static str])],
}

fn rule(name: &str) -> Option<Rule> {
    let rule = |layer, always, by_feature| Some(Rule { layer, always, by_feature });
    match name {
        "watchdog-core" => rule(0, &[], &[]),
        "watchdog-storage" => rule(1, &["watchdog-core"], &[]),
        "watchdog-session" => rule(2, &["watchdog-core"], &[("watchdog-storage", &["redis"])]),
        "watchdog-audit" => {
            rule(2, &["watchdog-core"], &[("watchdog-storage", &["redis", "objects", "postgres"])])
        }
        "watchdog-health" => rule(2, &["watchdog-core"], &[]),
        "watchdog-examples" | "watchdog-benches" => rule(
            3,
            &[
                "watchdog-core",
                "watchdog-storage",
                "watchdog-session",
                "watchdog-audit",
                "watchdog-health",
            ],
            &[],
        ),
        _ => None,
    }
}

pub(crate) fn members(metadata: &Metadata) -> Vec<Member> {
    let packages = metadata.workspace_packages();
    let is_ours = |name: &str| packages.iter().any(|package| package.name.as_str() == name);
    let member = |package: &&cargo_metadata::Package| Member {
        name: package.name.to_string(),
        edges: package
            .dependencies
            .iter()
            .filter(|dependency| is_ours(&dependency.name))
            .map(|dependency| Edge {
                to: dependency.name.clone(),
                is_dev: dependency.kind == DependencyKind::Development,
                is_optional: dependency.optional,
            })
            .collect(),
        features: package.features.clone().into_iter().collect(),
    };
    packages.iter().map(member).collect()
}

pub(crate) fn problems(members: &[Member]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in members {
        let name = &member.name;
        let Some(rule) = rule(name) else {
            problems.push(format!("{name} has no place on the map"));
            continue;
        };
        for edge in &member.edges {
            let to = &edge.to;
            if edge.is_dev {
                problems.extend(dev_problem(name, &rule, to));
            } else if let Some((_, features)) = rule.by_feature.iter().find(|(on, _)| on == to) {
                if !edge.is_optional {
                    problems.push(format!("{name} -> {to} is optional on the map"));
                }
                problems.extend(feature_problems(member, to, features));
            } else if !rule.always.contains(&to.as_str()) {
                problems.push(format!("{name} -> {to} is not on the map"));
            }
        }
    }
    problems
}

/// A test may use lower layers, and its own crate with other features.
fn dev_problem(name: &str, own: &Rule, to: &str) -> Option<String> {
    let is_lower = self::rule(to).is_some_and(|rule| rule.layer < own.layer);
    (!is_lower && to != name).then(|| format!("{name} -> {to} (tests) is not a lower layer"))
}

/// The features that bring an optional crate are those on the map.
fn feature_problems(member: &Member, to: &str, allowed: &[&str]) -> Vec<String> {
    let brings = |entry: &String| {
        let strong = format!("{to}/");
        *entry == format!("dep:{to}") || *entry == to || entry.starts_with(&strong)
    };
    member
        .features
        .iter()
        .filter(|(feature, entries)| {
            !allowed.contains(&feature.as_str()) && entries.iter().any(brings)
        })
        .map(|(feature, _)| {
            format!("{} -> {to} by feature {feature} is not on the map", member.name)
        })
        .collect()
}

mod tests {
    use super::*;

    fn member(name: &str, edges: &[(&str, bool, bool)], features: &[(&str, &str)]) -> Member {
        Member {
            name: name.into(),
            edges: edges
                .iter()
                .map(|&(to, is_dev, is_optional)| Edge { to: to.into(), is_dev, is_optional })
                .collect(),
            features: features
                .iter()
                .map(|&(name, entry)| (name.to_owned(), vec![entry.to_owned()]))
                .collect(),
        }
    }

    #[test]
    fn the_map_itself_has_no_problem() {
        let session = member(
            "watchdog-session",
            &[
                ("watchdog-core", false, false),
                ("watchdog-storage", false, true),
                ("watchdog-storage", true, false),
                ("watchdog-session", true, false),
            ],
            &[("redis", "dep:watchdog-storage"), ("testing", "watchdog-storage?/testing")],
        );
        assert_eq!(problems(&[session]), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_edge_is_found() {
        let cases = [
            member("watchdog-core", &[("watchdog-storage", false, true)], &[]),
            member("watchdog-storage", &[("watchdog-session", false, false)], &[]),
            member("watchdog-session", &[("watchdog-audit", false, true)], &[]),
            member("watchdog-session", &[("watchdog-storage", false, false)], &[]),
            member(
                "watchdog-session",
                &[("watchdog-storage", false, true)],
                &[("axum", "watchdog-storage/testing")],
            ),
            member(
                "watchdog-audit",
                &[("watchdog-storage", false, true)],
                &[("embedded", "dep:watchdog-storage")],
            ),
            member("watchdog-health", &[("watchdog-storage", false, true)], &[]),
            member("watchdog-health", &[("watchdog-session", true, false)], &[]),
            member("watchdog-core", &[("watchdog-examples", true, false)], &[]),
            member("watchdog-new", &[], &[]),
        ];
        for case in cases {
            let found = problems(std::slice::from_ref(&case));
            assert_eq!(found.len(), 1, "{case:?}: {found:?}");
            assert!(found[0].starts_with(&case.name), "{found:?}");
        }
    }
}
