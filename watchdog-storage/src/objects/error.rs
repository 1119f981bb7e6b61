//! What an error of the object store means to a caller.
//!
//! The client's own errors are not passed on: their text holds the body of the answer, and with it
//! the access key id. What is kept is the status, the store's error code, or the innermost cause.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use object_store::Error as StoreError;

use crate::error::{Error, ErrorKind};

/// The innermost cause, in words that hold no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// What an answer or the lack of one says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure<'a> {
    /// An answer with this status, and the code of the store's error document.
    Status(u16, Option<&'a str>),
    /// No usable answer.
    Transport(Transport),
    /// An error of the file system.
    File(io::ErrorKind),
    /// Nothing that can be told.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "only S3 has a transport"))]
enum Transport {
    ConnectTimeout,
    Timeout,
    Untrusted,
    Broken,
}

pub(super) fn translate(operation: &str, key: &str, source: &StoreError) -> Error {
    let texts: Vec<String> = chain(source).map(ToString::to_string).collect();
    let failure = failure(source, &texts);
    let kind = classify(source, failure, operation);
    let cause = match failure {
        Failure::Status(status, Some(code)) => format!("status {status}, code {code}"),
        Failure::Status(status, None) => format!("status {status}"),
        _ => root_cause(source),
    };
    let context = format!("{operation} of {} failed", subject(operation, key));
    Error::new(kind, context).with_source(Cause(cause))
}

pub(super) fn out_of_time(operation: &str, key: &str, deadline: Duration) -> Error {
    let context =
        format!("{operation} of {} took longer than {deadline:?}", subject(operation, key));
    Error::new(ErrorKind::CommandTimeout, context)
}

/// The text of the innermost error.
pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}

/// The error of an answer with a status that is no success.
#[cfg(feature = "s3")]
pub(super) fn refused(operation: &str, status: u16, code: Option<&str>) -> Error {
    let kind = of_status(status, code, operation);
    Error::new(kind, format!("{operation} failed")).with_source(answered(status, code))
}

/// What a store answered, as the source of an error.
#[cfg(feature = "s3")]
pub(super) fn answered(status: u16, code: Option<&str>) -> impl StdError + Send + Sync + 'static {
    Cause(match code {
        Some(code) => format!("status {status}, code {code}"),
        None => format!("status {status}"),
    })
}

fn subject(operation: &str, key: &str) -> String {
    match operation {
        _ if key.is_empty() => "the bucket".into(),
        "list" | "probe" => format!("objects under \"{key}\""),
        _ => format!("object \"{key}\""),
    }
}

/// An error and its sources, outermost first.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn failure<'a>(source: &(dyn StdError + 'static), texts: &'a [String]) -> Failure<'a> {
    if let Some((status, body)) = texts.iter().rev().find_map(|text| status(text)) {
        return Failure::Status(status, code(body));
    }
    let file =
        chain(source).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    transport(chain(source), texts)
        .map(Failure::Transport)
        .or(file.map(Failure::File))
        .unwrap_or(Failure::Unknown)
}

/// The status and body in "Server returned non-2xx status code: 503 Service Unavailable: …". The
/// client's type that holds them is private.
fn status(text: &str) -> Option<(u16, &str)> {
    let (_, rest) = text.split_once("Server returned non-2xx status code: ")?;
    let status = rest.get(..3)?.parse().ok()?;
    Some((status, rest))
}

/// The `<Code>` of an S3 error document.
pub(super) fn code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_code.then_some(code)
}

#[cfg(feature = "s3")]
fn transport<'a>(
    mut chain: impl Iterator<Item = &'a (dyn StdError + 'static)>,
    texts: &[String],
) -> Option<Transport> {
    use object_store::client::{HttpError, HttpErrorKind};

    let kind = chain.find_map(|error| error.downcast_ref::<HttpError>())?.kind();
    let says = |what: &str| texts.iter().any(|text| text.contains(what));
    Some(match kind {
        HttpErrorKind::Timeout if says("(Connect)") => Transport::ConnectTimeout,
        HttpErrorKind::Timeout => Transport::Timeout,
        _ if says("invalid peer certificate") => Transport::Untrusted,
        _ => Transport::Broken,
    })
}

#[cfg(not(feature = "s3"))]
fn transport<'a>(
    _: impl Iterator<Item = &'a (dyn StdError + 'static)>,
    _: &[String],
) -> Option<Transport> {
    None
}

