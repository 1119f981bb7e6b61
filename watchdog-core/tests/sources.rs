//! The sources of values: precedence, origins, files, a secret source.

mod stand_ins;

use std::fs;

use async_trait::async_trait;
use stand_ins::{DbConfig, summary};
use watchdog_core::config::{AppConfig, Environment, Loader, Origin, ProblemKind, SecurityConfig};
use watchdog_core::{Error, ErrorKind, Secret, SecretSource};

#[test]
fn a_loaded_tuple_knows_where_every_value_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let (toml, dotenv, secret) =
        (folder.path().join("w.toml"), folder.path().join(".env"), folder.path().join("secret"));
    fs::write(
        &toml,
        "[db]\nhost = \"file\"\nport = 1111\nname = \"file\"\nuser = \"file\"\n[app]\nallowed_origins = []\n",
    )
    .unwrap();
    fs::write(&dotenv, "# two below the file\nWATCHDOG_DB_PORT=2222\nWATCHDOG_DB_NAME='dotenv'\n")
        .unwrap();
    fs::write(&secret, "0123,\n").unwrap();
    let loaded = Loader::from_vars([
        ("WATCHDOG_CONFIG_FILE", toml.to_str().unwrap()),
        ("WATCHDOG_DB_NAME", "env"),
        ("WATCHDOG_DB_USER", ""),
        ("WATCHDOG_DB_PASSWORD_FILE", secret.to_str().unwrap()),
    ])
    .with_dotenv(&dotenv)
    .load::<(DbConfig, AppConfig)>()
    .unwrap();
    let (db, app) = &*loaded;
    assert_eq!(
        (db.host.as_deref(), db.port, db.name.as_deref()),
        (Some("file"), 2222, Some("env"))
    );
    assert_eq!(db.user.as_deref(), Some("file"), "an empty variable is unset");
    assert_eq!(db.password.as_ref().unwrap().expose(), "0123,");
    assert_eq!(app, &AppConfig::default());
    for (variable, origin) in [
        ("WATCHDOG_DB_HOST", Origin::File(toml)),
        ("WATCHDOG_DB_PORT", Origin::Dotenv(dotenv, 2)),
        ("WATCHDOG_DB_NAME", Origin::Env("WATCHDOG_DB_NAME".into())),
        ("WATCHDOG_DB_PASSWORD", Origin::SecretFile(secret)),
        ("WATCHDOG_DB_POOL_SIZE", Origin::Default),
    ] {
        assert_eq!(loaded.origin(variable), Some(&origin), "{variable}");
    }
    assert_eq!(loaded.origin("WATCHDOG_DB_COLOUR"), None);
    assert_eq!(loaded.origins().count(), 7 + 5);
    assert_eq!(loaded.environment(), Environment::Development);
    assert!(loaded.warnings().is_empty());
}

#[test]
fn the_dotenv_file_is_for_development_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "WATCHDOG_LOG_LEVEL=debug\nWATCHDOG_NONSENSE=1\n").unwrap();
    let production = [("WATCHDOG_ENV", "production")];
    let loaded = Loader::from_vars(production).with_dotenv(&path).load::<AppConfig>().unwrap();
    assert_eq!(loaded.log_level, AppConfig::default().log_level);
    assert!(loaded.warnings()[0].to_string().ends_with(".env: not read in production"));

    fs::write(&path, "WATCHDOG_ENV=production\nWATCHDOG_CONFIG_FILE=x\nA=1\nA=2\nwrong\n").unwrap();
    let none: [(&str, &str); 0] = [];
    let error = Loader::from_vars(none).with_dotenv(&path).load::<AppConfig>().unwrap_err();
    let file = path.display();
    assert_eq!(
        summary(&error),
        [
            format!("{file} malformed"),
            "A contradictory".into(),
            "WATCHDOG_CONFIG_FILE contradictory".into(),
            "WATCHDOG_ENV contradictory".into(),
        ]
    );
    let missing = Loader::from_vars(none).with_dotenv(folder.path().join("none"));
    assert_eq!(
        missing.load::<AppConfig>().unwrap_err().problems()[0].kind(),
        ProblemKind::Unreadable
    );
}

