//! The URL of a Redis deployment.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;
use watchdog_core::{REDACTED, Secret};

/// The URL of a Redis deployment; a password in it never shows.
///
/// | scheme (with TLS) | deployment | example |
/// |---|---|---|
/// | `redis` (`rediss`) | one server | `redis://user:password@host:6379/0` |
/// | `redis-cluster` (`rediss-cluster`) | Cluster | `redis-cluster://host:7000?node=other:7001` |
/// | `redis-sentinel` (`rediss-sentinel`) | Sentinel | `redis-sentinel://host:26379?node=other:26379&sentinelServiceName=mymaster` |
///
/// `node` may be given several times. User and password are percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) topology: Topology,
    pub(super) tls: bool,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret<String>>,
    pub(super) db: Option<u8>,
    pub(super) service: Option<String>,
}

/// How the servers of a deployment stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Standalone,
    Cluster,
    Sentinel,
}

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// A sentence fragment that says what was expected; it never holds the URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "a URL such as redis://host:6379/0")?;
        let (topology, tls) = scheme(url.scheme())?;
        let default_port = if topology == Topology::Sentinel { 26_379 } else { 6_379 };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("a host in the URL")?;
        let mut hosts = vec![(bare(host), url.port().unwrap_or(default_port))];
        let mut service = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "node" => hosts.push(node(&value, default_port)?),
                "sentinelServiceName" if topology == Topology::Sentinel => {
                    service = Some(value.into_owned());
                }
                _ => return Err("no query but node, and sentinelServiceName with Sentinel"),
            }
        }
        if topology == Topology::Standalone && hosts.len() > 1 {
            return Err("one host, unless the scheme names a Cluster or Sentinel");
        }
        let db = match url.path().trim_matches('/') {
            "" => None,
            number => Some(number.parse().map_err(|_| "a database number from 0 to 255")?),
        };
        Ok(Self {
            topology,
            tls,
            hosts,
            username: Some(decoded(url.username())?).filter(|name| !name.is_empty()),
            password: url.password().map(decoded).transpose()?.map(Secret::new),
            db,
            service,
        })
    }
}

fn scheme(scheme: &str) -> Result<(Topology, bool), &'static str> {
    match scheme {
        "redis" => Ok((Topology::Standalone, false)),
        "rediss" => Ok((Topology::Standalone, true)),
        "redis-cluster" => Ok((Topology::Cluster, false)),
        "rediss-cluster" => Ok((Topology::Cluster, true)),
        "redis-sentinel" => Ok((Topology::Sentinel, false)),
        "rediss-sentinel" => Ok((Topology::Sentinel, true)),
        _ => Err("the scheme redis, redis-cluster or redis-sentinel, with rediss for TLS"),
    }
}

fn node(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    const EXPECTED: &str = "node to be host:port";
    let url = Url::parse(&format!("redis://{text}")).map_err(|_| EXPECTED)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
    Ok((bare(host), url.port().unwrap_or(default_port)))
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn decoded(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| "user and password in UTF-8")
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.topology {
            Topology::Standalone => "://",
            Topology::Cluster => "-cluster://",
            Topology::Sentinel => "-sentinel://",
        })?;
        if self.username.is_some() || self.password.is_some() {
            write!(f, "{REDACTED}@")?;
        }
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            f.write_str(["", "?node=", "&node="][index.min(2)])?;
            // An IPv6 address goes back into its brackets.
            if host.contains(':') {
                write!(f, "[{host}]:{port}")?;
            } else {
                write!(f, "{host}:{port}")?;
            }
            if let (0, Some(db)) = (index, self.db) {
                write!(f, "/{db}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::<String>::deserialize(deserializer)?;
        Self::parse(text.expose())
            .map_err(|expected| serde::de::Error::custom(format_args!("expected {expected}")))
    }
}

impl JsonSchema for RedisUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RedisUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // A URL may hold a password: whoever prints configuration has to treat it as a secret.
        json_schema!({
            "type": "string",
            "format": "uri",
            "writeOnly": true,
            "x-expected": "a URL: redis://, rediss://, redis-cluster://, rediss-cluster://, \
                           redis-sentinel:// or rediss-sentinel://host[:port][/db]",
        })
    }
}
