//! The `session` section of the configuration.

use std::borrow::Cow;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::Secret;
use watchdog_core::config::{Check, Environment, Section, duration};

use crate::proxies;

/// Most sessions one user may hold at once, whatever is configured: all of them stand in one hash
/// that the login script reads whole.
pub const MAX_CONCURRENT_LIMIT: u32 = 256;

/// Longest grace period: a replaced refresh token is an attack surface while it lasts.
pub const MAX_GRACE: Duration = Duration::from_secs(60);

/// Longest life of an access token. A revocation is remembered for as long, so that whoever checks
/// tokens without asking the store hears of it.
pub const MAX_ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Longest absolute lifetime: ten years of 365 days. Beyond some time a sum of milliseconds is no
/// longer exact in the scripts.
pub const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Where sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In Redis: shared by all processes, survives restarts.
    Redis,
    /// In the memory of this process: for development and tests.
    Memory,
}

/// What a login does when its user holds as many sessions as allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitPolicy {
    /// Ends the session that was issued first.
    #[default]
    EvictOldest,
    /// Ends the session that has not been used for the longest time.
    EvictLeastRecentlyUsed,
    /// Refuses the login.
    Reject,
}

/// How much of its address a session is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpBinding {
    /// Nothing.
    Off,
    /// The network: /24 of IPv4, /64 of IPv6.
    Prefix,
    /// The whole address.
    Exact,
}

/// How much of its user agent a session is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentBinding {
    /// Nothing.
    Off,
    /// The browser family and the operating system, without versions.
    Family,
    /// The whole text: an update of the browser counts as another client.
    Exact,
}

/// What becomes of a request whose client does not fit the binding of its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MismatchAction {
    /// It is served, and an event tells.
    Log,
    /// It is refused; the session lives on for its own client.
    #[default]
    Refuse,
    /// It is refused until the user has authenticated again.
    StepUp,
    /// It is refused, and the session ends.
    Revoke,
}

/// Which header a trusted proxy writes the client's address into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How long sessions live and what they are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionConfig {
    /// Where sessions live. Without a value: `redis` when `WATCHDOG_REDIS_URL` is set, else
    /// `memory`, which production refuses.
    pub store: Option<StoreKind>,
    /// Idle timeout: a session not used for this long is over. Use is noted once a minute, so it
    /// may end up to a minute (a thirtieth of the timeout, when that is more) early.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub timeout: Duration,
    /// Absolute lifetime: a session is over after this long, however busy. At most ten years.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub max_lifetime: Duration,
    /// Whether a session is refused from any other address than the one it was issued to. Mobile
    /// clients change theirs often; neither OWASP ASVS nor NIST SP 800-63B asks for it.
    pub enforce_same_ip: bool,
    /// Whether a session is refused from another browser family or operating system than the one
    /// it was issued to. Versions do not count.
    pub enforce_same_agent: bool,
    /// How much of its address a session is bound to. Without a value `exact` when
    /// `WATCHDOG_SESSION_ENFORCE_SAME_IP` is true, else `off`.
    pub ip_binding: Option<IpBinding>,
    /// How much of its user agent a session is bound to. Without a value `family` when
    /// `WATCHDOG_SESSION_ENFORCE_SAME_AGENT` is true, else `off`.
    pub agent_binding: Option<AgentBinding>,
    /// What becomes of a request whose client does not fit the binding of its session.
    pub mismatch_action: MismatchAction,
    /// Proxies in front of the service, as addresses or networks (`10.0.0.0/8`): only they are
    /// believed about the client's address.
    pub trusted_proxies: Vec<String>,
    /// The header that trusted proxies write the client's address into.
    pub forwarded_header: ForwardedHeader,
    /// Whether a refresh returns a new refresh token. Off, a stolen refresh token is not noticed.
    pub refresh_token_rotation: bool,
    /// Most sessions of one user.
    #[schemars(range(min = 1, max = 256))]
    pub concurrent_limit: u32,
    /// What a login beyond the limit does.
    pub concurrent_policy: LimitPolicy,
    /// How long a replaced refresh token still gets the same successor, for parallel refreshes and
    /// lost answers. At most 60 s.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub grace: Duration,
    /// Lifetime of an access token, shortened by up to 5 % at random so that refreshes spread. At
    /// most an hour.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub access_token_lifetime: Duration,
    /// Private Ed25519 key that signs access tokens (PKCS#8, PEM). Without it they are signed with
    /// HS256 under `WATCHDOG_JWT_SECRET`, and only those who hold that secret can check them.
    pub access_token_key: Option<Secret<String>>,
    /// Retired keys whose access tokens are still accepted: private (PKCS#8) or public (SPKI), PEM.
    pub access_token_key_previous: Vec<Secret<String>>,
    /// Most sessions kept in the memory of this process, so that a check needs no round trip; 0
    /// turns the cache off.
    #[schemars(range(max = 10_000_000))]
    pub local_cache: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            store: None,
            timeout: Duration::from_secs(1800),
            max_lifetime: Duration::from_secs(28_800),
            enforce_same_ip: false,
            enforce_same_agent: true,
            ip_binding: None,
            agent_binding: None,
            mismatch_action: MismatchAction::Refuse,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            refresh_token_rotation: true,
            concurrent_limit: 5,
            concurrent_policy: LimitPolicy::EvictOldest,
            grace: Duration::from_secs(10),
            access_token_lifetime: Duration::from_secs(300),
            access_token_key: None,
            access_token_key_previous: Vec::new(),
            local_cache: 0,
        }
    }
}

