//! Loading sections the way an application does, from given variables and files.

mod stand_ins;

use std::fs;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stand_ins::{AuditConfig, DbConfig, SessionConfig};
use watchdog_core::config::{
    AppConfig, ByteSize, ConfigError, Environment, ForecastConfig, Loader, NovaConfig, Origin,
    Problem, ProblemKind, Section, SecurityConfig,
};
use watchdog_core::{Error, ErrorKind, Secret, SecretSource};

/// Kind and variables of every problem.
fn summary(error: &ConfigError) -> Vec<String> {
    let line = |problem: &Problem| {
        format!("{} {}", problem.variables().join("+"), problem.kind().as_str())
    };
    error.problems().iter().map(line).collect()
}

/// The nine mistakes, each of its own kind, in one environment.
fn nine_mistakes() -> Vec<(&'static str, &'static str)> {
    vec![
        ("WATCHDOG_ENV", "production"),
        ("WATCHDOG_JWT_SECRET", "8f5e1c0a7b3d9e2f4a6c8b0d1e3f5a7c"),
        // 1: WATCHDOG_SECRET_KEY is missing.
        ("WATCHDOG_ENCRYPTION_KEY", "${ENCRYPTION_KEY}"), // 2
        ("WATCHDOG_AUTH_COOKIE_SECURE", "false"),         // 3
        ("WATCHDOG_DB_HOST", "db.internal"),
        ("WATCHDOG_DB_PORT", "70000"),                           // 4
        ("WATCHDOG_DB_POOL_SIZE", "five"),                       // 5
        ("WATCHDOG_DB_PASSWORD", "hunter2"),                     // 6: both
        ("WATCHDOG_DB_PASSWORD_FILE", "/run/secrets/db"),        // 6
        ("WATCHDOG_SESION_TIMEOUT", "30min"),                    // 7
        ("WATCHDOG_AUDIT_RETENTION_DAYS", "90"),                 // 8
        ("WATCHDOG_AUDIT_LOG_TTL_SECONDS", "86400"),             // 8
        ("WATCHDOG_AUDIT_SIGNING_KEY_FILE", "/nonexistent/key"), // 9
    ]
}

#[test]
fn nine_mistakes_give_nine_lines() {
    let error = Loader::from_vars(nine_mistakes())
        .load::<(AppConfig, SecurityConfig, DbConfig, SessionConfig, AuditConfig)>()
        .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    configuration is not usable: 9 problems (environment: production)
      WATCHDOG_AUDIT_RETENTION_DAYS, WATCHDOG_AUDIT_LOG_TTL_SECONDS are contradictory [env:WATCHDOG_AUDIT_RETENTION_DAYS, env:WATCHDOG_AUDIT_LOG_TTL_SECONDS]; expected one retention; set one of the two, or days * 86400 = seconds
      WATCHDOG_AUDIT_SIGNING_KEY_FILE is unreadable [env:WATCHDOG_AUDIT_SIGNING_KEY_FILE]; expected a file that holds the secret; no such file: is the secret mounted?
      WATCHDOG_AUTH_COOKIE_SECURE is unsafe [env:WATCHDOG_AUTH_COOKIE_SECURE]; expected true; anybody on the way could read the session cookie: serve over TLS
      WATCHDOG_DB_PASSWORD, WATCHDOG_DB_PASSWORD_FILE are set twice [env:WATCHDOG_DB_PASSWORD]; expected one of the two; unset one of them
      WATCHDOG_DB_POOL_SIZE is malformed [env:WATCHDOG_DB_POOL_SIZE]; expected a whole number from 1 to 1000; without it the default is 5
      WATCHDOG_DB_PORT is out of range [env:WATCHDOG_DB_PORT]; expected a port, from 1 to 65535; without it the default is 5432
      WATCHDOG_ENCRYPTION_KEY is an unresolved placeholder [env:WATCHDOG_ENCRYPTION_KEY]; expected a secret; nobody replaced the placeholder; a secret that looks like one goes into a file named by its _FILE variable
      WATCHDOG_SECRET_KEY is missing; expected a secret of at least 32 bytes; make one with: openssl rand -base64 48
      WATCHDOG_SESION_TIMEOUT is unknown [env:WATCHDOG_SESION_TIMEOUT]; expected a variable of the configuration; did you mean WATCHDOG_SESSION_TIMEOUT?
    "#);
    assert_eq!((error.problems().len(), error.to_string().lines().count()), (9, 10));
    assert_eq!(error.to_json()["problems"].as_array().unwrap().len(), 9);
    assert_eq!(Error::from(error).kind(), ErrorKind::Config);
}

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

