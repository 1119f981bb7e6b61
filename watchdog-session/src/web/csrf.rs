use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use axum::http::{HeaderName, Method};

use super::Rejection;
use super::visit::Visit;
use crate::session::Credential;
use crate::telemetry;

/// The header that carries the CSRF token. A page of another site cannot set it without being
/// allowed to (CORS).
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// Passes for requests that change nothing (RFC 9110, section 9.2.1), unless they open something
/// else, such as a WebSocket that any site may open with the cookie (RFC 6455, section 10.2), for
/// those that no browser
/// signed by itself, and for those with a token of their session.
pub(super) async fn check(parts: &Parts) -> Result<(), Rejection> {
    let visit = Visit::of(parts)?;
    let is_safe =
        matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if is_safe && !parts.headers.contains_key(UPGRADE) {
        return Ok(());
    }
    let Some(session) = visit.optional(parts).await? else { return Ok(()) };
    if session.credential() != Credential::SessionToken {
        return Ok(());
    }
    let mut values = parts.headers.get_all(CSRF_HEADER).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    let verified = token.map(|token| visit.web().sessions().verify_csrf(&session, token));
    if let Some(Ok(())) = verified {
        return Ok(());
    }
    telemetry::denied("csrf");
    Err(Rejection::forbidden("csrf"))
}
