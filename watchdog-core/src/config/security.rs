//! The `security` section: keys and the session cookie.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::development_keys;
use super::{Check, Section};
use crate::error::{Error, ErrorKind, Result};
use crate::keyring::{KeyRing, MIN_SECRET_BYTES, RootKeys};
use crate::secret::Secret;

/// Keys and the session cookie.
///
/// Each key has a list of retired predecessors that are still accepted: one on each line of the
/// variable or of the file that `*_PREVIOUS_FILE` names, or a JSON array of strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecurityConfig {
    /// Root of the keys that protect tokens and cookies, at least 32 bytes. Required in production;
    /// development makes one.
    pub secret_key: Option<Secret<String>>,
    /// Retired values of `WATCHDOG_SECRET_KEY` that are still accepted.
    pub secret_key_previous: Vec<Secret<String>>,
    /// Root of the keys that sign access tokens, at least 32 bytes. Required in production;
    /// development makes one.
    pub jwt_secret: Option<Secret<String>>,
    /// Retired values of `WATCHDOG_JWT_SECRET` that are still accepted.
    pub jwt_secret_previous: Vec<Secret<String>>,
    /// Root of the keys that encrypt stored data, at least 32 bytes. Required in production;
    /// development makes one. Data sealed under a lost key is lost.
    pub encryption_key: Option<Secret<String>>,
    /// Retired values of `WATCHDOG_ENCRYPTION_KEY` that still open what they sealed.
    pub encryption_key_previous: Vec<Secret<String>>,
    /// Whether the session cookie is sent over TLS only. Production refuses false.
    pub auth_cookie_secure: bool,
    /// Domain the session cookie is valid for, with its subdomains. Unset means this host only,
    /// which is safer and allows the prefix `__Host-`.
    pub auth_cookie_domain: Option<String>,
    /// Name of the session cookie, without prefix: see `SecurityConfig::cookie_name`.
    #[schemars(length(min = 1, max = 64))]
    pub auth_cookie_name: String,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            secret_key: None,
            secret_key_previous: Vec::new(),
            jwt_secret: None,
            jwt_secret_previous: Vec::new(),
            encryption_key: None,
            encryption_key_previous: Vec::new(),
            auth_cookie_secure: true,
            auth_cookie_domain: None,
            auth_cookie_name: "session".to_owned(),
        }
    }
}

const HOST: &str = "__Host-";
const SECURE: &str = "__Secure-";

impl SecurityConfig {
    /// The name of the session cookie as browsers see it: `__Host-session` when it is secure and
    /// for this host only, `__Secure-session` when it is secure and has a domain, `session` when it
    /// is not secure (RFC 6265bis, section 4.1.3). A configured prefix stays.
    pub fn cookie_name(&self) -> String {
        let name = &self.auth_cookie_name;
        if is_prefixed(name) || !self.auth_cookie_secure {
            return name.clone();
        }
        let prefix = if self.auth_cookie_domain.is_none() { HOST } else { SECURE };
        format!("{prefix}{name}")
    }

    /// The key ring of the configured secrets.
    ///
    /// With a `folder`, secrets that are missing are made once and kept in it, in the file
    /// `development-keys.json` that only its owner may read, and a warning is logged. Two
    /// processes at once agree on them. A secret shorter than 32 bytes is taken with a warning.
    /// A folder that is missing is made for this user alone. **It must not be one that is served,
    /// and not the folder of a bucket of objects**: whoever reads objects would read the keys.
    /// **Give a folder in development only**; loading refuses missing and short secrets in
    /// production, and so does this without a folder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when a secret is missing or short and there is no folder, or when one
    /// stands twice; [`ErrorKind::Unavailable`] when the folder cannot be used.
    pub fn key_ring(&self, folder: Option<&Path>) -> Result<KeyRing> {
        let missing = self.keys().iter().any(|key| key.current.is_none());
        let made = match folder {
            Some(folder) if missing => Some(development_keys::open(folder)?),
            _ => None,
        };
        let [secret, jwt, encryption] = self.keys().map(|key| {
            let kept = made.as_ref().and_then(|keys| keys.secret(key.field));
            let current = key.current.or(kept).ok_or_else(|| {
                Error::new(ErrorKind::Key, format_args!("no value for {}", key.field))
            })?;
            if folder.is_none() {
                return RootKeys::new(current, key.previous);
            }
            if current.expose().len() < MIN_SECRET_BYTES {
                tracing::warn!(
                    field = key.field,
                    "key is shorter than {MIN_SECRET_BYTES} bytes; production refuses it"
                );
            }
            RootKeys::of_any_length(current, key.previous)
        });
        Ok(KeyRing { secret: secret?, jwt: jwt?, encryption: encryption? })
    }

