//! The sections of all crates together: names, and the files that are generated from them.
//!
//! `WD_UPDATE=1 cargo test -p watchdog-examples --test configuration` writes the files anew.

#[path = "../config_errors.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod config_errors;

use std::fs;
use std::path::{Path, PathBuf};

use watchdog_audit::AuditConfig;
use watchdog_core::config::reference::Reference;
use watchdog_core::config::{AppConfig, ForecastConfig, Loader, NovaConfig, SecurityConfig};
use watchdog_session::SessionConfig;
use watchdog_storage::objects::StorageConfig;
use watchdog_storage::postgres::DbConfig;
use watchdog_storage::redis::RedisConfig;

/// Every section of the family. A new one is a line here.
fn reference() -> Reference {
    Reference::new()
        .with::<AppConfig>()
        .with::<SecurityConfig>()
        .with::<DbConfig>()
        .with::<RedisConfig>()
        .with::<StorageConfig>()
        .with::<AuditConfig>()
        .with::<SessionConfig>()
        .with::<ForecastConfig>()
        .with::<NovaConfig>()
}

#[test]
fn no_two_fields_claim_one_variable() {
    assert_eq!(reference().clashes(), [""; 0]);
}

#[test]
fn every_variable_begins_with_the_family_name() {
    for variable in reference().variables() {
        assert!(variable.starts_with("WATCHDOG_"), "{variable}");
    }
}

#[test]
fn an_empty_environment_is_a_good_one() {
    let none: [(&str, &str); 0] = [];
    let loaded = Loader::from_vars(none).load::<(
        AppConfig,
        SecurityConfig,
        DbConfig,
        RedisConfig,
        StorageConfig,
        AuditConfig,
        SessionConfig,
        ForecastConfig,
        NovaConfig,
    )>();
    assert!(loaded.is_ok(), "{loaded:?}");
}

#[test]
fn nine_mistakes_give_nine_lines_of_help() {
    let error = config_errors::load().unwrap_err();
    let found: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| (problem.variables().join("+"), problem.kind().as_str()))
        .collect();
    let found: Vec<_> = found.iter().map(|(names, kind)| (names.as_str(), *kind)).collect();
    assert_eq!(
        found,
        [
            ("WATCHDOG_AUDIT_RETENTION_DAYS+WATCHDOG_AUDIT_LOG_TTL_SECONDS", "contradictory"),
            ("WATCHDOG_AUTH_COOKIE_SECURE", "unsafe"),
            ("WATCHDOG_DB_PASSWORD+WATCHDOG_DB_PASSWORD_FILE", "conflict"),
            ("WATCHDOG_DB_POOL_SIZE", "malformed"),
            ("WATCHDOG_DB_PORT", "out_of_range"),
            ("WATCHDOG_ENCRYPTION_KEY", "unresolved"),
            ("WATCHDOG_JWT_SECRET_FILE", "unreadable"),
            ("WATCHDOG_SECRET_KEY", "missing"),
            ("WATCHDOG_SESION_TIMEOUT", "unknown"),
        ]
    );
    assert_eq!(error.to_string().lines().count(), 1 + 9);
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn the_markdown_reference_is_current() {
    is_current("docs/configuration.md", &reference().markdown());
}

#[test]
fn the_env_example_is_current() {
    is_current(".env.example", &reference().env_example());
}

#[test]
fn the_env_example_changes_nothing_when_it_is_copied() {
    let none: [(&str, &str); 0] = [];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, reference().env_example()).unwrap();
    let loader = Loader::from_vars(none).with_dotenv(path);
    let loaded = loader.load::<(AppConfig, SecurityConfig, RedisConfig, StorageConfig)>();
    assert!(loaded.is_ok(), "{loaded:?}");
}

#[test]
fn the_json_schema_is_current() {
    is_current("docs/configuration.schema.json", &reference().json_schema());
}

#[test]
fn the_kubernetes_manifests_are_current() {
    is_current("docs/kubernetes.yaml", &reference().kubernetes("watchdog-service"));
}

#[test]
fn the_list_of_known_variables_is_current() {
    is_current("watchdog-core/src/config/family.rs", &family(&reference()));
}

fn family(reference: &Reference) -> String {
    let mut text = String::from(
        "\
//! Every variable of the family's own sections, generated from their schemas.
//!
//! An application may load only some sections; the variables of the others are still known. A test
//! compares this list with the schemas of all crates.

/// Names of the sections, sorted.
#[rustfmt::skip]
pub(super) const SECTIONS: &[&str] = &[
",
    );
    for name in reference.sections() {
        text.push_str(&format!("    \"{name}\",\n"));
    }
    text.push_str(
        "\
];

/// Variables of all sections with their `NAME_FILE` twins, sorted.
#[rustfmt::skip]
pub(super) const VARIABLES: &[&str] = &[
",
    );
    for name in reference.variables() {
        text.push_str(&format!("    \"{name}\",\n"));
    }
    text.push_str("];\n");
    text
}

/// Compares a file of the repository with what is generated now, or writes it.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not configuration")]
fn is_current(file: &str, generated: &str) {
    let path = root().join(file);
    if std::env::var_os("WD_UPDATE").is_some_and(|value| value == "1") {
        let written = fs::write(&path, generated);
        assert!(written.is_ok(), "{file}: {written:?}");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        found == generated,
        "{file} is not current from line {}: run with WD_UPDATE=1",
        1 + differs.unwrap_or_else(|| found.lines().count().min(generated.lines().count()))
    );
}

fn root() -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    examples.parent().map(Path::to_owned).unwrap_or_default()
}
