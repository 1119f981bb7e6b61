//! The S3 clients of one bucket, one per budget.

mod settings;

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::{Certificate, ClientOptions};

use super::super::budget::{Budget, Limits};
use super::super::config::S3Config;
use super::super::endpoint;
use super::super::error::root_cause;
use crate::error::{Error, ErrorKind, Result};

pub(in super::super) use settings::SettingsClient;

/// One client per budget: retries and timeouts belong to a client, not to a call.
pub(in super::super) struct Clients {
    foreground: (AmazonS3, Limits),
    background: (AmazonS3, Limits),
    probe: (AmazonS3, Limits),
    settings: SettingsClient,
}

impl Clients {
    pub(super) fn new(config: &S3Config) -> Result<Self> {
        let certificates = certificates(config)?;
        let client = |budget: Budget| {
            let limits = budget.limits(config.retry_budget, config.request_timeout);
            client(config, &certificates, limits).map(|client| (client, limits))
        };
        let foreground = client(Budget::Foreground)?;
        let options = client_options(config, &certificates, foreground.1);
        let (_, allow_http) = address(config)?;
        let options = options.with_allow_http(allow_http);
        let settings = SettingsClient::new(config, &options, foreground.0.clone())?;
        Ok(Self {
            foreground,
            background: client(Budget::Background)?,
            probe: client(Budget::Probe)?,
            settings,
        })
    }

    pub(super) fn of(&self, budget: Budget) -> &AmazonS3 {
        &self.choose(budget).0
    }

    pub(super) fn deadline(&self, budget: Budget) -> Duration {
        self.choose(budget).1.deadline()
    }

    pub(super) fn settings(&self) -> &SettingsClient {
        &self.settings
    }

    fn choose(&self, budget: Budget) -> &(AmazonS3, Limits) {
        match budget {
            Budget::Foreground => &self.foreground,
            Budget::Background => &self.background,
            Budget::Probe => &self.probe,
        }
    }
}

