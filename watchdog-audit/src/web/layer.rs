//! The layer that records requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use tower::{Layer, Service};
use watchdog_core::audit::Category;

use super::body::WatchedBody;
use super::context::{Context, route_of};
use super::exchange::{Exchange, Shared, is_bodiless};
use super::policy::{Ending, Policy, Rate, Recording, Treatment};
use super::reject::Refusal;
use super::telemetry;
use super::trace::REQUEST_ID;
use crate::log::AuditLog;

/// Records each request: [`AuditLog::layer`]. Put it around all others, with
/// [`Router::layer`](axum::Router::layer): only there the template of the route is known.
#[derive(Clone, Debug)]
pub struct AuditLayer {
    log: AuditLog,
    policy: Policy,
}

impl AuditLayer {
    pub(super) fn new(log: AuditLog) -> Self {
        telemetry::describe();
        Self { log, policy: Policy::default() }
    }

    /// Records a share of the reads of a category that went well. Everything else is recorded
    /// always: what was denied or failed, and what may change something.
    #[must_use]
    pub fn with_rate(mut self, category: Category, rate: Rate) -> Self {
        self.policy.set_rate(category, rate);
        self
    }

    /// Records a share of the requests that no route takes. Anybody can send any number of them.
    /// One that may change something and is answered as done is recorded always.
    #[must_use]
    pub fn with_unmatched(mut self, rate: Rate) -> Self {
        self.policy.set_unmatched(rate);
        self
    }

    /// When the answers to reads may go.
    #[must_use]
    pub fn with_reads(mut self, recording: Recording) -> Self {
        self.policy.reads = recording;
        self
    }

    /// Records the requests of a route under another category than `access`.
    #[must_use]
    pub fn with_category(mut self, route: impl Into<String>, category: Category) -> Self {
        self.policy.set_category(route.into(), category);
        self
    }

    /// Does not record reads of these routes, however they end: probes, metrics.
    #[must_use]
    pub fn without_reads_of(mut self, routes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        routes.into_iter().for_each(|route| self.policy.pass(route.into()));
        self
    }

    /// Answers requests of these routes even when the entry is not acknowledged in time: where the
    /// answer holds what the client cannot get again, such as a token that replaces another. The
    /// log keeps the entry. What is begun is still acknowledged or refused before the handler.
    #[must_use]
    pub fn answering_anyway(mut self, routes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        routes.into_iter().for_each(|route| self.policy.answer_anyway(route.into()));
        self
    }

    /// Takes the ids of requests from their `x-request-id`: behind a proxy that sets it. A client
    /// that could choose would choose ids that are sampled out.
    #[must_use]
    pub fn trusting_request_ids(mut self) -> Self {
        self.policy.trusts_request_ids = true;
        self
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = AuditService<S>;

    fn layer(&self, inner: S) -> AuditService<S> {
        let shared = Shared { log: self.log.clone(), policy: self.policy.clone() };
        AuditService { shared: Arc::new(shared), inner }
    }
}

/// A service within an [`AuditLayer`].
#[derive(Clone, Debug)]
pub struct AuditService<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request> for AuditService<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let context = Context::of(&mut request, &shared.log, &shared.policy);
        let (method, route) = (request.method().clone(), route_of(&request));
        let treatment = shared.policy.treatment(&method, &route);
        let id = HeaderValue::from_str(context.request_id()).ok();
        // The one that is ready is the one to be called.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let exchange = Exchange::new(shared, context, method, route, treatment);
        Box::pin(async move {
            let mut response = match treatment {
                Treatment::Pass => exchange.pass(inner, request).await?,
                Treatment::Read(Recording::Queued) | Treatment::Unmatched { .. } => {
                    exchange.watch(inner, request).await?
                }
                Treatment::Read(Recording::Acknowledged) => exchange.answer(inner, request).await?,
                Treatment::Change => exchange.change(inner, request).await?,
            };
            if let Some(id) = id {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            Ok(response)
        })
    }
}

impl Exchange {
    /// Records nothing.
    async fn pass<S>(mut self, mut inner: S, request: Request) -> Result<Response, S::Error>
    where
        S: Service<Request, Response = Response>,
    {
        self.forget();
        inner.call(request).await
    }

    /// Begins first: what the log does not take is not done.
    async fn change<S>(mut self, inner: S, request: Request) -> Result<Response, S::Error>
    where
        S: Service<Request, Response = Response>,
    {
        if let Err(error) = self.begin().await {
            telemetry::refused(&error, false);
            return Ok(Refusal::from(error).into_response());
        }
        self.answer(inner, request).await
    }

    /// The answer goes when the entry is acknowledged.
    async fn answer<S>(mut self, mut inner: S, request: Request) -> Result<Response, S::Error>
    where
        S: Service<Request, Response = Response>,
    {
        let response = inner.call(request).await;
        self.answered();
        let ending = match &response {
            Ok(response) => Ending::Answered(response.status()),
            Err(_) => Ending::Failed,
        };
        let is_answered_anyway = self.is_answered_anyway();
        match self.acknowledge(ending).await {
            Err(error) if response.is_ok() => {
                telemetry::refused(&error, is_answered_anyway);
                if is_answered_anyway { response } else { Ok(Refusal::from(error).into_response()) }
            }
            _ => response,
        }
    }

    /// The answer goes at once, and the entry is made when its body has gone.
    async fn watch<S>(mut self, mut inner: S, request: Request) -> Result<Response, S::Error>
    where
        S: Service<Request, Response = Response>,
    {
        let method = request.method().clone();
        let response = match inner.call(request).await {
            Ok(response) => response,
            Err(error) => {
                self.queue(Ending::Failed);
                return Err(error);
            }
        };
        self.answered();
        let status = response.status();
        if is_bodiless(&method, status) || response.body().is_end_stream() {
            self.queue(Ending::Answered(status));
            return Ok(response);
        }
        let announced = response.headers().get(CONTENT_LENGTH);
        let length = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(response.map(|body| Body::new(WatchedBody::new(body, status, length, self))))
    }
}
