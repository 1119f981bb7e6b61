//! What a published crate says about itself.

use cargo_metadata::Package;

/// Crates that are never published.
const AT_HOME: [&str; 2] = ["watchdog-examples", "watchdog-benches"];

pub(crate) fn problems(packages: &[&Package]) -> Vec<String> {
    packages.iter().flat_map(|package| problems_of(package)).collect()
}

fn problems_of(package: &Package) -> Vec<String> {
    let is_unpublished = package.publish.as_ref().is_some_and(Vec::is_empty);
    let stays = AT_HOME.contains(&package.name.as_str());
    let checks = if stays {
        vec![("publish = false", is_unpublished)]
    } else {
        let readme = package.readme().is_some_and(|path| path.is_file());
        let docs_rs = package.metadata.get("docs").and_then(|docs| docs.get("rs")).is_some();
        vec![
            ("no publish = false", !is_unpublished),
            ("description", package.description.as_ref().is_some_and(|text| text.len() >= 20)),
            ("license", package.license.is_some()),
            ("readme", readme),
            ("repository", package.repository.is_some()),
            ("homepage", package.homepage.is_some()),
            ("1 to 5 keywords", (1..=5).contains(&package.keywords.len())),
            ("keywords of 20 characters at most", package.keywords.iter().all(|k| k.len() <= 20)),
            ("1 to 5 categories", (1..=5).contains(&package.categories.len())),
            ("rust-version", package.rust_version.is_some()),
            ("package.metadata.docs.rs", docs_rs),
        ]
    };
    checks
        .into_iter()
        .filter(|(_, holds)| !holds)
        .map(|(what, _)| format!("{} lacks: {what}", package.name))
        .collect()
}

mod tests {
    use super::*;

    /// As `cargo metadata` prints a package with nothing but a name.
    fn bare(name: &str) -> Package {
        let json = serde_json::json!({
            "name": name, "version": "0.1.0", "id": format!("path+file:///x#{name}@0.1.0"),
            "dependencies": [], "targets": [], "features": {}, "manifest_path": "/x/Cargo.toml",
            "authors": [], "edition": "2024",
        });
        serde_json::from_value(json).expect("a package")
    }

    #[test]
    fn a_bare_crate_lacks_everything() {
        let found = problems(&[&bare("watchdog-core")]);
        assert_eq!(found.len(), 9, "{found:#?}");
        assert!(found.contains(&"watchdog-core lacks: license".to_owned()));
    }

    #[test]
    fn a_crate_that_stays_at_home_says_so() {
        let mut package = bare("watchdog-examples");
        assert_eq!(problems(&[&package]).len(), 1);
        package.publish = Some(Vec::new());
        assert!(problems(&[&package]).is_empty());
        package = bare("watchdog-health");
        package.publish = Some(Vec::new());
        assert!(
            problems(&[&package]).contains(&"watchdog-health lacks: no publish = false".into())
        );
    }
}
