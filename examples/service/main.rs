//! The reference service: the whole SDK in one axum program, configured by `WATCHDOG_*` alone.
//!
//! ```console
//! cargo run --example service
//! ```
//!
//! Without any variable it keeps sessions in memory, audit entries and objects in `.watchdog/`.
//! `WATCHDOG_REDIS_URL`, `WATCHDOG_DB_HOST` and `WATCHDOG_STORAGE_TYPE=s3` replace those by real
//! servers. It exits with 78 when the configuration is not usable and with 69 when a configured
//! server cannot be reached at start (`sysexits.h`); once it runs, servers may come and go.

mod app;
mod audit;
mod auth;
mod backends;
mod config;
mod failure;
mod files;
mod page;
mod principal;
mod routes;
mod serve;
mod sessions;
mod users;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing_subscriber::EnvFilter;
use watchdog_core::config::{Loaded, Loader};

use crate::config::Configuration;

/// `EX_CONFIG`.
const BAD_CONFIGURATION: u8 = 78;
/// `EX_UNAVAILABLE`.
const UNAVAILABLE: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    let loaded = match Loader::from_env().load::<Configuration>() {
        Ok(loaded) => loaded,
        Err(report) => return give_up(BAD_CONFIGURATION, &report.to_string()),
    };
    start_logging(&loaded);
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
    match run(loaded).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => give_up(UNAVAILABLE, &chain(&*error)),
    }
}

async fn run(loaded: Loaded<Configuration>) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is counted.
    let metrics = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 1.0, 5.0])?
        .install_recorder()?;
    let environment = loaded.environment();
    let configuration = loaded.into_inner();
    let service = configuration.5.clone();
    let backends = backends::connect(environment, configuration).await?;
    let app = app::App::new(&backends, metrics);
    serve::serve(&service, app, backends).await
}

fn start_logging(loaded: &Loaded<Configuration>) {
    let level = loaded.0.log_level.as_str().to_lowercase();
    let filter = EnvFilter::new(format!("{level},fred=warn,sqlx=warn"));
    // Standard output is for the address.
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn give_up(code: u8, text: &str) -> ExitCode {
    // There is nobody left to tell when this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