#[test]
fn a_kubernetes_service_link_is_named_as_such() {
    let error = Loader::from_vars([
        ("WATCHDOG_DB_PORT", "tcp://10.0.0.7:5432"),
        ("WATCHDOG_DB_SERVICE_HOST", "10.0.0.7"),
    ])
    .load::<DbConfig>()
    .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    configuration is not usable: 1 problem (environment: development)
      WATCHDOG_DB_PORT is a Kubernetes service link [env:WATCHDOG_DB_PORT]; expected a port, from 1 to 65535; set enableServiceLinks: false in the pod's spec, or rename the Service
    "#);
    let loaded = Loader::from_vars([
        ("WATCHDOG_DB_SERVICE_HOST", "10.0.0.7"),
        ("WATCHDOG_DB_PORT_5432_TCP", "tcp://10.0.0.7:5432"),
    ])
    .load::<DbConfig>()
    .unwrap();
    assert_eq!(loaded.warnings().len(), 2);
}

#[test]
fn names_that_others_own_are_not_unknown() {
    // systemd sets the first two for a unit with WatchdogSec=.
    let loaded = Loader::from_vars([
        ("WATCHDOG_USEC", "30000000"),
        ("WATCHDOG_PID", "7"),
        ("WATCHDOG_REDIS_URL", "redis://cache"),
        ("WATCHDOG_UNSET", ""),
        ("PATH", "/bin"),
        ("DB_HOST", "elsewhere"),
    ])
    .load::<AppConfig>();
    assert!(loaded.is_ok());
}