impl SessionConfig {
    /// Where sessions live, given whether a Redis is configured.
    pub fn effective_store(&self, redis_is_configured: bool) -> StoreKind {
        match self.store {
            Some(store) => store,
            None if redis_is_configured => StoreKind::Redis,
            None => StoreKind::Memory,
        }
    }

    /// How much of its address a session is bound to.
    pub fn effective_ip_binding(&self) -> IpBinding {
        let by_flag = if self.enforce_same_ip { IpBinding::Exact } else { IpBinding::Off };
        self.ip_binding.unwrap_or(by_flag)
    }

    /// How much of its user agent a session is bound to.
    pub fn effective_agent_binding(&self) -> AgentBinding {
        let by_flag =
            if self.enforce_same_agent { AgentBinding::Family } else { AgentBinding::Off };
        self.agent_binding.unwrap_or(by_flag)
    }

    /// How old the noted last use may grow before it is written again: `max(60 s, timeout/30)`,
    /// and never more than half the timeout.
    pub(crate) fn touch_interval(&self) -> Duration {
        Duration::from_secs(60).max(self.timeout / 30).min(self.timeout / 2)
    }

    /// What holds in every environment.
    pub(crate) fn contradictions(&self) -> Vec<Problem> {
        let second = Duration::from_secs(1);
        let mut found = Vec::new();
        let mut rule = |broken: bool, fields, expected, hint| {
            if broken {
                let (expected, hint) = (Cow::Borrowed(expected), Cow::Borrowed(hint));
                found.push(Problem { fields, expected, hint });
            }
        };
        rule(
            self.timeout < second,
            &["timeout"],
            "at least 1s",
            "sessions need some time between two requests; the default is 1800s",
        );
        rule(
            self.timeout > self.max_lifetime,
            &["timeout", "max_lifetime"],
            "an idle timeout no longer than the absolute lifetime",
            "lower WATCHDOG_SESSION_TIMEOUT or raise WATCHDOG_SESSION_MAX_LIFETIME",
        );
        rule(
            self.max_lifetime > MAX_LIFETIME,
            &["max_lifetime"],
            "at most ten years (315360000s)",
            "a session that long never ends by itself; the default is 28800s",
        );
        rule(
            self.grace >= self.timeout,
            &["grace", "timeout"],
            "a grace period shorter than the idle timeout",
            "lower WATCHDOG_SESSION_GRACE; the default is 10s",
        );
        rule(
            self.grace > MAX_GRACE,
            &["grace"],
            "at most 60s",
            "a long grace period hides the theft of a refresh token; the default is 10s",
        );
        rule(
            self.access_token_lifetime < second,
            &["access_token_lifetime"],
            "at least 1s",
            "the default is 300s",
        );
        rule(
            self.access_token_lifetime > MAX_ACCESS_TOKEN_LIFETIME,
            &["access_token_lifetime"],
            "at most an hour (3600s)",
            "an access token is checked without asking whether its session was revoked; the \
             default is 300s",
        );
        rule(
            self.enforce_same_ip && self.ip_binding == Some(IpBinding::Off),
            &["enforce_same_ip", "ip_binding"],
            "one of them only, or both of one mind",
            "WATCHDOG_SESSION_IP_BINDING=off contradicts WATCHDOG_SESSION_ENFORCE_SAME_IP=true: \
             remove one",
        );
        rule(
            self.access_token_lifetime > self.timeout,
            &["access_token_lifetime", "timeout"],
            "an access token lifetime no longer than the idle timeout",
            "lower WATCHDOG_SESSION_ACCESS_TOKEN_LIFETIME; the default is 300s",
        );
        rule(
            !(1..=MAX_CONCURRENT_LIMIT).contains(&self.concurrent_limit),
            &["concurrent_limit"],
            "a number from 1 to 256",
            "the default is 5",
        );
        found.extend(crate::access::unusable_key(self).map(|(field, _)| key_problem(field)));
        found.extend(self.proxy_problems());
        found
    }

