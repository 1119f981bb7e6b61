//! A browser, as far as the examples need one: it keeps its cookie and shows what it gets.
#![expect(clippy::print_stdout, reason = "examples show what they do")]

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use reqwest::header::{COOKIE, SET_COOKIE, USER_AGENT};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;

/// What can go wrong in an example.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves a router on a free port of this machine, until the example ends.
///
/// # Errors
///
/// When no port can be had.
pub async fn serve(router: Router) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).await?;
    let address = listener.local_addr()?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(address)
}

/// Somebody at a device.
#[derive(Debug)]
pub struct Browser {
    name: &'static str,
    user_agent: String,
    address: SocketAddr,
    client: Client,
    cookie: Option<String>,
}

impl Browser {
    /// A browser without a cookie.
    pub fn new(name: &'static str, user_agent: &str, address: SocketAddr) -> Self {
        let (user_agent, client) = (user_agent.to_owned(), Client::new());
        Self { name, user_agent, address, client, cookie: None }
    }

    /// Sends a request and prints what comes back. A body is sent as JSON.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn ask(
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
        let (name, status_code) = (self.name, status.as_u16());
        println!("  {name:<8} {:<6} {path:<20} {status_code} {text}", method.as_str());
        Ok((status, text))
    }

    /// As [`Browser::ask`].
    ///
    /// # Errors
    ///
    /// As [`Browser::ask`].
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, String), Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// As [`Browser::ask`].
    ///
    /// # Errors
    ///
    /// As [`Browser::ask`].
    pub async fn post(&mut self, path: &str, body: Value) -> Result<(StatusCode, String), Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Takes over a cookie: another tab, or a thief.
    pub fn hold(&mut self, cookie: Option<String>) {
        self.cookie = cookie;
    }

    /// `name=value` of the cookie.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }
}

/// Says when something was answered that should not have been.
///
/// # Errors
///
/// When the status is another one.
pub fn expect(
    answer: &(StatusCode, String),
    status: StatusCode,
    what: &str,
) -> Result<(), Failure> {
    if answer.0 == status { Ok(()) } else { Err(format!("{what}: {answer:?}").into()) }
}

/// Begins a part of what an example shows.
pub fn title(text: &str) {
    println!("\n{text}");
}
