//! The sections of all crates together: names, and the files that are generated from them.
//!
//! `WD_UPDATE=1 cargo test -p watchdog-examples --test configuration` writes the files anew.

#[path = "../config_errors.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod config_errors;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use watchdog_audit::AuditConfig;
use watchdog_core::config::reference::Reference;
use watchdog_core::config::{
    AppConfig, ForecastConfig, Loader, NovaConfig, Origin, SecurityConfig,
};
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

/// All sections at once.
type All = (
    AppConfig,
    SecurityConfig,
    DbConfig,
    RedisConfig,
    StorageConfig,
    AuditConfig,
    SessionConfig,
    ForecastConfig,
    NovaConfig,
);

#[test]
fn an_empty_environment_is_a_good_one() {
    let none: [(&str, &str); 0] = [];
    let loaded = Loader::from_vars(none).load::<All>();
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
fn the_kubernetes_skeleton_loads_in_production_once_it_is_filled_in() {
    let manifests = reference().kubernetes("watchdog-service");
    let lines = manifests.lines().filter_map(|line| line.trim().split_once(": "));
    let asked: Vec<_> = lines.filter(|(name, _)| name.starts_with("WATCHDOG_")).collect();
    let filled = asked.iter().zip(0..).map(|((name, text), number)| {
        let value = match *name {
            "WATCHDOG_REDIS_URL" => "rediss://cache.internal".to_owned(),
            _ if text.contains('<') => format!("{number:064}"),
            _ => text.trim_matches('"').to_owned(),
        };
        ((*name).to_owned(), value)
    });
    let filled: BTreeMap<_, _> = filled.collect();
    assert_eq!(filled["WATCHDOG_ENV"], "production");
    let loaded = Loader::from_vars(filled.clone()).load::<All>();
    assert!(loaded.is_ok(), "{loaded:?}");
    // Nothing is asked for in vain.
    for left_out in filled.keys().filter(|name| *name != "WATCHDOG_ENV") {
        let fewer = filled.iter().filter(|(name, _)| *name != left_out);
        let loaded = Loader::from_vars(fewer).load::<All>();
        assert!(loaded.is_err(), "{left_out} is not needed");
    }
}

/// Every secret of every section, each with a value of its own that is found again.
fn sentinels() -> BTreeMap<String, String> {
    let all = reference().variables();
    let secrets = all.iter().filter_map(|name| name.strip_suffix("_FILE"));
    let secrets = secrets.filter(|name| all.iter().any(|other| other == name));
    let numbered = secrets.zip(0..);
    let sentinel = |name: &str, number| match name {
        "WATCHDOG_SESSION_ACCESS_TOKEN_KEY" => SIGNING_KEYS[0].to_owned(),
        "WATCHDOG_SESSION_ACCESS_TOKEN_KEY_PREVIOUS" => SIGNING_KEYS[1].to_owned(),
        _ => format!("s3nt1n3l-{number:032}"),
    };
    numbered.map(|(name, number)| (name.to_owned(), sentinel(name, number))).collect()
}

/// Two Ed25519 keys made for this test. A signing key has to be one, or nothing loads.
const SIGNING_KEYS: [&str; 2] = [
    "MC4CAQAwBQYDK2VwBCIEIAiZvqZpZHzg7HwIf3Avnixs45Qnq9G8EyIazfqwJr8i",
    "MC4CAQAwBQYDK2VwBCIEIO1hCqP3E1IRF6h5wTnY3QumMcL8u1O0Qm1RIHGVsAnt",
];

/// What the secrets are set to: the one that is a URL holds its sentinel as the password.
fn secret_variables() -> BTreeMap<String, String> {
    let value = |name: &str, sentinel: &str| match name {
        "WATCHDOG_REDIS_URL" => format!("rediss://:{sentinel}@cache.internal"),
        "WATCHDOG_SESSION_ACCESS_TOKEN_KEY" => pem(sentinel),
        // A key has several lines, so the list is written as JSON.
        "WATCHDOG_SESSION_ACCESS_TOKEN_KEY_PREVIOUS" => {
            serde_json::json!([pem(sentinel)]).to_string()
        }
        _ => sentinel.to_owned(),
    };
    let secrets = sentinels().into_iter();
    let set = secrets.map(|(name, sentinel)| (name.clone(), value(&name, &sentinel)));
    // The password of Redis stands in its URL or here.
    set.filter(|(name, _)| name != "WATCHDOG_REDIS_PASSWORD").collect()
}

fn pem(key: &str) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")
}

