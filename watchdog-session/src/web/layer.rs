use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, VARY,
};
use axum::http::{Request, Response};
use tower::{Layer, Service};
use watchdog_core::audit::Requester;

use super::WebSessions;
use super::extract::client_of;
use super::visit::Visit;

/// Gives each request its session, and each answer its cookie: [`WebSessions::layer`].
///
/// A layer around it that records requests learns who asks, and from where, by the
/// [`Requester`] it puts into their extensions.
#[derive(Clone, Debug)]
pub struct SessionLayer {
    web: WebSessions,
}

impl SessionLayer {
    pub(super) fn new(web: WebSessions) -> Self {
        Self { web }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { web: self.web.clone(), inner }
    }
}

/// A service within a [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    web: WebSessions,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (web, visit) = (self.web.clone(), Visit::new(self.web.clone()));
        if let Some(requester) = request.extensions().get::<Requester>() {
            let client = client_of(request.headers(), request.extensions(), Some(&web));
            requester.set_client(client);
        }
        request.extensions_mut().insert(web);
        request.extensions_mut().insert(visit.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            mark(response.headers_mut(), &visit);
            Ok(response)
        })
    }
}

/// Says in an answer what became of the session, whatever the status of the answer: it has become
/// so already.
fn mark(headers: &mut HeaderMap, visit: &Visit) {
    let (cookie, is_read) = visit.outcome();
    let ours = visit.web().cookie();
    let is_set = headers.get_all(SET_COOKIE).iter().any(|header| ours.is_set_by(header));
    // What a handler says itself it says knowingly; two cookies of one name are for nobody.
    if let (Some(cookie), false) = (&cookie, is_set) {
        headers.append(SET_COOKIE, cookie.clone());
    }
    let is_set = is_set || cookie.is_some();
    if is_set {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if is_set || is_read {
        match (varies(headers, &COOKIE), varies(headers, &AUTHORIZATION)) {
            (false, false) => append(headers, "Cookie, Authorization"),
            (false, true) => append(headers, "Cookie"),
            (true, false) => append(headers, "Authorization"),
            (true, true) => {}
        }
    }
}

fn append(headers: &mut HeaderMap, names: &'static str) {
    headers.append(VARY, HeaderValue::from_static(names));
}

fn varies(headers: &HeaderMap, wanted: &HeaderName) -> bool {
    headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let mut names = value.split(',').map(str::trim);
        names.any(|name| name == "*" || name.eq_ignore_ascii_case(wanted.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_is_said_once() {
        let with = |values: &[&'static str]| {
            let headers =
                values.iter().map(|value| (VARY, HeaderValue::from_static(value))).collect();
            varies(&headers, &COOKIE)
        };
        assert!(!with(&[]));
        assert!(!with(&["Accept, X-Cookie"]));
        assert!(with(&["Accept, cookie"]));
        assert!(with(&["Accept", "*"]));
    }
}
