//! The `storage` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::Secret;
use watchdog_core::config::{Check, Section, duration};

use super::{endpoint, rules};

/// Where objects are kept.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct StorageConfig {
    /// Where objects are kept. Memory is refused in production.
    #[serde(rename = "type")]
    pub kind: StorageType,
    /// The directory of the type `local`; made when it is missing.
    #[schemars(extend("format" = "path"))]
    pub local_path: PathBuf,
    /// The bucket of the type `s3`.
    #[schemars(extend("x-env" = "WATCHDOG_S3"))]
    pub s3: S3Config,
}

/// Where objects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StorageType {
    /// S3 or a compatible store.
    S3,
    /// A local directory.
    #[default]
    Local,
    /// The memory of this process.
    Memory,
}

/// A bucket on S3 or a compatible store.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct S3Config {
    /// Host, host and port, or URL of the store. Unset means AWS.
    pub endpoint: Option<String>,
    /// Region, as requests are signed for it.
    pub region: String,
    /// Name of the bucket. It must exist.
    pub bucket: Option<String>,
    /// Access key id. With neither key, the credentials of the surroundings are used: the `AWS_*`
    /// variables that say who we are (nothing else of `AWS_*` is read), web identity, container
    /// or instance role.
    pub access_key: Option<Secret<String>>,
    /// Secret access key.
    pub secret_key: Option<Secret<String>>,
    /// Whether an endpoint without a scheme is spoken to over TLS.
    pub secure: bool,
    /// Whether the bucket is in the path instead of the host name. Unset means: with an endpoint
    /// of one's own, or when the name holds a dot.
    pub path_style: Option<bool>,
    /// PEM file of the certificate authorities to trust, in place of the system's.
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<PathBuf>,
    /// How long one try may take, content included.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub request_timeout: Duration,
    /// How long connecting may take.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub connect_timeout: Duration,
    /// How long after the first try another one may begin, while somebody waits.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub retry_budget: Duration,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            kind: StorageType::default(),
            local_path: ".watchdog/storage".into(),
            s3: S3Config::default(),
        }
    }
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".into(),
            bucket: None,
            access_key: None,
            secret_key: None,
            secure: true,
            path_style: None,
            tls_ca: None,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            retry_budget: Duration::from_secs(5),
        }
    }
}

impl S3Config {
    pub(super) fn is_path_style(&self) -> bool {
        let bucket = self.bucket.as_deref().unwrap_or_default();
        endpoint::is_path_style(self.path_style, self.endpoint.is_some(), bucket)
    }
}

impl Section for StorageConfig {
    const NAME: &'static str = "storage";
    const PREFIX: &'static str = "WATCHDOG_STORAGE";

    fn check(&self, check: &mut Check<'_>) {
        let circumstances = rules::Circumstances {
            is_strict: check.environment().is_strict(),
            is_secure_set: check.is_set("s3.secure"),
        };
        for problem in rules::problems(self, circumstances) {
            if problem.is_unsafe {
                check.unsafe_in_production(problem.fields, problem.expected, problem.hint);
            } else {
                check.problem(problem.fields, problem.expected, problem.hint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_reads_what_its_variables_say() {
        let text = r#"{"type": "s3", "s3": {"bucket": "b-1", "secret_key": "0012",
            "request_timeout": "30s", "path_style": true}}"#;
        let config: StorageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.kind, StorageType::S3);
        assert_eq!(config.s3.secret_key.as_ref().map(Secret::expose), Some("0012"));
        assert_eq!(config.s3.request_timeout, Duration::from_secs(30));
        assert_eq!(config.s3.retry_budget, Duration::from_secs(5));
        assert!(config.s3.secure && config.s3.is_path_style());
        assert_eq!(config.local_path, PathBuf::from(".watchdog/storage"));
    }

    #[test]
    fn the_schema_carries_names_defaults_and_the_prefix_of_s3() {
        let schema = schemars::schema_for!(StorageConfig).to_value();
        let properties = &schema["properties"];
        assert_eq!(properties["type"]["default"], "local");
        assert_eq!(properties["local_path"]["default"], ".watchdog/storage");
        assert_eq!(properties["s3"]["x-env"], "WATCHDOG_S3");
        let s3 = &schema["$defs"]["S3Config"]["properties"];
        assert_eq!(s3["secure"]["default"], true);
        assert_eq!(s3["request_timeout"]["default"], "10s");
        assert_eq!(s3["request_timeout"]["format"], "duration");
        assert!(s3["secret_key"].to_string().contains("password"), "{}", s3["secret_key"]);
    }
}
