//! What a client sees when a handler fails: `{"error": "…"}`, and never a reason of ours.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use watchdog_audit::web::Refusal;
use watchdog_core::audit::Outcome;
use watchdog_session::web::Rejection;

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Failure(Box<Response>);

impl Failure {
    pub(crate) fn new(status: StatusCode, code: &str) -> Self {
        let mut response = (status, Json(json!({ "error": code }))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Self(Box::new(response))
    }

    pub(crate) fn bad_request(code: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code)
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden")
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found")
    }

    fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
    }
}

impl Failure {
    /// How the audit log calls it.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.0.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied,
            _ => Outcome::Failure,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self(Box::new(rejection.into_response()))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(refusal.into_response()))
    }
}

impl From<watchdog_session::Error> for Failure {
    fn from(error: watchdog_session::Error) -> Self {
        Self(Box::new(Rejection::from(error).into_response()))
    }
}

impl From<watchdog_audit::Error> for Failure {
    fn from(error: watchdog_audit::Error) -> Self {
        tracing::error!(%error, "the audit log refused");
        if error.kind() == watchdog_audit::ErrorKind::Misuse {
            return Self::bad_request("invalid");
        }
        Self(Box::new(Refusal::from(error).into_response()))
    }
}

impl From<watchdog_storage::Error> for Failure {
    fn from(error: watchdog_storage::Error) -> Self {
        use watchdog_storage::ErrorKind;

        match error.kind() {
            ErrorKind::NotFound => return Self::not_found(),
            ErrorKind::Misuse => return Self::bad_request("invalid"),
            _ => tracing::error!(%error, "storage failed"),
        }
        if error.is_retryable() { Self::unavailable() } else { Self::internal() }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), code(rejection.status()))
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), code(rejection.status()))
    }
}

fn code(status: StatusCode) -> &'static str {
    if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "malformed" }
}
