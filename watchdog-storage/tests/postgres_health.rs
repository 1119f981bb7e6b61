//! Health and recovery: busy, frozen, gone, back.

use std::time::{Duration, Instant};

use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::ErrorKind;
use watchdog_storage::postgres::{DbConfig, Postgres, sqlx};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::postgres::{PostgresServer, is_available, shared};

const LIMIT: Duration = Duration::from_secs(20);

fn small(config: DbConfig) -> DbConfig {
    DbConfig { pool_size: 2, max_overflow: 3, ..config }
}

async fn works(postgres: &Postgres) -> bool {
    let one = async |connection: &mut sqlx::PgConnection| {
        sqlx::query("SELECT 1").execute(connection).await?;
        Ok(())
    };
    postgres.within(Duration::from_secs(5), one).await.is_ok()
}

#[tokio::test]
async fn a_working_server_passes_with_numbers() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&small(server.config())).await.unwrap();
    let report = postgres.health().check().await;
    assert_eq!((report.status, report.output), (Status::Pass, None));
    assert_eq!(report.observations.get("connections_max"), Some(&5.0));
    assert!(report.observations.contains_key("round_trip_ms"));
}

#[tokio::test]
async fn a_busy_pool_warns_and_is_not_called_down() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&small(server.config())).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(postgres.acquire().await.unwrap());
    }
    let waiter = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.acquire().await.map(drop) }
    });
    eventually("one call waits", LIMIT, async || postgres.stats().waiting == 1).await;
    let start = Instant::now();
    let report = postgres.health().check().await;
    assert!(start.elapsed() < Duration::from_secs(1), "the probe queued");
    assert_eq!(report.status, Status::Warn);
    let expected = "pool saturated: 5 of 5 connections in use, 1 calls waiting";
    assert_eq!(report.output.as_deref(), Some(expected));
    assert_eq!(postgres.stats().waiting, 1);
    drop(held);
    waiter.await.unwrap().unwrap();
    eventually("it passes again", LIMIT, async || {
        postgres.health().check().await.status == Status::Pass
    })
    .await;
}

#[tokio::test]
async fn a_frozen_server_fails_in_time_and_recovers() {
    if !is_available() {
        return;
    }
    let server = PostgresServer::start();
    let postgres = Postgres::connect(&small(server.config())).await.unwrap();
    server.pause();
    let start = Instant::now();
    let report = postgres.health().check().await;
    let elapsed = start.elapsed();
    assert_eq!(report.status, Status::Fail);
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    assert_eq!(report.output.as_deref(), Some("the server does not answer in time"));
    server.resume();
    eventually("it passes again", LIMIT, async || {
        postgres.health().check().await.status == Status::Pass
    })
    .await;
    assert!(works(&postgres).await);
}

#[tokio::test]
async fn a_busy_pool_on_a_silent_server_is_unknown() {
    if !is_available() {
        return;
    }
    let server = PostgresServer::start();
    let config = DbConfig {
        pool_size: 1,
        max_overflow: 0,
        statement_timeout: Duration::from_millis(100),
        ..server.config()
    };
    let postgres = Postgres::connect(&config).await.unwrap();
    let held = postgres.acquire().await.unwrap();
    assert_eq!(postgres.health().check().await.status, Status::Warn);
    server.pause();
    let is_unknown = async || postgres.health().check().await.status == Status::Unknown;
    eventually("the silence shows", LIMIT, is_unknown).await;
    server.resume();
    drop(held);
    eventually("it passes again", LIMIT, async || {
        postgres.health().check().await.status == Status::Pass
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_without_a_new_client() {
    if !is_available() {
        return;
    }
    let mut server = PostgresServer::start();
    let postgres = Postgres::connect(&small(server.config())).await.unwrap();
    for _ in 0..2 {
        let in_flight = postgres.acquire().await.unwrap();
        server.kill();
        let report = postgres.health().check().await;
        assert_eq!(report.status, Status::Fail);
        assert_eq!(report.output.as_deref(), Some("the server cannot be reached"));
        let error = postgres.acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable());
        drop(in_flight);
        server.restart();
        assert!(works(&postgres).await);
        assert_eq!(postgres.health().check().await.status, Status::Pass);
    }
}

#[tokio::test]
async fn a_report_never_shows_where_the_server_is() {
    let Some(server) = shared() else { return };
    let mut config = small(server.config());
    let postgres = Postgres::connect(&config).await.unwrap();
    let passed = format!("{:?}", postgres.health().check().await);
    config.port = watchdog_storage::testing::free_port();
    let failed = Postgres::connect(&config).await.unwrap_err().to_string();
    for text in [passed, failed] {
        assert!(
            !text.contains("127.0.0.1") && !text.contains(&server.port().to_string()),
            "{text}"
        );
    }
}