/// The certificate authority of one's own, if there is one.
fn certificates(config: &S3Config) -> Result<Vec<Certificate>> {
    let Some(path) = &config.tls_ca else { return Ok(Vec::new()) };
    let unusable = |what: &str| {
        Error::new(ErrorKind::Config, format!("{what} the certificates in {}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|source| unusable("cannot read").with_source(source))?;
    let found = Certificate::from_pem_bundle(&pem)
        .map_err(|source| unusable("cannot parse").with_source(source))?;
    if found.is_empty() { Err(unusable("found nothing among")) } else { Ok(found) }
}

fn client_options(
    config: &S3Config,
    certificates: &[Certificate],
    limits: Limits,
) -> ClientOptions {
    let mut options = ClientOptions::new()
        .with_timeout(limits.one_try)
        .with_connect_timeout(config.connect_timeout.min(limits.one_try));
    for certificate in certificates {
        options = options.with_root_certificate(certificate.clone());
    }
    if !certificates.is_empty() {
        // Who names an authority of one's own means that one, not also every public one.
        options = options.with_no_system_certificates(true);
    }
    options
}

fn client(config: &S3Config, certificates: &[Certificate], limits: Limits) -> Result<AmazonS3> {
    let options = client_options(config, certificates, limits);
    let (endpoint, allow_http) = address(config)?;
    let mut builder = credentials(config)
        .with_client_options(options.with_allow_http(allow_http))
        .with_region(&config.region)
        .with_bucket_name(config.bucket.as_deref().unwrap_or_default())
        .with_virtual_hosted_style_request(!config.is_path_style())
        // The server compares what it stores; buckets with object lock insist on it.
        .with_checksum_algorithm(Checksum::SHA256)
        // A delete is one key here, and look-alikes lack the bulk call.
        .with_disable_bulk_delete(true)
        .with_retry(limits.retry_config());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build().map_err(|source| {
        let context = format!("cannot make an S3 client: {}", root_cause(&source));
        Error::new(ErrorKind::Config, context)
    })
}

/// The endpoint as the client wants it, and whether it may be without TLS.
fn address(config: &S3Config) -> Result<(Option<String>, bool)> {
    let Some(text) = &config.endpoint else { return Ok((None, false)) };
    let malformed = || Error::new(ErrorKind::Config, "the S3 endpoint cannot be used");
    let url = endpoint::parse(text, config.secure).map_err(|_| malformed())?;
    let allow_http = url.scheme() == "http";
    let url = if config.is_path_style() {
        url
    } else {
        let bucket = config.bucket.as_deref().unwrap_or_default();
        endpoint::with_bucket_in_host(&url, bucket).ok_or_else(malformed)?
    };
    Ok((Some(url.as_str().trim_end_matches('/').to_owned()), allow_http))
}

fn credentials(config: &S3Config) -> AmazonS3Builder {
    match (&config.access_key, &config.secret_key) {
        (Some(access_key), Some(secret_key)) => AmazonS3Builder::new()
            .with_access_key_id(access_key.expose())
            .with_secret_access_key(secret_key.expose()),
        _ => only_credentials(&AmazonS3Builder::from_env()),
    }
}

/// What the surroundings may say: who we are, and where that is asked. Endpoint, region and
/// behaviour come from the configuration alone; a stray `AWS_ENDPOINT_URL` or
/// `AWS_SKIP_SIGNATURE` must not send objects elsewhere.
const CREDENTIALS: [AmazonS3ConfigKey; 11] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::SecretAccessKey,
    AmazonS3ConfigKey::Token,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::RoleArn,
    AmazonS3ConfigKey::RoleSessionName,
    AmazonS3ConfigKey::StsEndpoint,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    AmazonS3ConfigKey::MetadataEndpoint,
];

fn only_credentials(surroundings: &AmazonS3Builder) -> AmazonS3Builder {
    CREDENTIALS.into_iter().fold(AmazonS3Builder::new(), |builder, key| {
        match surroundings.get_config_value(&key) {
            Some(value) => builder.with_config(key, value),
            None => builder,
        }
    })
}

#[cfg(test)]
mod tests {
    use object_store::aws::S3ConditionalPut;

    use super::*;

    #[test]
    fn the_surroundings_give_credentials_and_nothing_else() {
        let surroundings = AmazonS3Builder::new()
            .with_access_key_id("id")
            .with_secret_access_key("secret")
            .with_token("token")
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, "token.jwt")
            .with_endpoint("http://elsewhere")
            .with_config(AmazonS3ConfigKey::S3Endpoint, "http://elsewhere")
            .with_region("elsewhere-1")
            .with_bucket_name("elsewhere")
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_unsigned_payload(true)
            .with_s3_express(true)
            .with_request_payer(true)
            .with_conditional_put(S3ConditionalPut::Disabled);
        let taken = only_credentials(&surroundings);
        for key in [
            AmazonS3ConfigKey::AccessKeyId,
            AmazonS3ConfigKey::SecretAccessKey,
            AmazonS3ConfigKey::Token,
            AmazonS3ConfigKey::WebIdentityTokenFile,
        ] {
            assert_eq!(taken.get_config_value(&key), surroundings.get_config_value(&key));
        }
        let plain = AmazonS3Builder::new();
        for key in [
            AmazonS3ConfigKey::Endpoint,
            AmazonS3ConfigKey::S3Endpoint,
            AmazonS3ConfigKey::Region,
            AmazonS3ConfigKey::Bucket,
            AmazonS3ConfigKey::SkipSignature,
            AmazonS3ConfigKey::UnsignedPayload,
            AmazonS3ConfigKey::S3Express,
            AmazonS3ConfigKey::RequestPayer,
            AmazonS3ConfigKey::ConditionalPut,
        ] {
            assert_ne!(
                surroundings.get_config_value(&key),
                plain.get_config_value(&key),
                "{key:?}"
            );
            assert_eq!(taken.get_config_value(&key), plain.get_config_value(&key), "{key:?}");
        }
    }
}
