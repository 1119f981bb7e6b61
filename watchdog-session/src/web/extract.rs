use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use watchdog_core::audit::Client;

use super::{Rejection, WebSessions};
use crate::session::Session;

/// The session of a request; without a valid one, the handler does not run.
///
/// A request with an `Authorization` header is judged by it alone: `Bearer` and an access token,
/// checked without asking the store. Any other request is judged by its session cookie.
#[derive(Clone, Debug)]
pub struct CurrentSession(pub Session);

impl<S: Send + Sync> FromRequestParts<S> for CurrentSession {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let web = parts.extensions.get::<WebSessions>().ok_or_else(Rejection::misconfigured)?;
        if parts.headers.contains_key(AUTHORIZATION) {
            let token = bearer(parts).ok_or_else(Rejection::missing)?;
            return web.sessions().authenticate_access(token).map(Self).map_err(Rejection::from);
        }
        let token = web.cookie().token(&parts.headers).ok_or_else(Rejection::missing)?;
        web.sessions()
            .authenticate(&token, &client(parts))
            .await
            .map(Self)
            .map_err(|error| Rejection::of_cookie(&error, web.cookie()))
    }
}

/// The client of a request: an [`axum::Extension`] of [`Client`] when a layer has put one there,
/// as one must behind a proxy; else the peer's address, when the service was made with
/// `into_make_service_with_connect_info`. Headers that any client can write are not believed.
#[derive(Clone, Debug)]
pub struct RequestClient(pub Client);

impl<S: Send + Sync> FromRequestParts<S> for RequestClient {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(client(parts)))
    }
}

fn client(parts: &Parts) -> Client {
    if let Some(client) = parts.extensions.get::<Client>() {
        return client.clone();
    }
    let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let user_agent = parts.headers.get(USER_AGENT);
    Client::new(ip, user_agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()))
}

/// The token of exactly one `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}