    fn keys(&self) -> [Key<'_>; 3] {
        [
            Key {
                field: "secret_key",
                retired: "secret_key_previous",
                current: self.secret_key.as_ref(),
                previous: &self.secret_key_previous,
            },
            Key {
                field: "jwt_secret",
                retired: "jwt_secret_previous",
                current: self.jwt_secret.as_ref(),
                previous: &self.jwt_secret_previous,
            },
            Key {
                field: "encryption_key",
                retired: "encryption_key_previous",
                current: self.encryption_key.as_ref(),
                previous: &self.encryption_key_previous,
            },
        ]
    }

    fn check_cookie(&self, check: &mut Check<'_>) {
        let name = &self.auth_cookie_name;
        // The token characters of RFC 9110, section 5.6.2.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if !name.chars().all(token) {
            check.problem(
                &["auth_cookie_name"],
                "letters, digits and - _ . without white space",
                "a cookie name is a token (RFC 6265, section 4.1.1)",
            );
        }
        if !self.auth_cookie_secure {
            check.unsafe_in_production(
                &["auth_cookie_secure"],
                "true",
                "anybody on the way could read the session cookie: serve over TLS",
            );
            if is_prefixed(name) {
                check.problem(
                    &["auth_cookie_name", "auth_cookie_secure"],
                    "a name without prefix, or a secure cookie",
                    "browsers drop a cookie with the prefix __Host- or __Secure- that is not secure",
                );
            }
        }
        if self.auth_cookie_domain.is_some() && name.starts_with(HOST) {
            check.problem(
                &["auth_cookie_domain", "auth_cookie_name"],
                "no domain, or a name without the prefix __Host-",
                "browsers drop a cookie with the prefix __Host- that has a domain: use __Secure-",
            );
        }
        if self.auth_cookie_domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
            check.problem(
                &["auth_cookie_domain"],
                "a domain name (example.org)",
                "leave out scheme, port and path",
            );
        }
    }
}

struct Key<'a> {
    field: &'static str,
    retired: &'static str,
    current: Option<&'a Secret<String>>,
    previous: &'a [Secret<String>],
}

impl Key<'_> {
    fn check(&self, check: &mut Check<'_>) {
        const EXPECTED: &str = "a secret of at least 32 bytes";
        const HINT: &str = "make one with: openssl rand -base64 48";
        match self.current {
            None => {
                check.unsafe_in_production(&[self.field], EXPECTED, HINT);
                if !self.previous.is_empty() {
                    check.problem(
                        &[self.field, self.retired],
                        "a current secret beside the retired ones",
                        "set the current secret; retired ones only verify and open",
                    );
                }
            }
            Some(current) => {
                if is_short(current) {
                    check.unsafe_in_production(&[self.field], EXPECTED, HINT);
                }
                if self.previous.contains(current) {
                    check.problem(
                        &[self.field, self.retired],
                        "retired secrets that differ from the current one",
                        "take the current secret from the list",
                    );
                }
            }
        }
        if self.previous.iter().any(is_short) {
            check.unsafe_in_production(
                &[self.retired],
                "secrets of at least 32 bytes, one on each line or as a JSON array",
                "take short ones from the list; commas do not separate",
            );
        }
    }
}

impl Section for SecurityConfig {
    const NAME: &'static str = "security";
    const PREFIX: &'static str = "WATCHDOG";

    fn check(&self, check: &mut Check<'_>) {
        let keys = self.keys();
        for (position, key) in keys.iter().enumerate() {
            key.check(check);
            let twin = keys[..position]
                .iter()
                .find(|other| other.current.is_some() && other.current == key.current);
            if let Some(twin) = twin {
                check.warn(
                    &[twin.field, key.field],
                    "the same secret: one that leaks gives the other away",
                );
            }
        }
        self.check_cookie(check);
    }
}

fn is_short(secret: &Secret<String>) -> bool {
    secret.expose().len() < MIN_SECRET_BYTES
}

fn is_prefixed(name: &str) -> bool {
    name.starts_with(HOST) || name.starts_with(SECURE)
}

