//! Settings that go together and settings that do not.

use watchdog_core::Secret;
use watchdog_core::config::Section as _;

use super::super::url::{RedisUrl, Topology};
use super::RedisConfig;
use crate::error::ErrorKind;

fn url(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap()
}

fn config(text: &str) -> RedisConfig {
    RedisConfig::from_url(text).unwrap()
}

/// The fields that a configuration is refused for.
fn refused(config: &RedisConfig) -> Vec<&'static str> {
    config.problems().iter().flat_map(|(fields, ..)| fields.iter().copied()).collect()
}

#[test]
fn urls_of_every_deployment() {
    let one = url("redis://host");
    assert_eq!(one.hosts, [("host".to_owned(), 6379)]);
    assert_eq!((one.topology, one.tls, one.db), (Topology::Standalone, false, None));
    assert_eq!((one.username, one.password), (None, None));
    let full = url("rediss://us%40er:p%3Aw@[::1]:7000/15");
    assert_eq!(full.hosts, [("::1".to_owned(), 7000)]);
    assert_eq!(full.username.as_deref(), Some("us@er"));
    assert_eq!(full.password, Some(Secret::from("p:w")));
    assert_eq!((full.tls, full.db), (true, Some(15)));
    let cluster = url("redis-cluster://a:1?node=b:2&node=[::1]:3&node=c");
    let hosts = ["a", "b", "::1", "c"].map(str::to_owned).into_iter().zip([1, 2, 3, 6379]);
    assert_eq!(cluster.hosts, hosts.collect::<Vec<_>>());
    assert_eq!(cluster.topology, Topology::Cluster);
    let sentinel = url("rediss-sentinel://:pw@a?node=b:2&sentinelServiceName=main");
    assert_eq!(sentinel.hosts, [("a".to_owned(), 26_379), ("b".to_owned(), 2)]);
    assert_eq!((sentinel.topology, sentinel.tls), (Topology::Sentinel, true));
    assert_eq!(sentinel.service.as_deref(), Some("main"));
    assert_eq!(sentinel.username, None);
}

