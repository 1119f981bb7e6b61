//! A browser, as far as the examples need one: it keeps its cookie and shows what it gets.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use reqwest::header::{COOKIE, SET_COOKIE, USER_AGENT};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;

/// What can go wrong in an example.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves a router on a free port of this machine, until the example ends.
pub(crate) async fn serve(router: Router) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).await?;
    let address = listener.local_addr()?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(address)
}

/// Somebody at a device.
pub(crate) struct Browser {
    name: &'static str,
    user_agent: String,
    address: SocketAddr,
    client: Client,
    cookie: Option<String>,
}

impl Browser {
    /// A browser without a cookie.
    pub(crate) fn new(name: &'static str, user_agent: &str, address: SocketAddr) -> Self {
        let (user_agent, client) = (user_agent.to_owned(), Client::new());
        Self { name, user_agent, address, client, cookie: None }
    }

    /// Sends a request and prints what comes back. A body is sent as JSON.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, String), Failure> {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method.clone(), url);
        request = request.header(USER_AGENT, &self.user_agent);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str()?;
            let is_deletion = cookie.contains("Max-Age=0");
            let value = cookie.split(';').next().map(str::to_owned);
            self.cookie = if is_deletion { None } else { value };
        }
        let text = response.text().await?;
        println!("  {:<8} {method:<6} {path:<20} {} {text}", self.name, status.as_u16());
        Ok((status, text))
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<(StatusCode, String), Failure> {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        body: Value,
    ) -> Result<(StatusCode, String), Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Takes over a cookie: another tab, or a thief.
    pub(crate) fn hold(&mut self, cookie: Option<String>) {
        self.cookie = cookie;
    }

    /// `name=value` of the cookie.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }
}

/// Ends the example with an error when something was answered that should not have been.
pub(crate) fn expect(
    answer: &(StatusCode, String),
    status: StatusCode,
    what: &str,
) -> Result<(), Failure> {
    if answer.0 == status { Ok(()) } else { Err(format!("{what}: {answer:?}").into()) }
}

pub(crate) fn title(text: &str) {
    println!("\n{text}");
}
