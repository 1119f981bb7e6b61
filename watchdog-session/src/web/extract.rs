use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::Extensions;
use axum::http::header::{AUTHORIZATION, HeaderMap, USER_AGENT};
use axum::http::request::Parts;
use watchdog_core::audit::Client;

use super::visit::Visit;
use super::{Rejection, WebSessions};
use crate::client::{MAX_USER_AGENT, bounded, cut};
use crate::session::Session;

/// The session of a request, to look at; without a valid one, the handler does not run.
///
/// A request with an `Authorization` header is judged by it alone: `Bearer` and an access token,
/// checked without asking the store. Any other request is judged by its session cookie.
#[derive(Clone, Debug)]
pub struct CurrentSession(pub Session);

impl<S: Send + Sync> FromRequestParts<S> for CurrentSession {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Visit::of(parts)?.required(parts).await.map(Self)
    }
}

/// The client of a request: an [`axum::Extension`] of [`Client`] when a layer has put one there;
/// else the address that the peer, or the [trusted proxies](super::TrustedProxies) behind it, stand
/// for, and the first 512 bytes of the user agent. Headers that any client can write are not believed.
///
/// Without the layer of [`WebSessions`] the address is the peer's. It is known when the service was
/// made with `into_make_service_with_connect_info::<SocketAddr>()`; else there is none.
#[derive(Clone, Debug)]
pub struct RequestClient(pub Client);

impl<S: Send + Sync> FromRequestParts<S> for RequestClient {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(client(parts, parts.extensions.get::<WebSessions>())))
    }
}

/// Marks requests that do not count as use of their session: [`WebSessions::no_touch`].
#[derive(Clone, Copy, Debug)]
pub struct NoTouch;

pub(super) fn client(parts: &Parts, web: Option<&WebSessions>) -> Client {
    client_of(&parts.headers, &parts.extensions, web)
}

pub(super) fn client_of(
    headers: &HeaderMap,
    extensions: &Extensions,
    web: Option<&WebSessions>,
) -> Client {
    if let Some(client) = extensions.get::<Client>() {
        return bounded(client);
    }
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let ip = match web {
        Some(web) => web.proxies().client_address(peer, headers),
        None => peer,
    };
    let user_agent = headers.get(USER_AGENT).map(|agent| {
        let start = &agent.as_bytes()[..agent.len().min(MAX_USER_AGENT)];
        // What is no text becomes three bytes for one.
        cut(&String::from_utf8_lossy(start)).to_owned()
    });
    Client::new(ip, user_agent)
}

/// The token of exactly one `Authorization: Bearer` header (RFC 6750, section 2.1).
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}
