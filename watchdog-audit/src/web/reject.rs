//! What a client sees when the audit log does not take what it asked for.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};

use crate::error::{Error, ErrorKind};

/// The answer when the audit log refuses: `{"error": "…"}`, and never a reason of ours.
///
/// 503 when the log does not take entries now, 409 under a legal hold, 403 without a role, 413 when
/// the entry is too large, 500 for everything somebody has to mend.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
}

impl Refusal {
    pub(super) fn misconfigured() -> Self {
        tracing::error!("the extractor Audit ran without the layer of AuditLog::layer");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal" }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the answer says after `error`.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind() {
            _ if error.is_retryable() => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Closed => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Held => (StatusCode::CONFLICT, "held"),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, "forbidden"),
            ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%error, "the audit log refused");
        }
        Self { status, code }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = format!(r#"{{"error":"{}"}}"#, self.code);
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_503_and_what_has_to_be_mended_500() {
        for (kind, status) in [
            (ErrorKind::Unavailable, 503),
            (ErrorKind::NotAcknowledged, 503),
            (ErrorKind::Saturated, 503),
            (ErrorKind::Busy, 503),
            (ErrorKind::Closed, 503),
            (ErrorKind::Held, 409),
            (ErrorKind::Denied, 403),
            (ErrorKind::TooLarge, 413),
            (ErrorKind::Corrupt, 500),
            (ErrorKind::Misuse, 500),
        ] {
            let refusal = Refusal::from(Error::new(kind, "x"));
            assert_eq!(refusal.status().as_u16(), status, "{kind:?}");
            let retry = refusal.into_response().headers().contains_key(RETRY_AFTER);
            assert_eq!(retry, status == 503, "{kind:?}");
        }
    }
}
