//! From the first connection to the last.

use std::future::IntoFuture as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::backends::Backends;
use crate::config::ServiceConfig;
use crate::routes;

/// How long requests in flight may go on after the last connection was accepted.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// How often the recorder of the metrics tidies up.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then drains.
///
/// Readiness fails first, and the service goes on for `drain`, so that load balancers notice; then
/// it accepts nothing more, finishes what is in flight and writes what the audit log took.
pub(crate) async fn serve(
    config: &ServiceConfig,
    app: App,
    backends: Backends,
) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(&config.addr).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let upkeep = tokio::spawn({
        let metrics = app.metrics.clone();
        async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics.run_upkeep();
            }
        }
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let (health, drain) = (app.health.clone(), config.drain);
    let (closing, mut closed) = tokio::sync::watch::channel(false);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        health.drain();
        tokio::time::sleep(drain).await;
        let _ = closing.send(true);
    };
    let service = routes::router(app).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(stop).into_future();
    let late = async move {
        // An error means that the server is gone already.
        if closed.wait_for(|closed| *closed).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(IN_FLIGHT).await;
    };
    tokio::select! {
        result = server => result?,
        () = late => tracing::warn!("requests were cut off after {IN_FLIGHT:?}"),
    }
    upkeep.abort();
    backends.close().await;
    tracing::info!("stopped");
    Ok(())
}
