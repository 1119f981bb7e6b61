//! What is known of a request: its ids, who sent it, from where.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;
use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Client, Entry, Requester, Resource};

use super::policy::{Policy, UNMATCHED};
use super::trace::{given_request_id, trace_id};
use crate::log::AuditLog;

/// Most bytes of a user agent that are recorded.
const MAX_USER_AGENT: usize = 512;

/// What is known of one request, shared by the layer and the handlers within. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: AuditLog,
    request_id: String,
    trace_id: Option<String>,
    requester: Requester,
    /// What the request itself brought, for when nobody says more.
    actor: Option<Actor>,
    client: Option<Client>,
    peer: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
}

impl Context {
    /// Looks at a request, and makes sure that a [`Requester`] is in its extensions.
    pub(super) fn of(request: &mut Request, log: &AuditLog, policy: &Policy) -> Self {
        let requester = request.extensions_mut().get_or_insert_with(Requester::new).clone();
        let (headers, extensions) = (request.headers(), request.extensions());
        let given = policy.trusts_request_ids.then(|| given_request_id(headers)).flatten();
        let inner = Inner {
            log: log.clone(),
            request_id: given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned),
            trace_id: trace_id(headers).map(str::to_owned),
            requester,
            actor: extensions.get::<Actor>().cloned(),
            client: extensions.get::<Client>().cloned(),
            peer: extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip()),
            user_agent: headers.get(USER_AGENT).cloned(),
        };
        let context = Self { inner: Arc::new(inner) };
        request.extensions_mut().insert(context.clone());
        context
    }

    pub(super) fn log(&self) -> &AuditLog {
        &self.inner.log
    }

    pub(super) fn request_id(&self) -> &str {
        &self.inner.request_id
    }

    pub(super) fn trace_id(&self) -> Option<&str> {
        self.inner.trace_id.as_deref()
    }

    /// Who asks, as far as anybody has said.
    pub(super) fn actor(&self) -> Actor {
        let known = self.inner.requester.actor().or_else(|| self.inner.actor.clone());
        known.unwrap_or_else(Actor::anonymous)
    }

    pub(super) fn set_actor(&self, actor: Actor) {
        self.inner.requester.set_actor(actor);
    }

    /// From where, as whoever knows the proxies has said; else the peer of the connection.
    pub(super) fn client(&self) -> Client {
        let known = self.inner.requester.client().or_else(|| self.inner.client.clone());
        known.unwrap_or_else(|| Client::new(self.inner.peer, self.user_agent()))
    }

    fn user_agent(&self) -> Option<String> {
        let bytes = self.inner.user_agent.as_ref()?.as_bytes();
        let start = &bytes[..bytes.len().min(MAX_USER_AGENT)];
        // What is no text becomes three bytes for one.
        let text = String::from_utf8_lossy(start);
        Some(text[..text.floor_char_boundary(MAX_USER_AGENT)].to_owned())
    }

    /// An entry of this request, as much as is known now.
    pub(super) fn entry(
        &self,
        now: Timestamp,
        category: Category,
        action: impl Into<String>,
        resource: Resource,
    ) -> Entry {
        let entry = Entry::new(Uuid::now_v7(), now, category, self.actor(), action, resource)
            .with_client(self.client())
            .with_request_id(self.request_id());
        match self.trace_id() {
            Some(trace_id) => entry.with_trace_id(trace_id),
            None => entry,
        }
    }
}

/// The template of the route that takes a request, never its path.
pub(super) fn route_of(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or_else(|| UNMATCHED.to_owned(), |matched| matched.as_str().to_owned())
}