fn is_domain(text: &str) -> bool {
    let labels = text.strip_prefix('.').unwrap_or(text);
    let letters = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    labels.split('.').all(|label| !label.is_empty() && letters(label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Loader};

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn load(variables: &[(&str, &str)]) -> Result<SecurityConfig, ConfigError> {
        let loaded = Loader::from_vars(variables.iter().copied()).load::<SecurityConfig>()?;
        Ok(loaded.into_inner())
    }

    fn kinds(variables: &[(&str, &str)]) -> Vec<String> {
        let error = load(variables).unwrap_err();
        let line = |problem: &crate::config::Problem| {
            format!("{} {}", problem.variables().join("+"), problem.kind().as_str())
        };
        error.problems().iter().map(line).collect()
    }

    #[test]
    fn the_cookie_gets_the_strictest_prefix_it_can_have() {
        let mut config = SecurityConfig::default();
        assert_eq!(config.cookie_name(), "__Host-session");
        config.auth_cookie_domain = Some("example.org".into());
        assert_eq!(config.cookie_name(), "__Secure-session");
        config.auth_cookie_secure = false;
        assert_eq!(config.cookie_name(), "session");
        config.auth_cookie_name = "__Secure-mine".into();
        assert_eq!(config.cookie_name(), "__Secure-mine");
    }

    #[test]
    fn development_refuses_nothing_but_contradictions() {
        assert!(load(&[]).is_ok());
        assert!(load(&[("WATCHDOG_SECRET_KEY", "short")]).is_ok());
        assert!(load(&[("WATCHDOG_AUTH_COOKIE_SECURE", "false")]).is_ok());
        assert_eq!(
            kinds(&[
                ("WATCHDOG_AUTH_COOKIE_SECURE", "false"),
                ("WATCHDOG_AUTH_COOKIE_DOMAIN", "example.org"),
                ("WATCHDOG_AUTH_COOKIE_NAME", "__Host-x"),
            ]),
            [
                "WATCHDOG_AUTH_COOKIE_DOMAIN+WATCHDOG_AUTH_COOKIE_NAME contradictory",
                "WATCHDOG_AUTH_COOKIE_NAME+WATCHDOG_AUTH_COOKIE_SECURE contradictory",
            ]
        );
        assert_eq!(
            kinds(&[("WATCHDOG_JWT_SECRET_PREVIOUS", KEY)]),
            ["WATCHDOG_JWT_SECRET+WATCHDOG_JWT_SECRET_PREVIOUS contradictory"]
        );
        assert_eq!(
            kinds(&[
                ("WATCHDOG_SECRET_KEY", KEY),
                ("WATCHDOG_SECRET_KEY_PREVIOUS", &format!("{KEY}2\n{KEY}"))
            ]),
            ["WATCHDOG_SECRET_KEY+WATCHDOG_SECRET_KEY_PREVIOUS contradictory"]
        );
    }

    #[test]
    fn production_refuses_missing_and_short_keys() {
        assert_eq!(
            kinds(&[
                ("WATCHDOG_ENV", "production"),
                ("WATCHDOG_SECRET_KEY", KEY),
                ("WATCHDOG_SECRET_KEY_PREVIOUS", "short"),
                ("WATCHDOG_JWT_SECRET", "short"),
                ("WATCHDOG_AUTH_COOKIE_SECURE", "false"),
            ]),
            [
                "WATCHDOG_AUTH_COOKIE_SECURE unsafe",
                "WATCHDOG_ENCRYPTION_KEY missing",
                "WATCHDOG_JWT_SECRET unsafe",
                "WATCHDOG_SECRET_KEY_PREVIOUS unsafe",
            ]
        );
    }

    #[test]
    fn without_a_folder_a_missing_or_short_key_is_refused() {
        let config = SecurityConfig::default();
        assert_eq!(config.key_ring(None).unwrap_err().kind(), ErrorKind::Key);
        let short = Some(Secret::from("hunter2"));
        let config = SecurityConfig {
            secret_key: short.clone(),
            jwt_secret: short.clone(),
            encryption_key: short,
            ..config
        };
        let error = config.key_ring(None).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn development_keys_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let tag = |config: &SecurityConfig| {
            let ring = config.key_ring(Some(folder.path())).unwrap();
            let tag = |keys: &RootKeys| keys.mac("test").unwrap().tag(b"message");
            [tag(&ring.secret), tag(&ring.jwt), tag(&ring.encryption)]
        };
        let made = tag(&SecurityConfig::default());
        assert_eq!(tag(&SecurityConfig::default()), made);
        assert!(made[0] != made[1] && made[1] != made[2]);
        let given = SecurityConfig { jwt_secret: Some(Secret::from(KEY)), ..Default::default() };
        let given = tag(&given);
        assert_eq!((given[0], given[2]), (made[0], made[2]));
        assert_ne!(given[1], made[1]);
    }
}