#[test]
fn the_toml_file_is_checked_to_its_last_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let none: [(&str, &str); 0] = [];
    let loader = Loader::from_vars(none).with_file(&path);
    let load = |content: &str| {
        fs::write(&path, content).unwrap();
        loader.load::<(DbConfig, AppConfig)>()
    };
    let error = load(
        "[db]\nprot = 1\npassword = 123\nport = \"x\"\n[bd]\n[redis]\nurl = \"r\"\n[app]\nenv = 1\n",
    );
    assert_eq!(
        summary(&error.unwrap_err()),
        [
            "WATCHDOG_DB_PASSWORD malformed",
            "WATCHDOG_DB_PORT malformed",
            "WATCHDOG_ENV malformed",
            "bd unknown",
            "db.prot unknown"
        ]
    );
    let error = load("[db]\nport = \"hunter2\n").unwrap_err();
    assert_eq!(error.problems()[0].hint(), "line 2 cannot be read as TOML");
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = load("[db]\npassword = \"a\"\npassword_file = \"b\"\n").unwrap_err();
    assert_eq!(summary(&error), ["WATCHDOG_DB_PASSWORD+WATCHDOG_DB_PASSWORD_FILE conflict"]);
    let error = load("db = 1\n").unwrap_err();
    assert_eq!(summary(&error), ["db malformed"]);
    let secret = folder.path().join("secret");
    fs::write(&secret, "s").unwrap();
    let loaded = load(&format!("[db]\npassword_file = '{}'\n", secret.display())).unwrap();
    assert_eq!(loaded.0.password.as_ref().unwrap().expose(), "s");
    let error = load("[app]\nenv = \"production\"\nallowed_origins = [\"*\"]\n").unwrap_err();
    assert_eq!(summary(&error), ["WATCHDOG_ALLOWED_ORIGINS unsafe"]);
    fs::remove_file(&path).unwrap();
    let error = loader.load::<AppConfig>().unwrap_err();
    assert_eq!(summary(&error), ["WATCHDOG_CONFIG_FILE unreadable"]);
}

#[test]
fn a_secret_survives_unchanged() {
    for secret in [
        "0123",
        "123",
        "true",
        "1,2,3",
        " a ",
        "#a b",
        "\"q\"",
        "'q'",
        "[1, 2]",
        "{\"a\": 1}",
        "a=b",
    ] {
        let loaded =
            Loader::from_vars([("WATCHDOG_DB_PASSWORD", secret)]).load::<DbConfig>().unwrap();
        assert_eq!(loaded.password.as_ref().unwrap().expose(), secret);
        assert!(loaded.warnings().is_empty());
    }
    let loaded = Loader::from_vars([("WATCHDOG_DB_PASSWORD", "a\n")]).load::<DbConfig>().unwrap();
    assert_eq!(
        loaded.warnings()[0].to_string(),
        "WATCHDOG_DB_PASSWORD: the secret ends with a line end"
    );
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_text_are_named() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let bytes = OsString::from_vec(vec![b'h', 0xff]);
    let loader = Loader::from_vars([(OsString::from("WATCHDOG_DB_HOST"), bytes)]);
    let error = loader.load::<DbConfig>().unwrap_err();
    assert_eq!(summary(&error), ["WATCHDOG_DB_HOST malformed"]);
    assert_eq!(error.problems()[0].expected(), "UTF-8 text");
}

#[derive(Debug)]
struct Vault {
    down: bool,
}

#[async_trait]
impl SecretSource for Vault {
    fn name(&self) -> &str {
        "vault"
    }

