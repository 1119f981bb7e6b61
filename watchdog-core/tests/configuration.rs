//! Loading sections the way an application does, from given variables and files.

mod stand_ins;

use std::fs;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stand_ins::{AuditConfig, DbConfig, SessionConfig, summary};
use watchdog_core::config::{
    AppConfig, ByteSize, Check, ForecastConfig, Loader, NovaConfig, Origin, Section, SecurityConfig,
};
use watchdog_core::{Error, ErrorKind, Secret};

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
      WATCHDOG_AUDIT_SIGNING_KEY_FILE is unreadable [env:WATCHDOG_AUDIT_SIGNING_KEY_FILE]; expected a file that holds the secret; no such file: is it mounted?
      WATCHDOG_AUTH_COOKIE_SECURE is unsafe [env:WATCHDOG_AUTH_COOKIE_SECURE]; expected true; anybody on the way could read the session cookie: serve over TLS
      WATCHDOG_DB_PASSWORD, WATCHDOG_DB_PASSWORD_FILE are set twice [env:WATCHDOG_DB_PASSWORD, env:WATCHDOG_DB_PASSWORD_FILE]; expected one of the two; unset one of them
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

/// A section whose rules look around.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct RulesConfig {
    first: u32,
    second: Option<u32>,
    part: Part,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Part {
    depth: u32,
    label: Option<String>,
}

impl Default for Part {
    fn default() -> Self {
        Self { depth: 1, label: None }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { first: 1, second: None, part: Part { depth: 7, label: None } }
    }
}

impl Section for RulesConfig {
    const NAME: &'static str = "rules";
    const PREFIX: &'static str = "RULES";

    fn check(&self, check: &mut Check<'_>) {
        if check.is_variable_set("WATCHDOG_REDIS_URL") {
            check.warn(&["first"], "there is a Redis");
        }
        if check.is_set("part.label") && self.first == 2 {
            check.problem(&["first"], "not 2", "hint");
        }
        if self.first == 3 {
            check.problem(&["second"], "something beside 3", "hint");
        }
        if self.first == 4 {
            check.problem(&["first", "part.depth"], "no 4", "hint");
        }
        check.unsafe_in_production(&["second"], "a second", "hint");
        check.unsafe_in_production(&["first", "part.depth"], "something safe", "hint");
    }
}

#[test]
fn rules_see_what_is_set_and_where_it_runs() {
    let load =
        |vars: &[(&str, &str)]| Loader::from_vars(vars.iter().copied()).load::<RulesConfig>();
    let kinds = |vars: &[(&str, &str)]| summary(&load(vars).unwrap_err());
    assert!(load(&[]).unwrap().warnings().is_empty());
    assert_eq!(load(&[("WATCHDOG_REDIS_URL_FILE", "/x")]).unwrap().warnings().len(), 1);
    assert!(load(&[("RULES_FIRST", "2")]).is_ok());
    assert_eq!(kinds(&[("RULES_FIRST", "2"), ("RULES_PART_LABEL", "x")]), ["RULES_FIRST refused"]);
    assert_eq!(kinds(&[("RULES_FIRST", "3")]), ["RULES_SECOND missing"]);
    assert_eq!(kinds(&[("RULES_FIRST", "4")]), ["RULES_FIRST+RULES_PART_DEPTH contradictory"]);
    assert_eq!(
        kinds(&[("WATCHDOG_ENV", "staging")]),
        ["RULES_FIRST+RULES_PART_DEPTH unsafe", "RULES_SECOND missing"]
    );
    // The rule that names a malformed field is silent: the first problem is the cause.
    assert_eq!(
        kinds(&[("WATCHDOG_ENV", "staging"), ("RULES_PART_DEPTH", "x")]),
        ["RULES_PART_DEPTH malformed", "RULES_SECOND missing"]
    );
}

#[test]
fn rules_see_the_table_of_a_section_that_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, "[redis]\nurl = \"redis://cache\"\n").unwrap();
    let none: [(&str, &str); 0] = [];
    let loaded = Loader::from_vars(none).with_file(&path).load::<RulesConfig>().unwrap();
    assert_eq!(loaded.warnings().len(), 1);
}

#[test]
fn a_part_that_is_set_in_part_keeps_the_defaults_of_the_whole() {
    let loaded = Loader::from_vars([("RULES_PART_LABEL", "x")]).load::<RulesConfig>().unwrap();
    assert_eq!((loaded.part.depth, loaded.part.label.as_deref()), (7, Some("x")));
    assert_eq!(loaded.origin("RULES_PART_DEPTH"), Some(&Origin::Default));
}
