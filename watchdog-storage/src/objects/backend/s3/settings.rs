//! Signed requests for the settings of a bucket, which the object client does not send.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use md5::{Digest as _, Md5};
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{
    HttpClient, HttpConnector as _, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};
use url::Url;

use super::super::super::bucket::{Setting, unsupported};
use super::super::super::budget::{Budget, Limits};
use super::super::super::config::S3Config;
use super::super::super::{endpoint, error};
use crate::error::{Error, ErrorKind, Result};

/// A thousand rules are far less; anything longer is no answer of a store.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Reads and writes the settings of one bucket.
pub(in super::super::super) struct SettingsClient {
    http: HttpClient,
    bucket: Url,
    region: String,
    /// Knows the credentials, and renews them.
    store: AmazonS3,
    limits: [Limits; 3],
}

/// An answer of the store: its status and its document.
type Answer = (u16, String);

impl SettingsClient {
    pub(super) fn new(config: &S3Config, options: &ClientOptions, store: AmazonS3) -> Result<Self> {
        let http = ReqwestConnector::default().connect(options).map_err(|source| {
            let context = format!("cannot make an HTTP client: {}", error::root_cause(&source));
            Error::new(ErrorKind::Config, context)
        })?;
        let limits = [Budget::Foreground, Budget::Background, Budget::Probe]
            .map(|budget| budget.limits(config.retry_budget, config.request_timeout));
        let bucket = bucket_url(config)
            .ok_or_else(|| Error::new(ErrorKind::Config, "the S3 endpoint cannot be used"))?;
        Ok(Self { http, bucket, region: config.region.clone(), store, limits })
    }

