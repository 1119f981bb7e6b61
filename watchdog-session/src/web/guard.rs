use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use tower::{Layer, Service};
use watchdog_core::audit::Resource;

use super::visit::Caller;
use super::{Rejection, WebSessions, csrf, reported};
use crate::error::ErrorKind;
use crate::principal::{Principal, Role};
use crate::session::Session;
use crate::telemetry;

/// A condition that requests have to meet before any handler runs: [`WebSessions::require_role`],
/// [`WebSessions::require_fresh`] and [`WebSessions::csrf`]. Without the layer of [`WebSessions`]
/// around it nobody meets it, and the answer is 500.
#[derive(Clone, Debug)]
pub struct Guard {
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Role(Arc<[Role]>),
    Fresh(Duration),
    Csrf,
}

impl Guard {
    pub(super) fn role(roles: Arc<[Role]>) -> Self {
        Self { rule: Rule::Role(roles) }
    }

    pub(super) fn fresh(max_age: Duration) -> Self {
        Self { rule: Rule::Fresh(max_age) }
    }

    pub(super) fn csrf() -> Self {
        Self { rule: Rule::Csrf }
    }

    async fn check(&self, parts: &Parts) -> Result<(), Rejection> {
        match &self.rule {
            Rule::Role(roles) => require_role(parts, roles).await.map(drop),
            Rule::Fresh(max_age) => {
                let caller = Caller::of(parts)?;
                let session = caller.visit.required(parts).await?;
                check_fresh(caller.visit.web(), &session, *max_age)
            }
            Rule::Csrf => csrf::check(parts).await,
        }
    }
}

/// Who acts in a request, when it is somebody with one of some roles: for extractors of your own.
/// A known user without is refused and reported, as `access.denied` on the route.
///
/// # Errors
///
/// 403 without any of the roles, 401 without a session, 503 when the store does not answer, 500
/// without the layer of [`WebSessions`].
pub async fn require_role(parts: &Parts, roles: &[Role]) -> Result<Principal, Rejection> {
    let caller = Caller::of(parts)?;
    let session = caller.visit.required(parts).await?;
    let principal = Principal::from(&session);
    if principal.has_any_role(roles) {
        return Ok(principal);
    }
    telemetry::denied("role");
    let sessions = caller.visit.web().sessions();
    reported(sessions.deny(&principal, "access.denied", route(parts), &caller.client)).await;
    Err(Rejection::forbidden("forbidden"))
}

pub(super) fn check_fresh(
    web: &WebSessions,
    session: &Session,
    max_age: Duration,
) -> Result<(), Rejection> {
    web.sessions().require_fresh(session, max_age).map_err(|error| match error.kind() {
        ErrorKind::StepUpRequired => {
            telemetry::denied("stale");
            Rejection::stale(Some(max_age))
        }
        _ => Rejection::of(&error),
    })
}

/// The route by its template: a path itself may tell what is nobody's business.
fn route(parts: &Parts) -> Resource {
    let template = parts.extensions.get::<MatchedPath>().map_or("*", MatchedPath::as_str);
    Resource::new("route", format!("{} {template}", parts.method))
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready goes; its clone has to be polled again.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let guard = self.guard.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match guard.check(&parts).await {
                Ok(()) => inner.call(Request::from_parts(parts, body)).await,
                Err(rejection) => Ok(rejection.into_response()),
            }
        })
    }
}