#[test]
fn urls_that_are_none_are_refused_without_showing_them() {
    for text in [
        "",
        "host:6379",
        "http://hunter2@host",
        "redis://",
        "redis:///0",
        "redis://:hunter2@host/db",
        "redis://:hunter2@host/256",
        "redis://:hunter2@host/-1",
        "redis://:hunter2@host?node=other",
        "redis://:hunter2@host?timeout=1",
        "redis-cluster://:hunter2@host?sentinelServiceName=x",
        "redis-cluster://:hunter2@host?node=",
        "redis-cluster://:hunter2@host?node=b:99999",
        "redis://:hunter2%ff@host",
        "unix:///run/hunter2",
    ] {
        let error = RedisConfig::from_url(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn no_secret_shows_in_any_form() {
    let mut config = config("redis-sentinel://user:hunter2@a:1/3?node=b:2");
    config.password = Some(Secret::from("hunter2"));
    config.sentinel_password = Some(Secret::from("hunter2"));
    let forms = [
        format!("{config:?}"),
        format!("{config:#?}"),
        serde_json::to_string(&config).unwrap(),
        config.url.as_ref().unwrap().to_string(),
    ];
    for form in forms {
        assert!(!form.contains("hunter2") && !form.contains("user:"), "{form}");
        assert!(form.contains("redis-sentinel://[redacted]@a:1/3?node=b:2"), "{form}");
    }
    // A malformed value must not appear in the error of the deserialiser either.
    let error = serde_json::from_str::<RedisConfig>(r#"{"url": "http://:hunter2@host"}"#);
    assert!(!error.unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn a_url_survives_what_it_prints_unless_it_holds_a_password() {
    for text in ["redis://a:6379", "rediss-cluster://a:1?node=b:2&node=c:3", "redis://a:1/7"] {
        assert_eq!(url(text).to_string(), text);
    }
    assert_eq!(url("redis://[::1]:1").to_string(), "redis://[::1]:1");
}

#[test]
fn the_defaults_mean_no_redis_and_are_sound() {
    let config: RedisConfig = serde_json::from_str("{}").unwrap();
    assert!(!config.is_configured());
    assert!(refused(&config).is_empty());
    assert_eq!(config.key_prefix, "wd");
    assert_eq!(RedisConfig::PREFIX, "WATCHDOG_REDIS");
    assert!(serde_json::from_str::<RedisConfig>(r#"{"ulr": "x"}"#).is_err());
}

#[test]
fn contradictions_name_both_fields() {
    let case = |url: &str, change: fn(&mut RedisConfig)| {
        let mut config = config(url);
        change(&mut config);
        refused(&config)
    };
    let with_password = |config: &mut RedisConfig| config.password = Some(Secret::from("x"));
    assert_eq!(case("redis://:p@a", with_password), ["url", "password"]);
    assert!(case("redis://a", with_password).is_empty());
    let with_user = |config: &mut RedisConfig| config.username = Some("x".to_owned());
    assert_eq!(case("redis://u:p@a", with_user), ["url", "username"]);
    assert_eq!(case("redis://a", with_user), ["password"]);
    assert_eq!(case("redis://u@a", |_| ()), ["password"]);
    let with_db = |config: &mut RedisConfig| config.db = 2;
    assert_eq!(case("redis://a/1", with_db), ["url", "db"]);
    assert!(case("redis://a/2", with_db).is_empty());
    assert_eq!(case("redis-cluster://a", with_db), ["db"]);
    assert_eq!(case("redis-cluster://a/1", |_| ()), ["url", "db"]);
    assert!(case("redis-cluster://a/0", |_| ()).is_empty());
    assert_eq!(case("rediss://a", |config| config.ssl = Some(false)), ["url", "ssl"]);
    assert!(case("redis://a", |config| config.ssl = Some(false)).is_empty());
    let with_authority = |config: &mut RedisConfig| config.tls_ca = Some("ca.pem".into());
    assert_eq!(case("redis://a", with_authority), ["tls_ca"]);
    assert!(case("rediss://a", with_authority).is_empty());
    assert_eq!(case("redis://a", |config| config.attempts = 0), ["attempts"]);
    assert_eq!(case("redis://a", |config| config.pool_size = 0), ["pool_size"]);
    assert_eq!(case("redis://a", |config| config.max_buffer = 0), ["max_buffer"]);
    assert_eq!(
        case("redis://a", |config| config.command_timeout = std::time::Duration::ZERO),
        ["command_timeout"]
    );
    assert_eq!(
        case("redis://a", |config| config.reconnect_min = config.reconnect_max * 2),
        ["reconnect_min", "reconnect_max"]
    );
}

#[test]
fn the_switch_makes_tls_of_a_plain_url() {
    let mut config = config("redis://a");
    assert!(!config.uses_tls());
    config.ssl = Some(true);
    assert!(config.uses_tls() && refused(&config).is_empty());
}

#[test]
fn the_url_comes_before_the_database_and_after_the_user() {
    let mut config = config("redis://u:p@a/4");
    assert_eq!(config.database(), 4);
    assert_eq!(config.effective_username(), Some("u"));
    assert_eq!(config.effective_password(), Some("p"));
    config.url = Some(url("redis://a"));
    config.db = 5;
    assert_eq!(config.database(), 5);
    assert_eq!(config.effective_password(), None);
}

#[test]
fn a_wrong_url_is_explained_by_the_loader_and_not_shown() {
    for text in ["localhost:6379", "http://:hunter2@x", "hunter2"] {
        let loader = watchdog_core::config::Loader::from_vars([("WATCHDOG_REDIS_URL", text)]);
        let error = loader.load::<RedisConfig>().unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("rediss-sentinel://host[:port][/db]"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("localhost"), "{shown}");
        assert!(!shown.contains("the type of the field"), "{shown}");
    }
}
