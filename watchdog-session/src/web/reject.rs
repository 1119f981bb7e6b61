use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};

use super::SessionCookie;
use crate::error::{Error, ErrorKind};

/// The answer to a request without a valid session: `{"error": "…"}`.
///
/// 401 refuses the token and deletes the cookie it came in, but for a mere change of client; 503
/// says that nobody could tell, and keeps the cookie; 500 is a mistake in the service.
#[derive(Debug)]
pub struct Rejection {
    status: StatusCode,
    code: &'static str,
    deletion: Option<HeaderValue>,
    /// What a 401 asks for.
    challenge: Challenge,
}

#[derive(Clone, Copy, Debug)]
enum Challenge {
    /// A token (RFC 6750).
    Token,
    /// A new authentication, of at most this age (RFC 9470).
    StepUp(Option<Duration>),
}

impl Rejection {
    fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code, deletion: None, challenge: Challenge::Token }
    }

    pub(super) fn missing() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "missing")
    }

    pub(super) fn forbidden(code: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code)
    }

    /// The user has to authenticate again.
    pub(super) fn stale(max_age: Option<Duration>) -> Self {
        let challenge = Challenge::StepUp(max_age);
        Self { challenge, ..Self::new(StatusCode::UNAUTHORIZED, "step_up_required") }
    }

    pub(super) fn misconfigured() -> Self {
        tracing::error!("a session extractor ran without the layer of WebSessions");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal")
    }

    pub(super) fn of_cookie(error: &Error, cookie: &SessionCookie) -> Self {
        let is_dead = matches!(
            error.kind(),
            ErrorKind::Invalid | ErrorKind::Expired | ErrorKind::Reused | ErrorKind::Gone
        );
        let deletion = if is_dead { cookie.deletion().ok() } else { None };
        Self { deletion, ..Self::of(error) }
    }

    pub(super) fn of(error: &Error) -> Self {
        let (status, code) = match error.kind() {
            // One word: whoever tries a token from elsewhere cannot tell by it whether the session
            // lives. (The cookie can tell: it is deleted only when the session is dead.)
            ErrorKind::Invalid | ErrorKind::Gone | ErrorKind::ClientMismatch => {
                (StatusCode::UNAUTHORIZED, "invalid")
            }
            ErrorKind::Expired => (StatusCode::UNAUTHORIZED, "expired"),
            ErrorKind::Reused => (StatusCode::UNAUTHORIZED, "reused"),
            ErrorKind::StepUpRequired => return Self::stale(None),
            ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            ErrorKind::TooManySessions => (StatusCode::CONFLICT, "too_many_sessions"),
            ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            ErrorKind::LimitReached => (StatusCode::TOO_MANY_REQUESTS, "limited"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Config | ErrorKind::Misuse | ErrorKind::Internal => {
                tracing::error!(%error, "a session operation failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, code)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the answer says after `error`: `missing`, `invalid`, `forbidden`, …
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused with {}: {}", self.status.as_u16(), self.code)
    }
}

impl std::error::Error for Rejection {}

impl Challenge {
    fn header(self) -> HeaderValue {
        const STEP_UP: &str = "Bearer error=\"insufficient_user_authentication\", \
                               error_description=\"a new authentication is required\"";
        match self {
            Self::Token => HeaderValue::from_static("Bearer"),
            Self::StepUp(None) => HeaderValue::from_static(STEP_UP),
            Self::StepUp(Some(max_age)) => {
                let text = format!("{STEP_UP}, max_age=\"{}\"", max_age.as_secs());
                HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(STEP_UP))
            }
        }
    }
}

/// An answer that touches no cookie, for handlers that call [`Sessions`](crate::Sessions).
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let body = format!(r#"{{"error":"{}"}}"#, self.code);
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, self.challenge.header());
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(deletion) = self.deletion {
            headers.insert(SET_COOKIE, deletion);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_an_error_that_says_its_status_and_code() {
        let rejection = Rejection::missing();
        assert_eq!((rejection.status(), rejection.code()), (StatusCode::UNAUTHORIZED, "missing"));
        let error: Box<dyn std::error::Error + Send + Sync> = Box::new(rejection);
        assert_eq!(error.to_string(), "refused with 401: missing");
    }
}
