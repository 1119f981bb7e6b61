//! The metrics of the pool, as Prometheus sees them.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use watchdog_storage::postgres::{DbConfig, Postgres};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::postgres::shared;

#[test]
fn the_pool_shows_in_the_metrics() {
    let Some(server) = shared() else { return };
    let config = DbConfig {
        pool_size: 1,
        max_overflow: 1,
        max_waiting: 1,
        acquire_timeout: Duration::from_millis(50),
        ..server.create_database()
    };
    let database = config.name.clone().unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let has = |line: &str| {
        let text = handle.render();
        let line = line.replace("DB", &database);
        assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
    };
    let use_it_up = async {
        let postgres = Postgres::connect(&config).await.unwrap();
        let held = (postgres.acquire().await.unwrap(), postgres.acquire().await.unwrap());
        has("watchdog_storage_postgres_connections{database=\"DB\"} 2");
        has("watchdog_storage_postgres_connections_max{database=\"DB\"} 2");
        has("watchdog_storage_postgres_connections_in_use{database=\"DB\"} 2");
        let (timed_out, refused) = tokio::join!(postgres.acquire(), postgres.acquire());
        assert!(timed_out.is_err() && refused.is_err());
        has("watchdog_storage_postgres_timeouts_total{kind=\"acquire\"} 1");
        has("watchdog_storage_postgres_acquires_refused_total 1");
        has("watchdog_storage_postgres_connects_total{outcome=\"success\"} 2");
        drop(held);
        let is_back = async || postgres.stats().in_use == 0;
        eventually("both are back", Duration::from_secs(10), is_back).await;
        has("watchdog_storage_postgres_connections_in_use{database=\"DB\"} 0");
        has("watchdog_storage_postgres_connections_idle{database=\"DB\"} 1");
        has("watchdog_storage_postgres_acquires_waiting{database=\"DB\"} 0");
        has("watchdog_storage_postgres_acquire_wait_seconds_count 5");
        has("# TYPE watchdog_storage_postgres_connections gauge");
    };
    metrics::with_local_recorder(&recorder, || runtime.block_on(use_it_up));
}
