//! What the storage settings must satisfy together: pure decisions.

use super::config::{StorageConfig, StorageType};
use super::endpoint::{self, Unusable};
use crate::error::{Error, ErrorKind, Result};

/// What the rules ask beside the settings themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// What is unsafe is refused.
    pub(super) is_strict: bool,
    /// Somebody set `secure`; it is not only the default.
    pub(super) is_secure_set: bool,
}

/// Fields that are missing, unsafe or contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) fields: &'static [&'static str],
    /// Completes "expected …".
    pub(super) expected: &'static str,
    pub(super) hint: &'static str,
    /// It is refused in production only.
    pub(super) is_unsafe: bool,
}

pub(super) fn problems(config: &StorageConfig, circumstances: Circumstances) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut unless = |holds: bool, fields, expected, hint| {
        if !holds {
            found.push(Problem { fields, expected, hint, is_unsafe: false });
        }
    };
    match config.kind {
        StorageType::Memory if circumstances.is_strict => found.push(Problem {
            fields: &["type"],
            expected: "a storage that outlives the process",
            hint: "objects in memory are lost at every restart; use s3 or local",
            is_unsafe: true,
        }),
        StorageType::Memory => {}
        StorageType::Local => unless(
            !config.local_path.as_os_str().is_empty(),
            &["local_path"],
            "a directory",
            "name a directory that outlives the process",
        ),
        StorageType::S3 => s3(config, circumstances, &mut unless),
    }
    found
}

fn s3(
    config: &StorageConfig,
    circumstances: Circumstances,
    unless: &mut impl FnMut(bool, &'static [&'static str], &'static str, &'static str),
) {
    let s3 = &config.s3;
    let bucket = s3.bucket.as_deref().unwrap_or_default();
    unless(
        endpoint::is_bucket_name(bucket),
        &["s3.bucket"],
        "the name of a bucket: 3 to 63 of a-z, 0-9, '.' and '-'",
        "storage of type s3 needs a bucket that exists; it is not made",
    );
    unless(
        s3.access_key.is_some() == s3.secret_key.is_some(),
        &["s3.access_key", "s3.secret_key"],
        "both keys, or neither",
        "with neither, the credentials of the surroundings are used: AWS_* variables, web identity, \
         container or instance role",
    );
    for (value, fields) in [
        (s3.request_timeout, &["s3.request_timeout"]),
        (s3.connect_timeout, &["s3.connect_timeout"]),
    ] {
        unless(
            !value.is_zero(),
            fields,
            "a timeout above zero",
            "every call must have an end, and some time until then",
        );
    }
    let Some(text) = &s3.endpoint else { return };
    let url = match endpoint::parse(text, s3.secure) {
        Ok(url) => url,
        Err(why) => {
            let hint = match why {
                Unusable::Malformed => "examples: minio:9000, https://s3.example.com",
                Unusable::Extra => "leave out user, password, query and fragment",
            };
            unless(false, &["s3.endpoint"], "a host, a host and port, or an http(s) URL", hint);
            return;
        }
    };
    unless(
        !circumstances.is_secure_set
            || endpoint::stated_secure(text).is_none_or(|stated| stated == s3.secure),
        &["s3.endpoint", "s3.secure"],
        "an endpoint whose scheme agrees with the switch",
        "leave the scheme out of the endpoint, or the switch unset",
    );
    unless(
        s3.tls_ca.is_none() || url.scheme() == "https",
        &["s3.tls_ca", "s3.endpoint"],
        "an endpoint with TLS",
        "a certificate authority has no use over plain HTTP",
    );
    unless(
        s3.is_path_style() || endpoint::with_bucket_in_host(&url, bucket).is_some(),
        &["s3.path_style", "s3.endpoint"],
        "path style for an endpoint that is an address",
        "the bucket cannot be put in front of an IP address",
    );
}

