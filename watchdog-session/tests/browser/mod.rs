//! A browser: it sends what it was told to keep, and takes no cookie that a real one refuses.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{COOKIE, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use tower::ServiceExt as _;

/// Cookies of one host, kept by the rules of RFC 6265bis, section 5.7, over HTTPS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jar {
    /// By name, domain and path: a deletion that differs in any of them deletes nothing.
    cookies: BTreeMap<(String, Option<String>, String), String>,
}

impl Jar {
    /// Takes a `Set-Cookie` header; `false` when a browser would not.
    pub(crate) fn take(&mut self, set_cookie: &str) -> bool {
        let mut parts = set_cookie.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<_> = parts
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let find = |wanted: &str| {
            attributes.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        let (secure, domain, path) = (find("secure").is_some(), find("domain"), find("path"));
        let (lower, is_root) = (name.to_ascii_lowercase(), path.as_deref() == Some("/"));
        let is_refused = (lower.starts_with("__secure-") && !secure)
            || (lower.starts_with("__host-") && !(secure && domain.is_none() && is_root))
            || (find("samesite").is_some_and(|same| same.eq_ignore_ascii_case("none")) && !secure);
        if is_refused {
            return false;
        }
        let key = (name.to_owned(), domain, path.unwrap_or_else(|| "/".into()));
        if find("max-age").as_deref() == Some("0") {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, value.to_owned());
        }
        true
    }

    /// The `Cookie` header.
    pub(crate) fn header(&self) -> String {
        let cookies = self.cookies.iter().map(|((name, ..), value)| format!("{name}={value}"));
        cookies.collect::<Vec<_>>().join("; ")
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is(&self, status: u16, body: &str) -> bool {
        self.status == status && self.body == body
    }
}

#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    pub(crate) jar: Jar,
    pub(crate) agent: Option<String>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        let agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0");
        let agent = agent.map(str::to_owned);
        Self { app: app.clone(), jar: Jar::default(), agent, peer: None }
    }

    /// The same browser, calling from an address.
    pub(crate) fn at(mut self, ip: &str) -> Self {
        self.peer = Some(SocketAddr::new(ip.parse().unwrap(), 40_000));
        self
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[]).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Answer {
        self.send("POST", path, &[]).await
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let cookies = self.jar.header();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies);
        }
        if let Some(agent) = &self.agent {
            request = request.header(USER_AGENT, agent);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(peer) = self.peer {
            request = request.extension(ConnectInfo(peer));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        for header in parts.headers.get_all(SET_COOKIE) {
            let text = header.to_str().unwrap();
            assert!(self.jar.take(text), "a browser refuses {text}");
        }
        let body = axum::body::to_bytes(body, 100_000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}
