//! The reference of a section that has one field of every interesting kind.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::Secret;
use watchdog_core::config::reference::Reference;
use watchdog_core::config::{Check, Loader, Section, duration};

/// A mail server.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct MailConfig {
    /// Host of
    /// the server | or a socket.
    host: String,
    /// Port of the server.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
    /// Password.
    password: Option<Secret<String>>,
    /// Who may send.
    #[serde(default)]
    senders: Vec<String>,
    #[serde(default)]
    retry: Retry,
}

/// When to try again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Retry {
    /// Pause between two tries.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { pause: Duration::from_millis(250) }
    }
}

fn port() -> u16 {
    25
}

impl Section for MailConfig {
    const NAME: &'static str = "mail";
    const PREFIX: &'static str = "MAIL";

    fn check(&self, check: &mut Check<'_>) {
        if self.password.is_none() {
            check.unsafe_in_production(&["password"], "a password", "ask the postmaster");
        }
    }
}

fn reference() -> Reference {
    Reference::new().with::<MailConfig>()
}

/// Without the head, which is the same for all.
fn body<'a>(text: &'a str, from: &str) -> &'a str {
    text.find(from).map_or("", |at| &text[at..])
}

#[test]
fn markdown_has_a_row_for_each_variable() {
    insta::assert_snapshot!(body(&reference().markdown(), "## mail"), @r#"
    ## mail

    A mail server. Table `[mail]` of the TOML file.

    | variable | type | default | meaning |
    |---|---|---|---|
    | `MAIL_HOST` | text | **required** | Host of the server \| or a socket. |
    | `MAIL_PORT` | 1 to 65535 | `25` | Port of the server. |
    | `MAIL_PASSWORD` | secret | **required in production** | Password. |
    | `MAIL_SENDERS` | list: text | unset | Who may send. |
    | `MAIL_RETRY_PAUSE` | duration | `250ms` | Pause between two tries. |
    "#);
}

#[test]
fn the_env_example_shows_defaults_and_what_is_needed() {
    insta::assert_snapshot!(body(&reference().env_example(), "# ---- mail"), @r#"
    # ---- mail ----
    # A mail server.

    # Host of the server | or a socket.
    MAIL_HOST='<text>'

    # Port of the server.
    #MAIL_PORT=25

    # Password.
    # Required in production.
    #MAIL_PASSWORD=

    # Who may send.
    #MAIL_SENDERS=

    # Pause between two tries.
    #MAIL_RETRY_PAUSE=250ms
    "#);
}

#[test]
fn a_placeholder_left_in_the_env_example_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::fs::write(&path, reference().env_example()).unwrap();
    let none: [(&str, &str); 0] = [];
    let error = Loader::from_vars(none).with_dotenv(path).load::<MailConfig>().unwrap_err();
    assert_eq!((error.problems().len(), error.problems()[0].kind().as_str()), (1, "unresolved"));
}

#[test]
fn kubernetes_tells_secrets_from_the_rest() {
    insta::assert_snapshot!(reference().kubernetes("mailer"), @r#"
    # Generated from the sections' schemas. Do not edit: copy, fill in, apply.
    # A placeholder <...> that is left in place is refused at start.
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: mailer-config
    data:
      # ---- mail ----
      # Host of the server | or a socket.
      MAIL_HOST: "<text>"
      # Port of the server.
      # MAIL_PORT: "25"
      # Who may send.
      # MAIL_SENDERS: "<list: text>"
      # Pause between two tries.
      # MAIL_RETRY_PAUSE: "250ms"
    ---
    # Better still, mount secrets as files and name them with *_FILE variables: a file is not inherited
    # by child processes and does not show in a dump of the environment.
    apiVersion: v1
    kind: Secret
    metadata:
      name: mailer-secrets
    type: Opaque
    stringData:
      # ---- mail ----
      # Password.
      # Required in production.
      MAIL_PASSWORD: "<secret>"
    ---
    # The part of a Deployment that uses both.
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: mailer
    spec:
      selector:
        matchLabels:
          app: mailer
      template:
        metadata:
          labels:
            app: mailer
        spec:
          # Without this Kubernetes sets WATCHDOG_DB_PORT=tcp://... for a Service named watchdog-db.
          enableServiceLinks: false
          containers:
            - name: mailer
              image: "<image>"
              envFrom:
                - configMapRef:
                    name: mailer-config
                - secretRef:
                    name: mailer-secrets
    "#);
}

#[test]
fn the_json_schema_is_of_the_toml_file() {
    let schema: serde_json::Value = serde_json::from_str(&reference().json_schema()).unwrap();
    let mail = &schema["properties"]["mail"];
    assert_eq!(mail["properties"]["password_file"]["type"], "string");
    assert_eq!(mail["properties"]["retry"]["$ref"], "#/$defs/mail.Retry");
    assert_eq!(mail["required"], serde_json::json!(["host"]));
    assert_eq!(mail["additionalProperties"], false);
    assert_eq!(mail["x-variables"]["MAIL_RETRY_PAUSE"], "retry.pause");
    let pause = &schema["$defs"]["mail.Retry"]["properties"]["pause"];
    assert_eq!(
        (&pause["type"], &pause["default"]),
        (&serde_json::json!(["string", "integer"]), &"250ms".into())
    );
}

#[test]
fn names_are_listed_with_their_twins() {
    let names = [
        "MAIL_HOST",
        "MAIL_PASSWORD",
        "MAIL_PASSWORD_FILE",
        "MAIL_PORT",
        "MAIL_RETRY_PAUSE",
        "MAIL_SENDERS",
    ];
    assert_eq!(reference().variables(), names);
    assert_eq!(reference().sections(), ["mail"]);
    assert!(reference().clashes().is_empty());
    assert_eq!(reference().with::<MailConfig>().clashes().len(), names.len());
}
