//! No secret shows, however a configuration is printed and however loading it fails.

mod stand_ins;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stand_ins::{AuditConfig, DbConfig, SessionConfig};
use watchdog_core::config::reference::Reference;
use watchdog_core::config::{AppConfig, ConfigError, Loader, SecurityConfig};
use watchdog_core::{Error, ErrorKind, Secret, SecretSource};

type All = (AppConfig, SecurityConfig, DbConfig, SessionConfig, AuditConfig);

/// Part of every secret and of every malformed value here.
const SENTINEL: &str = "s3nt1n3l";

fn secret(number: u32) -> String {
    format!("{SENTINEL}-{number:032}")
}

#[track_caller]
fn assert_clean(text: &str) {
    assert!(!text.contains(SENTINEL), "{text}");
    assert!(!text.contains(&format!("{:?}", SENTINEL.as_bytes())[1..20]), "{text}");
}

fn secrets() -> Vec<(String, String)> {
    let names = [
        "SECRET_KEY",
        "SECRET_KEY_PREVIOUS",
        "JWT_SECRET",
        "JWT_SECRET_PREVIOUS",
        "ENCRYPTION_KEY",
        "ENCRYPTION_KEY_PREVIOUS",
        "DB_PASSWORD",
        "AUDIT_SIGNING_KEY",
    ];
    let numbered = names.iter().zip(0..);
    numbered.map(|(name, number)| (format!("WATCHDOG_{name}"), secret(number))).collect()
}

/// Everything that can be printed of an error.
fn print_error(error: ConfigError) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.to_json());
    for problem in error.problems() {
        let _ = write!(text, "{problem} {problem:?} {:?} {}", problem.origins(), problem.hint());
    }
    let error = Error::from(error);
    let _ = write!(text, "{error} {error:?}");
    text
}

#[test]
fn a_loaded_configuration_shows_no_secret() {
    let loader = Loader::from_vars(secrets());
    let loaded = loader.load::<All>().unwrap();
    assert!(loaded.1.secret_key.as_ref().unwrap().expose().contains(SENTINEL));
    assert_eq!(loaded.1.jwt_secret_previous.len(), 1);
    let mut text = format!("{loader:?} {loaded:?} {loaded:#?} {:?}", loaded.warnings());
    for (variable, origin) in loaded.origins() {
        let _ = write!(text, "{variable} {origin} {origin:?}");
    }
    let (app, security, db, session, audit) = &*loaded;
    text += &serde_json::to_string_pretty(&(app, security, db, session, audit)).unwrap();
    let ring = security.key_ring(None).unwrap();
    let _ = write!(text, "{ring:?} {ring:#?}");
    let _ = write!(text, "{:?}", ring.secret.mac("p").unwrap());
    let _ = write!(text, "{:?}", ring.secret.cipher("p").unwrap());
    let _ = write!(text, "{:?}", ring.secret.derive("p").unwrap());
    assert_clean(&text);
    assert!(text.contains("[redacted]"));
}

#[test]
fn a_reference_shows_no_default_of_a_secret() {
    let reference = Reference::new().with::<All>();
    assert_clean(&format!("{reference:?}{}{}", reference.markdown(), reference.env_example()));
    assert_clean(&format!("{}{}", reference.json_schema(), reference.kubernetes("x")));
}

/// Every text that a value can take on the way to its error.
fn spoilt() -> Vec<String> {
    let s = SENTINEL;
    vec![
        s.into(),
        format!(" {s}"),
        format!("\"{s}\""),
        format!("${{{s}}}"),
        format!("$({s})"),
        format!("{{{{ {s} }}}}"),
        format!("<{s}>"),
        format!("tcp://{s}:1"),
        format!("{s},,"),
        format!("1{s}"),
        format!("-{s}"),
        format!("{s}\n"),
        format!("[\"{s}\"]"),
        format!("{s}m"),
    ]
}