    /// Sends a request until it is answered or the budget's retries are used up; every one of them
    /// may safely run twice. `None` when the bucket merely lacks the setting.
    pub(in super::super::super) async fn call(
        &self,
        budget: Budget,
        method: &'static str,
        setting: Setting,
        document: Option<String>,
    ) -> Result<Option<String>> {
        let limits = match budget {
            Budget::Foreground => self.limits[0],
            Budget::Background => self.limits[1],
            Budget::Probe => self.limits[2],
        };
        let mut pause = Duration::from_millis(100);
        let mut left = limits.retries;
        loop {
            let failed = match self.send(method, setting, document.as_deref(), limits.one_try).await
            {
                Ok(answer) => match read(answer, setting) {
                    Err(failed) => failed,
                    read => return read,
                },
                Err(failed) => failed,
            };
            if left == 0 || !failed.is_retryable() {
                return Err(failed);
            }
            left -= 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn send(
        &self,
        method: &str,
        setting: Setting,
        document: Option<&str>,
        one_try: Duration,
    ) -> Result<Answer> {
        let operation = setting.operation();
        let credential = self.store.credentials().get_credential().await;
        let credential = credential.map_err(|source| error::translate(operation, "", &source))?;
        let unsendable = || Error::new(ErrorKind::Misuse, "the request cannot be made");
        let mut url = self.bucket.clone();
        url.set_query(Some(setting.query()));
        let body = document.map_or_else(HttpRequestBody::empty, |text| text.to_owned().into());
        let mut request = HttpRequest::new(body);
        *request.method_mut() = method.parse().map_err(|_| unsendable())?;
        *request.uri_mut() = url.as_str().parse().map_err(|_| unsendable())?;
        if let Some(document) = document {
            // S3 asks for it, and Ceph takes nothing else in its place.
            let sum = BASE64.encode(Md5::digest(document));
            let headers = request.headers_mut();
            headers.insert("content-md5", HeaderValue::try_from(sum).map_err(|_| unsendable())?);
            headers.insert("content-type", HeaderValue::from_static("application/xml"));
        }
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|source| error::translate(operation, "", &source))?;
        let exchange = async {
            let answer =
                self.http.execute(request).await.map_err(|source| broken(operation, &source))?;
            let status = answer.status().as_u16();
            let mut content = Vec::new();
            let mut stream = answer.into_body().bytes_stream();
            while let Some(chunk) = stream.next().await {
                content.extend_from_slice(&chunk.map_err(|source| broken(operation, &source))?);
                if content.len() > MAX_ANSWER {
                    let context = format!("{operation} is answered with more than 4 MiB");
                    return Err(Error::new(ErrorKind::Unexpected, context));
                }
            }
            Ok((status, String::from_utf8_lossy(&content).into_owned()))
        };
        let outcome = tokio::time::timeout(one_try, exchange).await;
        outcome.unwrap_or_else(|_| Err(error::out_of_time(operation, "", one_try)))
    }
}

/// What an answer says of a setting.
fn read((status, document): Answer, setting: Setting) -> Result<Option<String>> {
    if (200..300).contains(&status) {
        return Ok(Some(document));
    }
    let code = error::code(&document);
    // AWS says 404, others 400: the code tells.
    if code.is_some_and(|code| setting.is_absent(code)) {
        return Ok(None);
    }
    if matches!(status, 405 | 501) {
        return Err(unsupported(setting, "s3").with_source(error::answered(status, code)));
    }
    Err(error::refused(setting.operation(), status, code))
}

fn broken(operation: &str, source: &HttpError) -> Error {
    let kind = match source.kind() {
        HttpErrorKind::Timeout => ErrorKind::CommandTimeout,
        HttpErrorKind::Decode => ErrorKind::Unexpected,
        _ => ErrorKind::Unavailable,
    };
    let context = format!("{operation} failed: {}", error::root_cause(source));
    Error::new(kind, context)
}

/// Where the bucket answers.
fn bucket_url(config: &S3Config) -> Option<Url> {
    let bucket = config.bucket.as_deref().unwrap_or_default();
    let base = match &config.endpoint {
        Some(text) => endpoint::parse(text, config.secure).ok()?,
        None => Url::parse(&format!("https://s3.{}.amazonaws.com", config.region)).ok()?,
    };
    if !config.is_path_style() {
        return endpoint::with_bucket_in_host(&base, bucket);
    }
    let mut url = base;
    url.path_segments_mut().ok()?.pop_if_empty().push(bucket);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_answers_in_the_path_or_in_the_host() {
        let url = |endpoint: Option<&str>, path_style| {
            let config = S3Config {
                endpoint: endpoint.map(Into::into),
                bucket: Some("b-1".into()),
                region: "eu-central-1".into(),
                path_style,
                ..S3Config::default()
            };
            bucket_url(&config).map(String::from)
        };
        let aws = "https://b-1.s3.eu-central-1.amazonaws.com/";
        assert_eq!(url(None, None).as_deref(), Some(aws));
        let path = "https://s3.eu-central-1.amazonaws.com/b-1";
        assert_eq!(url(None, Some(true)).as_deref(), Some(path));
        assert_eq!(url(Some("minio:9000"), None).as_deref(), Some("https://minio:9000/b-1"));
        let below = url(Some("https://x.example/storage/s3/"), None);
        assert_eq!(below.as_deref(), Some("https://x.example/storage/s3/b-1"));
        let host = url(Some("http://s3.example:9000"), Some(false));
        assert_eq!(host.as_deref(), Some("http://b-1.s3.example:9000/"));
        assert_eq!(url(Some("http://127.0.0.1:1"), Some(false)), None);
    }

    #[test]
    fn every_answer_has_a_meaning() {
        let answer = |status, code: &str| {
            let document = format!("<Error><Code>{code}</Code></Error>");
            read((status, document), Setting::Lifecycle).map_err(|error| error.kind())
        };
        assert_eq!(read((200, "x".into()), Setting::Lifecycle).unwrap().as_deref(), Some("x"));
        assert_eq!(answer(404, "NoSuchLifecycleConfiguration"), Ok(None));
        assert_eq!(answer(400, "NoSuchLifecycleConfiguration"), Ok(None));
        assert_eq!(answer(404, "NoSuchBucket"), Err(ErrorKind::Config));
        assert_eq!(answer(501, "NotImplemented"), Err(ErrorKind::Misuse));
        assert_eq!(answer(405, "MethodNotAllowed"), Err(ErrorKind::Misuse));
        assert_eq!(answer(403, "AccessDenied"), Err(ErrorKind::Denied));
        assert_eq!(answer(503, "SlowDown"), Err(ErrorKind::Unavailable));
        assert_eq!(answer(400, "MalformedXML"), Err(ErrorKind::Unexpected));
    }
}