    /// What is wrong with each of the trusted proxies. None of them is a secret.
    fn proxy_problems(&self) -> impl Iterator<Item = Problem> {
        self.trusted_proxies.iter().filter_map(|text| {
            let wrong = proxies::network(text).err()?;
            let given: String = text.chars().take(64).collect();
            Some(Problem {
                fields: &["trusted_proxies"],
                expected: Cow::Borrowed("addresses and networks, such as 10.0.0.0/8"),
                hint: Cow::Owned(format!("`{given}` {wrong}")),
            })
        })
    }

    /// What holds in `environment`, given whether a Redis is configured.
    pub(crate) fn store_problem(
        &self,
        environment: Environment,
        redis_is_configured: bool,
    ) -> Option<Problem> {
        match self.effective_store(redis_is_configured) {
            StoreKind::Redis if !redis_is_configured => Some(Problem {
                fields: &["store"],
                expected: "WATCHDOG_REDIS_URL to be set with it".into(),
                hint: "set WATCHDOG_REDIS_URL, or WATCHDOG_SESSION_STORE=memory in development"
                    .into(),
            }),
            StoreKind::Memory if environment.is_strict() => Some(Problem {
                fields: &["store"],
                expected: "redis outside development".into(),
                hint: "sessions in memory end with the process and are unknown to its siblings: \
                       set WATCHDOG_REDIS_URL"
                    .into(),
            }),
            _ => None,
        }
    }
}

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) fields: &'static [&'static str],
    pub(crate) expected: Cow<'static, str>,
    pub(crate) hint: Cow<'static, str>,
}

fn key_problem(field: &str) -> Problem {
    if field == "access_token_key" {
        Problem {
            fields: &["access_token_key"],
            expected: "one private Ed25519 key in PEM, as `openssl genpkey -algorithm ed25519` \
                       makes it"
                .into(),
            hint: "a key in several lines is best kept in a file, named by \
                   WATCHDOG_SESSION_ACCESS_TOKEN_KEY_FILE"
                .into(),
        }
    } else {
        Problem {
            fields: &["access_token_key_previous"],
            expected: "Ed25519 keys in PEM, private or public, one in each value and none twice"
                .into(),
            hint: "`openssl pkey -pubout` turns a private key into its public one".into(),
        }
    }
}

impl Section for SessionConfig {
    const NAME: &'static str = "session";
    const PREFIX: &'static str = "WATCHDOG_SESSION";