    async fn fetch(&self, variable: &str) -> watchdog_core::Result<Option<Secret<String>>> {
        assert_ne!(variable, "WATCHDOG_JWT_SECRET", "the environment has it");
        match variable {
            _ if self.down => Err(Error::new(ErrorKind::Unavailable, "no answer from the vault")),
            "WATCHDOG_DB_PASSWORD" => Ok(Some(Secret::from("from the vault"))),
            "WATCHDOG_ENCRYPTION_KEY" => Err(Error::new(ErrorKind::Refused, "not allowed")),
            _ => Ok(None),
        }
    }
}

#[tokio::test]
async fn secrets_come_from_a_source_below_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, "[db]\npassword = \"from the file\"\n").unwrap();
    let loader = Loader::from_vars([("WATCHDOG_JWT_SECRET", "env")]).with_file(&path);
    let loading = loader.load_with::<DbConfig>(&Vault { down: false });
    assert!(is_send(&loading), "it can be spawned");
    let loaded = loading.await.unwrap();
    assert_eq!(loaded.password.as_ref().unwrap().expose(), "from the vault");
    assert_eq!(loaded.origin("WATCHDOG_DB_PASSWORD").unwrap().to_string(), "source:vault");

    let dotenv = folder.path().join(".env");
    fs::write(&dotenv, "WATCHDOG_DB_PASSWORD=development\n").unwrap();
    let none: [(&str, &str); 0] = [];
    let below = Loader::from_vars(none).with_dotenv(&dotenv);
    let loaded = below.load_with::<DbConfig>(&Vault { down: false }).await.unwrap();
    assert_eq!(loaded.password.as_ref().unwrap().expose(), "from the vault");

    let error = loader.load_with::<(DbConfig, SecurityConfig)>(&Vault { down: false }).await;
    assert_eq!(summary(&error.unwrap_err()), ["WATCHDOG_ENCRYPTION_KEY unreadable"]);

    let loader = Loader::from_vars([("WATCHDOG_ENV", "production"), ("WATCHDOG_JWT_SECRET", "x")]);
    let error = loader.load_with::<SecurityConfig>(&Vault { down: true }).await.unwrap_err();
    insta::assert_snapshot!(error, @r#"
    configuration is not usable: 2 problems (environment: production)
      WATCHDOG_JWT_SECRET is unsafe [env:WATCHDOG_JWT_SECRET]; expected a secret of at least 32 bytes; make one with: openssl rand -base64 48
      WATCHDOG_SECRET_KEY, WATCHDOG_SECRET_KEY_PREVIOUS, WATCHDOG_JWT_SECRET_PREVIOUS, WATCHDOG_ENCRYPTION_KEY, WATCHDOG_ENCRYPTION_KEY_PREVIOUS are unreadable [source:vault]; expected an answer of the secret source; no answer from the vault
    "#);
}

fn is_send<T: Send>(_: &T) -> bool {
    true
}

#[cfg(unix)]
#[test]
fn the_name_of_a_configuration_file_that_cannot_be_read_is_reported() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let variable = (OsString::from("WATCHDOG_CONFIG_FILE"), OsString::from_vec(vec![0xff, b'x']));
    let error = Loader::from_vars([variable]).load::<AppConfig>().unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert_eq!(error.problems()[0].variables(), ["WATCHDOG_CONFIG_FILE"]);
    assert_eq!(error.problems()[0].kind(), ProblemKind::Malformed);
}

#[test]
fn an_environment_of_another_type_in_the_file_means_the_strict_rules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    let none: [(&str, &str); 0] = [];
    for content in ["env = 5", "env = [\"development\"]", "env = { name = \"development\" }"] {
        fs::write(&path, format!("[app]\n{content}\n")).unwrap();
        let loader = Loader::from_vars(none).with_file(&path);
        let with_app = loader.load::<AppConfig>().unwrap_err();
        let without = loader.load::<SecurityConfig>().unwrap_err();
        for error in [with_app, without] {
            assert!(error.to_string().contains("(environment: production)"), "{error}");
            let mut problems = error.problems().iter();
            let is_env = |variables: &[String]| variables == ["WATCHDOG_ENV"];
            assert!(problems.any(|problem| is_env(problem.variables())), "{content}: {error}");
        }
    }
}