fn with_the_rest(mut set: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for (name, value) in [
        ("WATCHDOG_DB_HOST", "db.internal"),
        ("WATCHDOG_DB_NAME", "shop"),
        ("WATCHDOG_DB_USER", "shop"),
        ("WATCHDOG_STORAGE_TYPE", "s3"),
        ("WATCHDOG_S3_BUCKET", "shop-objects"),
    ] {
        set.insert(name.to_owned(), value.to_owned());
    }
    set
}

#[track_caller]
fn assert_hides(sentinels: &BTreeMap<String, String>, text: &str) {
    for (name, sentinel) in sentinels {
        assert!(!text.contains(sentinel), "{name} shows in {text}");
    }
}

#[test]
fn no_section_shows_a_secret_however_it_is_printed() {
    let sentinels = sentinels();
    let url = with_the_rest(secret_variables());
    let mut password = url.clone();
    let sentinel = sentinels["WATCHDOG_REDIS_PASSWORD"].clone();
    password.insert("WATCHDOG_REDIS_PASSWORD".into(), sentinel);
    password.insert("WATCHDOG_REDIS_URL".into(), "rediss://cache.internal".into());
    for set in [url, password] {
        let loaded = Loader::from_vars(set.clone()).load::<All>().unwrap();
        // They have arrived: a test that finds nothing must have had something to find.
        assert_eq!(loaded.2.password.as_ref().unwrap().expose(), &set["WATCHDOG_DB_PASSWORD"]);
        let mut text = format!("{loaded:?} {loaded:#?} {:?}", loaded.warnings());
        for (variable, origin) in loaded.origins() {
            let _ = write!(text, "{variable} {origin} {origin:?}");
            let expected = matches!(origin, Origin::Env(_));
            assert_eq!(set.contains_key(variable), expected, "{variable}");
        }
        text += &json_of_each(&loaded).unwrap();
        assert_hides(&sentinels, &text);
        assert!(text.contains("[redacted]"));
    }
}

fn json_of_each(sections: &All) -> serde_json::Result<String> {
    let (app, security, db, redis, storage, audit, session, forecast, nova) = sections;
    let values = [
        serde_json::to_value(app),
        serde_json::to_value(security),
        serde_json::to_value(db),
        serde_json::to_value(redis),
        serde_json::to_value(storage),
        serde_json::to_value(audit),
        serde_json::to_value(session),
        serde_json::to_value(forecast),
        serde_json::to_value(nova),
    ];
    values.into_iter().map(|value| value.map(|value| format!("{value} {value:#}\n"))).collect()
}

#[test]
fn no_error_shows_a_secret_of_any_section() {
    let sentinels = sentinels();
    for (mistake, value) in [
        ("WATCHDOG_DB_PORT", "none"),
        ("WATCHDOG_ENV", "production"),
        ("WATCHDOG_NONSENSE", "x"),
        ("WATCHDOG_REDIS_DB", "700"),
        ("WATCHDOG_REDIS_PASSWORD", &sentinels["WATCHDOG_REDIS_PASSWORD"]),
        ("WATCHDOG_REDIS_URL", &sentinels["WATCHDOG_REDIS_URL"]),
        ("WATCHDOG_S3_ENDPOINT", "http://u:p@x"),
        ("WATCHDOG_SESSION_GRACE", "1h"),
    ] {
        let mut set = with_the_rest(secret_variables());
        set.insert("WATCHDOG_SESSION_STORE".into(), "memory".into());
        set.insert(mistake.into(), value.into());
        let error = Loader::from_vars(set).load::<All>().expect_err(mistake);
        let mut text = format!("{error} {error:?} {error:#?} {}", error.to_json());
        for problem in error.problems() {
            let _ =
                write!(text, "{problem} {problem:?} {} {:?}", problem.hint(), problem.origins());
        }
        let error = watchdog_core::Error::from(error);
        let _ = write!(text, "{error} {error:?} {error:#?}");
        assert_hides(&sentinels, &text);
    }
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