fn classify(source: &StoreError, failure: Failure<'_>, operation: &str) -> ErrorKind {
    match (failure, source) {
        (Failure::Status(status, code), _) => of_status(status, code, operation),
        (Failure::Transport(transport), _) => match transport {
            Transport::ConnectTimeout => ErrorKind::ConnectTimeout,
            Transport::Timeout => ErrorKind::CommandTimeout,
            Transport::Untrusted => ErrorKind::Config,
            Transport::Broken => ErrorKind::Unavailable,
        },
        (_, StoreError::AlreadyExists { .. }) => ErrorKind::AlreadyExists,
        (Failure::File(kind), _) => of_file(kind, operation),
        (_, StoreError::NotFound { .. }) => ErrorKind::NotFound,
        (_, StoreError::Precondition { .. } | StoreError::NotModified { .. }) => {
            ErrorKind::Precondition
        }
        (_, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) => {
            ErrorKind::Denied
        }
        (_, StoreError::InvalidPath { .. }) => ErrorKind::Misuse,
        _ => ErrorKind::Unexpected,
    }
}

/// By status and, where the status says too little, by the store's code.
fn of_status(status: u16, code: Option<&str>, operation: &str) -> ErrorKind {
    match (status, code) {
        (404, Some("NoSuchBucket")) => ErrorKind::Config,
        (404, _) if matches!(operation, "put" | "create") => ErrorKind::Config,
        (404, _) => ErrorKind::NotFound,
        // The create-only condition is the only one that is ever sent.
        (409 | 412, _) => ErrorKind::AlreadyExists,
        (403, Some("InvalidObjectState")) => ErrorKind::Frozen,
        (401 | 403, _) => ErrorKind::Denied,
        (
            400,
            Some(
                "AuthorizationHeaderMalformed"
                | "ExpiredToken"
                | "InvalidAccessKeyId"
                | "InvalidToken"
                | "SignatureDoesNotMatch",
            ),
        ) => ErrorKind::Denied,
        (400, Some("InvalidBucketName")) => ErrorKind::Config,
        (408, _) | (400, Some("RequestTimeout")) => ErrorKind::CommandTimeout,
        (507, _) => ErrorKind::Refusing,
        (429 | 500..=599, _) => ErrorKind::Unavailable,
        // A redirect to another region.
        (300..=399, _) => ErrorKind::Config,
        _ => ErrorKind::Unexpected,
    }
}

fn of_file(kind: io::ErrorKind, operation: &str) -> ErrorKind {
    let is_write = matches!(operation, "put" | "create");
    match kind {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        // A key that continues another one; nothing can be stored there.
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory if is_write => ErrorKind::Misuse,
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists if is_write => ErrorKind::Misuse,
        io::ErrorKind::InvalidFilename => ErrorKind::Misuse,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refusing,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_its_code_are_read_from_the_text() {
        let text = "Error performing PUT http://x/b/k in 3ms - Server returned non-2xx status code: \
                    403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                    <AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        let (found, body) = status(text).unwrap();
        assert_eq!((found, code(body)), (403, Some("SignatureDoesNotMatch")));
        assert_eq!(status("connection refused"), None);
        assert_eq!(code("<Code>not a <b>code</b></Code>"), None);
        assert_eq!(code("no document"), None);
    }

    #[test]
    fn every_status_has_a_kind() {
        for (status, code, operation, expected) in [
            (404, None, "get", ErrorKind::NotFound),
            (404, Some("NoSuchBucket"), "list", ErrorKind::Config),
            (404, None, "put", ErrorKind::Config),
            (412, None, "create", ErrorKind::AlreadyExists),
            (409, Some("ConditionalRequestConflict"), "create", ErrorKind::AlreadyExists),
            (403, None, "get", ErrorKind::Denied),
            (403, Some("InvalidObjectState"), "get", ErrorKind::Frozen),
            (400, Some("InvalidAccessKeyId"), "get", ErrorKind::Denied),
            (400, Some("InvalidBucketName"), "get", ErrorKind::Config),
            (400, Some("RequestTimeout"), "put", ErrorKind::CommandTimeout),
            (400, None, "put", ErrorKind::Unexpected),
            (503, Some("SlowDown"), "put", ErrorKind::Unavailable),
            (507, None, "put", ErrorKind::Refusing),
            (301, None, "get", ErrorKind::Config),
        ] {
            assert_eq!(
                of_status(status, code, operation),
                expected,
                "{status} {code:?} {operation}"
            );
        }
    }

    #[test]
    fn every_error_of_the_file_system_has_a_kind() {
        for (kind, operation, expected) in [
            (io::ErrorKind::NotADirectory, "put", ErrorKind::Misuse),
            (io::ErrorKind::NotADirectory, "get", ErrorKind::NotFound),
            (io::ErrorKind::StorageFull, "put", ErrorKind::Refusing),
            (io::ErrorKind::PermissionDenied, "get", ErrorKind::Denied),
            (io::ErrorKind::InvalidFilename, "put", ErrorKind::Misuse),
            (io::ErrorKind::Other, "put", ErrorKind::Unavailable),
        ] {
            assert_eq!(of_file(kind, operation), expected, "{kind:?} {operation}");
        }
    }
}