/// The rules for whoever builds the settings by hand: all problems in one error.
pub(super) fn refuse_problems(config: &StorageConfig) -> Result<()> {
    let found = problems(config, Circumstances::default());
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found
        .iter()
        .map(|problem| {
            format!(
                "{}: expected {} ({})",
                problem.fields.join(", "),
                problem.expected,
                problem.hint
            )
        })
        .collect();
    let context = format!("storage settings cannot work: {}", lines.join("; "));
    Err(Error::new(ErrorKind::Config, context))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::config::S3Config;
    use super::*;

    fn s3(change: impl FnOnce(&mut S3Config)) -> StorageConfig {
        let mut config = StorageConfig { kind: StorageType::S3, ..StorageConfig::default() };
        config.s3.bucket = Some("my-bucket".into());
        change(&mut config.s3);
        config
    }

    fn fields(
        config: &StorageConfig,
        circumstances: Circumstances,
    ) -> Vec<&'static [&'static str]> {
        problems(config, circumstances).into_iter().map(|problem| problem.fields).collect()
    }

    fn lenient(config: &StorageConfig) -> Vec<&'static [&'static str]> {
        fields(config, Circumstances::default())
    }

    const STRICT: Circumstances = Circumstances { is_strict: true, is_secure_set: false };
    const SECURE_SET: Circumstances = Circumstances { is_strict: false, is_secure_set: true };

    #[test]
    fn the_defaults_work_everywhere() {
        assert!(lenient(&StorageConfig::default()).is_empty());
        assert!(fields(&StorageConfig::default(), STRICT).is_empty());
        assert!(lenient(&s3(|_| {})).is_empty());
    }

    #[test]
    fn memory_is_refused_in_production() {
        let memory = StorageConfig { kind: StorageType::Memory, ..StorageConfig::default() };
        assert!(lenient(&memory).is_empty());
        assert_eq!(fields(&memory, STRICT), [&["type"]]);
        assert!(problems(&memory, STRICT).iter().all(|problem| problem.is_unsafe));
    }

    #[test]
    fn a_directory_needs_a_name() {
        let config = StorageConfig { local_path: "".into(), ..StorageConfig::default() };
        assert_eq!(lenient(&config), [&["local_path"]]);
    }

    #[test]
    fn every_problem_of_s3_is_found_at_once() {
        let config = s3(|s3| {
            s3.bucket = None;
            s3.access_key = Some("key".into());
            s3.connect_timeout = Duration::ZERO;
            s3.endpoint = Some("https://user:pw@minio".into());
        });
        let expected: [&[&str]; 4] = [
            &["s3.bucket"],
            &["s3.access_key", "s3.secret_key"],
            &["s3.connect_timeout"],
            &["s3.endpoint"],
        ];
        assert_eq!(lenient(&config), expected);
        let message = refuse_problems(&config).unwrap_err().to_string();
        assert!(message.contains("s3.bucket") && message.contains("both keys"), "{message}");
        assert!(!message.contains("pw"), "{message}");
    }

    #[test]
    fn the_settings_of_s3_do_not_matter_to_other_types() {
        let config = StorageConfig { kind: StorageType::Local, ..s3(|s3| s3.bucket = None) };
        assert!(lenient(&config).is_empty());
    }

    #[test]
    fn scheme_and_switch_contradict_each_other_only_when_somebody_set_the_switch() {
        let config = s3(|s3| s3.endpoint = Some("http://minio:9000".into()));
        assert!(lenient(&config).is_empty());
        assert_eq!(fields(&config, SECURE_SET), [&["s3.endpoint", "s3.secure"]]);
        let config = s3(|s3| s3.endpoint = Some("https://minio:9000".into()));
        assert!(fields(&config, SECURE_SET).is_empty());
        let config = s3(|s3| s3.endpoint = Some("minio:9000".into()));
        assert!(fields(&config, SECURE_SET).is_empty());
    }

    #[test]
    fn a_certificate_authority_needs_tls_and_an_address_needs_path_style() {
        let config = s3(|s3| {
            s3.endpoint = Some("http://127.0.0.1:9000".into());
            s3.tls_ca = Some("ca.pem".into());
            s3.path_style = Some(false);
        });
        let expected: [&[&str]; 2] =
            [&["s3.tls_ca", "s3.endpoint"], &["s3.path_style", "s3.endpoint"]];
        assert_eq!(lenient(&config), expected);
    }
}