#[test]
fn unknown_names_are_answered_with_what_was_meant() {
    let error = Loader::from_vars([
        ("WATCHDG_DB_HOST", "a"),
        ("WATCHDOG_DB__PORT", "1"),
        ("WATCHDOG_DB_NAME_FILE", "/a"),
        ("WATCHDOG_COFFEE", "yes"),
        ("watchdog_db_user", "a"),
        ("WATCHDOG_EVIL\n\u{1b}[2J", "a"),
    ])
    .load::<DbConfig>()
    .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    configuration is not usable: 6 problems (environment: development)
      WATCHDG_DB_HOST is unknown [env:WATCHDG_DB_HOST]; expected a variable of the configuration; did you mean WATCHDOG_DB_HOST?
      WATCHDOG_COFFEE is unknown [env:WATCHDOG_COFFEE]; expected a variable of the configuration; nothing reads it: remove it, or load the section it belongs to
      WATCHDOG_DB_NAME_FILE is unknown [env:WATCHDOG_DB_NAME_FILE]; expected a variable of the configuration; only secrets are read from files: set WATCHDOG_DB_NAME itself
      WATCHDOG_DB__PORT is unknown [env:WATCHDOG_DB__PORT]; expected a variable of the configuration; did you mean WATCHDOG_DB_PORT?
      WATCHDOG_EVIL\n\u{1b}[2J is unknown [env:WATCHDOG_EVIL\n\u{1b}[2J]; expected a variable of the configuration; nothing reads it: remove it, or load the section it belongs to
      watchdog_db_user is unknown [env:watchdog_db_user]; expected a variable of the configuration; did you mean WATCHDOG_DB_USER?
    "#);
}

#[test]
fn a_malformed_environment_means_the_strictest_rules() {
    for sections in ["loaded", "not loaded"] {
        let loader = Loader::from_vars([("WATCHDOG_ENV", "prod"), ("WATCHDOG_SECRET_KEY", "a")]);
        let error = match sections {
            "loaded" => loader.load::<(AppConfig, SecurityConfig)>().unwrap_err(),
            _ => loader.load::<SecurityConfig>().unwrap_err(),
        };
        assert_eq!(
            summary(&error),
            [
                "WATCHDOG_ENCRYPTION_KEY missing",
                "WATCHDOG_ENV malformed",
                "WATCHDOG_JWT_SECRET missing",
                "WATCHDOG_SECRET_KEY unsafe"
            ]
        );
    }
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

/// The settings of somebody's application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct ShopConfig {
    /// The shop's name.
    name: String,
    /// Largest picture.
    #[serde(default)]
    picture_limit: ByteSize,
    #[serde(default)]
    mail: Mail,
    /// A payment provider, if there is one.
    payment: Option<Payment>,
    #[serde(default)]
    weights: Vec<Weight>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Mail {
    from_address: String,
    #[serde(with = "watchdog_core::config::duration")]
    #[schemars(with = "watchdog_core::config::duration::Schema", extend("x-env" = "SMTP_TIMEOUT"))]
    timeout: Duration,
}

impl Default for Mail {
    fn default() -> Self {
        Self { from_address: "shop@localhost".into(), timeout: Duration::from_secs(10) }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Payment {
    api_key: Secret<String>,
    retries: u8,
}

/// Even only, which no schema says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
struct Weight(u32);

impl TryFrom<u32> for Weight {
    type Error = String;

    fn try_from(value: u32) -> Result<Self, String> {
        if value.is_multiple_of(2) { Ok(Self(value)) } else { Err(format!("{value} is odd")) }
    }
}

impl Section for ShopConfig {
    const NAME: &'static str = "shop";
    const PREFIX: &'static str = "SHOP";
}

#[test]
fn an_application_adds_a_section_of_its_own() {
    let loaded = Loader::from_vars([
        ("SHOP_NAME", "Corner"),
        ("SHOP_PICTURE_LIMIT", "8MiB"),
        ("SMTP_TIMEOUT", "30"),
        ("SHOP_WEIGHTS", "2, 4"),
    ])
    .load::<(ShopConfig, AppConfig)>()
    .unwrap();
    let shop = &loaded.0;
    assert_eq!((shop.name.as_str(), shop.picture_limit), ("Corner", ByteSize::mebibytes(8)));
    assert_eq!(shop.mail.timeout, Duration::from_secs(30));
    assert_eq!(shop.mail.from_address, "shop@localhost");
    assert_eq!((shop.payment.as_ref(), shop.weights.len()), (None, 2));
}

#[test]
fn a_part_that_may_be_left_out_is_needed_whole_once_it_is_begun() {
    let error = Loader::from_vars([
        ("SHOP_PAYMENT_API_KEY", "k"),
        ("SHOP_WEIGHTS", "3"),
        ("SHOP_NAMME", "Corner"),
        ("SHOP_PICTURE_LIMIT", "8 MiB"),
    ])
    .load::<ShopConfig>()
    .unwrap_err();
    assert_eq!(
        summary(&error),
        [
            "SHOP_NAME missing",
            "SHOP_NAMME unknown",
            "SHOP_PAYMENT_RETRIES missing",
            "SHOP_PICTURE_LIMIT malformed",
            "SHOP_WEIGHTS malformed"
        ]
    );
    assert!(!error.to_string().contains("odd"), "what serde says may hold the value");
}

#[test]
fn sections_loaded_elsewhere_can_be_made_known() {
    let vars = [("SHOP_MAIL_FROM_ADDRESS", "a@b"), ("SHOP_PAGES_LIMIT", "7")];
    #[derive(Deserialize, JsonSchema)]
    struct Pages {
        limit: u8,
    }
    impl Section for Pages {
        const NAME: &'static str = "pages";
        const PREFIX: &'static str = "SHOP_PAGES";
    }
    let loaded = Loader::from_vars(vars).load::<Pages>().unwrap();
    assert_eq!(loaded.limit, 7);
    let error = Loader::from_vars(vars).load::<ShopConfig>().unwrap_err();
    assert_eq!(summary(&error), ["SHOP_NAME missing", "SHOP_PAGES_LIMIT unknown"]);
    let error = Loader::from_vars(vars).with_known::<Pages>().load::<ShopConfig>().unwrap_err();
    assert_eq!(summary(&error), ["SHOP_NAME missing"]);
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
    let loaded = loader.load_with::<DbConfig>(&Vault { down: false }).await.unwrap();
    assert_eq!(loaded.password.as_ref().unwrap().expose(), "from the vault");
    assert_eq!(loaded.origin("WATCHDOG_DB_PASSWORD").unwrap().to_string(), "source:vault");

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

#[test]
fn the_sections_of_the_family_have_the_documented_defaults() {
    let none: [(&str, &str); 0] = [];
    let loaded = Loader::from_vars(none)
        .load::<(AppConfig, SecurityConfig, ForecastConfig, NovaConfig)>()
        .unwrap();
    let (app, security, forecast, nova) = loaded.into_inner();
    assert_eq!(app, AppConfig::default());
    assert_eq!(security, SecurityConfig::default());
    assert_eq!(
        (forecast.max_history.to_string().as_str(), forecast.confidence_level),
        ("2years", 0.8)
    );
    assert_eq!((nova.rate_limit.to_string().as_str(), nova.timeout.as_secs()), ("100/min", 30));
}
