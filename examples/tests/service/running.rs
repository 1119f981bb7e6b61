//! The reference service in a process of its own, and a client of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE, USER_AGENT};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use watchdog_storage::testing::process::ServerProcess;
use watchdog_storage::testing::wait_until;

/// How long the service may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service on a free port, with a directory of its own. Dropping it kills it.
pub(crate) struct Service {
    process: ServerProcess,
    address: String,
    client: Client,
}

/// The program of an example. `cargo test -p watchdog-examples` builds the examples before it runs the tests; with
/// a filter such as `--test service` it does not, and `cargo build --example service` has to.
pub(crate) fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    assert!(program.is_file(), "run `cargo build --example {example}` first");
    program
}

impl Service {
    /// Starts it with these variables and no others, and waits for its address.
    pub(crate) fn start(variables: &BTreeMap<&str, String>) -> Self {
        let directory = tempfile::tempdir().unwrap().keep();
        let mut words = vec!["-i".to_owned()];
        words.push("WATCHDOG_EXAMPLE_ADDR=127.0.0.1:0".to_owned());
        words.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
        words.push(program("service").display().to_string());
        let process = ServerProcess::start(&directory, "KILL", "env", &words).unwrap();
        let mut address = None;
        wait_until("the service listens", PATIENCE, || {
            let log = process.log();
            assert!(process.is_running(), "{log}");
            let line = log.lines().find_map(|line| line.strip_prefix("listening on "));
            address = line.map(str::to_owned);
            address.is_some()
        });
        let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { process, address: address.unwrap(), client }
    }

    pub(crate) fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// Where it listens, without the scheme.
    pub(crate) fn socket(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Signs in a demo user.
    pub(crate) async fn login(&self, user: &str) -> Login {
        let body = json!({ "user": user, "password": format!("{user}-password") });
        self.signed_in(self.post("/login").json(&body)).await
    }

    /// Signs in a demo user from a device.
    pub(crate) async fn login_from(&self, user: &str, user_agent: &str, label: &str) -> Login {
        let password = format!("{user}-password");
        let body = json!({ "user": user, "password": password, "label": label });
        self.signed_in(self.post("/login").header(USER_AGENT, user_agent).json(&body)).await
    }

    async fn signed_in(&self, request: RequestBuilder) -> Login {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}\n{}", answer.body, self.process.log());
        Login { cookie: answer.cookie().unwrap(), body: answer.body }
    }

    /// Exchanges a refresh token.
    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        Answer::to(self.post("/refresh").json(&json!({ "refresh_token": token }))).await
    }

    /// The status of a path for somebody who is not signed in.
    pub(crate) async fn status(&self, path: &str) -> StatusCode {
        Answer::to(self.get(path)).await.status
    }
}

/// What a client holds after a login.
pub(crate) struct Login {
    /// `name=value`.
    pub(crate) cookie: String,
    pub(crate) body: Value,
}

impl Login {
    pub(crate) fn access(&self) -> &str {
        self.body["access_token"].as_str().unwrap()
    }

    pub(crate) fn refresh(&self) -> &str {
        self.body["refresh_token"].as_str().unwrap()
    }

    /// Adds the cookie to a request.
    pub(crate) fn by_cookie(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(COOKIE, &self.cookie)
    }

    /// Adds the access token to a request.
    pub(crate) fn by_token(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(self.access())
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null when it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, body }
    }

    pub(crate) fn error(&self) -> (StatusCode, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }

    pub(crate) fn set_cookie(&self) -> Option<&str> {
        self.headers.get(SET_COOKIE).map(|value| value.to_str().unwrap())
    }

    fn cookie(&self) -> Option<String> {
        Some(self.set_cookie()?.split(';').next()?.to_owned())
    }
}