    fn check(&self, check: &mut Check<'_>) {
        let redis_is_configured = check.is_variable_set("WATCHDOG_REDIS_URL");
        let store = self.store_problem(check.environment(), redis_is_configured);
        for problem in self.contradictions().into_iter().chain(store) {
            check.problem(problem.fields, problem.expected, problem.hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(config: &SessionConfig) -> Vec<&'static [&'static str]> {
        config.contradictions().into_iter().map(|problem| problem.fields).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_defaults_hold_together() {
        assert_eq!(SessionConfig::default().contradictions(), []);
    }

    #[test]
    fn every_contradiction_is_reported_at_once() {
        let config = SessionConfig {
            timeout: seconds(100),
            max_lifetime: seconds(50),
            grace: seconds(100),
            access_token_lifetime: seconds(101),
            concurrent_limit: 0,
            ..SessionConfig::default()
        };
        let expected: [&[&str]; 5] = [
            &["timeout", "max_lifetime"],
            &["grace", "timeout"],
            &["grace"],
            &["access_token_lifetime", "timeout"],
            &["concurrent_limit"],
        ];
        assert_eq!(fields(&config), expected);
    }

    #[test]
    fn the_edges_of_the_ranges_hold() {
        let edge = SessionConfig {
            timeout: seconds(61),
            max_lifetime: seconds(61),
            grace: seconds(60),
            access_token_lifetime: seconds(61),
            concurrent_limit: 256,
            ..SessionConfig::default()
        };
        assert_eq!(fields(&edge), [] as [&[&str]; 0]);
        let beyond = SessionConfig { concurrent_limit: 257, ..edge };
        assert_eq!(fields(&beyond), [&["concurrent_limit"]]);
        let longest = SessionConfig { max_lifetime: MAX_LIFETIME, ..SessionConfig::default() };
        assert_eq!(fields(&longest), [] as [&[&str]; 0]);
        let longer = SessionConfig { max_lifetime: MAX_LIFETIME + seconds(1), ..longest };
        assert_eq!(fields(&longer), [&["max_lifetime"]]);
        let zero = SessionConfig {
            timeout: seconds(0),
            access_token_lifetime: seconds(0),
            grace: seconds(0),
            ..SessionConfig::default()
        };
        let expected: [&[&str]; 3] =
            [&["timeout"], &["grace", "timeout"], &["access_token_lifetime"]];
        assert_eq!(fields(&zero), expected);
    }

    #[test]
    fn bindings_follow_the_flags_unless_they_are_set() {
        let config = SessionConfig::default();
        assert_eq!(config.effective_ip_binding(), IpBinding::Off);
        assert_eq!(config.effective_agent_binding(), AgentBinding::Family);
        let config = SessionConfig { enforce_same_ip: true, enforce_same_agent: false, ..config };
        assert_eq!(config.effective_ip_binding(), IpBinding::Exact);
        assert_eq!(config.effective_agent_binding(), AgentBinding::Off);
        let set = SessionConfig {
            ip_binding: Some(IpBinding::Prefix),
            agent_binding: Some(AgentBinding::Exact),
            ..config
        };
        assert_eq!(set.effective_ip_binding(), IpBinding::Prefix);
        assert_eq!(set.effective_agent_binding(), AgentBinding::Exact);
        assert_eq!(set.contradictions(), []);
        let torn = SessionConfig { ip_binding: Some(IpBinding::Off), ..set };
        assert_eq!(fields(&torn), [&["enforce_same_ip", "ip_binding"]]);
    }

    #[test]
    fn each_proxy_that_is_none_is_reported_with_its_value() {
        let proxies = ["10.0.0.0/8", "10.0.0.1/8", "::1", "proxy.example", "0.0.0.0/0"];
        let config = SessionConfig {
            trusted_proxies: proxies.map(str::to_owned).to_vec(),
            ..SessionConfig::default()
        };
        assert_eq!(fields(&config), [["trusted_proxies"]; 3]);
        let hints: Vec<_> =
            config.contradictions().into_iter().map(|problem| problem.hint).collect();
        for (hint, value) in hints.iter().zip(["10.0.0.1/8", "proxy.example", "0.0.0.0/0"]) {
            assert!(hint.contains(&format!("`{value}`")), "{hint}");
        }
    }

    #[test]
    fn the_store_follows_redis_and_memory_is_refused_where_it_is_strict() {
        let mut config = SessionConfig::default();
        assert_eq!(config.effective_store(true), StoreKind::Redis);
        assert_eq!(config.effective_store(false), StoreKind::Memory);
        assert!(config.store_problem(Environment::Production, true).is_none());
        assert!(config.store_problem(Environment::Production, false).is_some());
        assert!(config.store_problem(Environment::Staging, false).is_some());
        assert!(config.store_problem(Environment::Development, false).is_none());
        config.store = Some(StoreKind::Memory);
        assert_eq!(config.effective_store(true), StoreKind::Memory);
        assert!(config.store_problem(Environment::Production, true).is_some());
        config.store = Some(StoreKind::Redis);
        assert!(config.store_problem(Environment::Development, false).is_some());
    }

    #[test]
    fn last_use_is_written_once_a_minute_or_a_thirtieth_of_the_timeout() {
        let with = |timeout| {
            SessionConfig { timeout: seconds(timeout), ..SessionConfig::default() }.touch_interval()
        };
        assert_eq!(with(1800), seconds(60));
        assert_eq!(with(36_000), seconds(1200));
        assert_eq!(with(10), seconds(5));
    }

    #[test]
    fn values_read_as_the_variables_are_written() {
        let config: SessionConfig = serde_json::from_str(
            r#"{"store": "redis", "timeout": "30min", "grace": "5", "concurrent_limit": 3}"#,
        )
        .unwrap();
        assert_eq!(config.store, Some(StoreKind::Redis));
        assert_eq!(config.timeout, seconds(1800));
        assert_eq!(config.grace, seconds(5));
        assert_eq!(config.concurrent_limit, 3);
        assert!(config.refresh_token_rotation);
    }
}