#[test]
fn no_error_shows_a_value_of_the_environment() {
    let names = Reference::new().with::<All>().variables();
    for value in spoilt() {
        let vars = names.iter().map(|name| (name.as_str(), value.as_str()));
        let vars = vars.chain([("WATCHDOG_NONSENSE", value.as_str()), ("WATCHDG_DB_HOST", &value)]);
        assert_clean(&print_error(Loader::from_vars(vars).load::<All>().unwrap_err()));
        for name in &names {
            let one = [(name.as_str(), value.as_str()), ("WATCHDOG_ENV", "production")];
            assert_clean(&print_error(Loader::from_vars(one).load::<All>().unwrap_err()));
        }
    }
}

#[test]
fn no_error_shows_a_value_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (toml, dotenv) = (folder.path().join("w.toml"), folder.path().join(".env"));
    let none: [(&str, &str); 0] = [];
    for value in spoilt() {
        let text = serde_json::to_string(&value).unwrap();
        for content in [
            format!("[db]\nport = {text}\npool_size = [{text}]\nuser = {{ a = {text} }}\n"),
            format!("[db]\nunknown = {text}\n[unknown]\nx = {text}\n"),
            format!("[db]\npassword = {text}\npassword_file = {text}\n"),
            format!(
                "[db]\npassword = [{text}]\n[security]\nsecret_key_previous = {{ a = {text} }}\n"
            ),
            format!("[db]\npassword = {text}{text}\n"),
            format!("[db]\npassword = \"{value}\n"),
            format!("db = {text}\n"),
            format!("[app]\nenv = {text}\n"),
        ] {
            fs::write(&toml, &content).unwrap();
            let error = Loader::from_vars(none).with_file(&toml).load::<All>().unwrap_err();
            assert_clean(&print_error(error));
        }
        let value = value.replace('\n', "");
        let lines = format!(
            "WATCHDOG_DB_PORT='{value}'\nWATCHDOG_ENV='{value}'\n{value}\nA=\"{value}\nB={value} # x"
        );
        fs::write(&dotenv, lines).unwrap();
        let error = Loader::from_vars(none).with_dotenv(&dotenv).load::<All>().unwrap_err();
        assert_clean(&print_error(error));
    }
}

#[test]
fn no_error_shows_the_content_of_a_secret_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let vars = [("WATCHDOG_DB_PASSWORD_FILE", path.to_str().unwrap()), ("WATCHDOG_DB_PORT", "x")];
    for content in spoilt() {
        fs::write(&path, content).unwrap();
        assert_clean(&print_error(Loader::from_vars(vars).load::<All>().unwrap_err()));
    }
}

#[derive(Debug)]
struct Vault;

#[async_trait]
impl SecretSource for Vault {
    fn name(&self) -> &str {
        "vault"
    }

    async fn fetch(&self, variable: &str) -> watchdog_core::Result<Option<Secret<String>>> {
        match variable {
            "WATCHDOG_DB_PASSWORD" => Err(Error::new(ErrorKind::Refused, "not allowed")),
            _ => Ok(Some(Secret::new(format!("${{{SENTINEL}}}")))),
        }
    }
}

#[tokio::test]
async fn no_error_shows_a_value_of_a_secret_source() {
    let none: [(&str, &str); 0] = [];
    let error = Loader::from_vars(none).load_with::<All>(&Vault).await.unwrap_err();
    assert_clean(&print_error(error));
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::ErrorKind::Other)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_log_shows_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let folder = tempfile::tempdir().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let loaded = Loader::from_vars([("WATCHDOG_SECRET_KEY", SENTINEL)]).load::<All>().unwrap();
        tracing::info!(?loaded, security = ?loaded.1, "loaded");
        assert!(loaded.1.key_ring(None).is_err());
        loaded.1.key_ring(Some(folder.path())).unwrap();
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("development keys are in use") && log.contains("shorter than"), "{log}");
    assert_clean(&log);
    let made = fs::read_to_string(folder.path().join("development-keys.json")).unwrap();
    for key in made.split('"').filter(|text| text.len() == 64) {
        assert!(!log.contains(key));
    }
}
