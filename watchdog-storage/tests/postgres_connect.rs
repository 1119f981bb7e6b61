//! Connecting: sign-in, TLS, statements, timeouts.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::error::Error as _;
use std::time::{Duration, Instant};

use sqlx::Row as _;
use watchdog_core::{HealthCheck as _, Secret};
use watchdog_storage::postgres::{DbConfig, Postgres, SslMode, sqlx};
use watchdog_storage::testing::postgres::{
    APP_PASSWORD, APP_USER, Certificates, PostgresServer, is_available, shared,
};
use watchdog_storage::{Error, ErrorKind};

async fn refused(config: &DbConfig) -> Error {
    Postgres::connect(config).await.map(|_| ()).unwrap_err()
}

fn as_app(config: DbConfig, password: &str) -> DbConfig {
    DbConfig { user: Some(APP_USER.into()), password: Some(Secret::from(password)), ..config }
}

async fn is_encrypted(postgres: &Postgres) -> bool {
    let mut connection = postgres.acquire().await.unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    sqlx::query(sql).fetch_one(&mut *connection).await.unwrap().get(0)
}

#[tokio::test]
async fn a_role_signs_in_with_its_password() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&as_app(server.config(), APP_PASSWORD)).await.unwrap();
    let mut connection = postgres.acquire().await.unwrap();
    let row = sqlx::query("SELECT current_user::text, $1::int8 + 1")
        .bind(41_i64)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!((row.get::<String, _>(0).as_str(), row.get::<i64, _>(1)), (APP_USER, 42));
    drop(connection);
    assert!(!is_encrypted(&postgres).await);
}

#[tokio::test]
async fn wrong_credentials_are_told_from_a_wrong_database_and_a_dead_server() {
    let Some(server) = shared() else { return };
    let wrong = as_app(server.config(), "not-the-password");
    let error = refused(&wrong).await;
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("28P01"), "{error}");
    assert!(!error.is_retryable());

    let absent = DbConfig { name: Some("absent".into()), ..server.config() };
    assert_eq!(refused(&absent).await.kind(), ErrorKind::NotFound);

    let nobody = DbConfig { port: watchdog_storage::testing::free_port(), ..server.config() };
    let error = refused(&nobody).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_server_that_does_not_greet_is_a_connect_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = DbConfig {
        host: Some("127.0.0.1".into()),
        port: silent.local_addr().unwrap().port(),
        name: Some("app".into()),
        user: Some("app".into()),
        ssl: false,
        connect_timeout: Duration::from_millis(100),
        ..DbConfig::default()
    };
    let error = refused(&config).await;
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
    assert_eq!(error.to_string(), "no connection to the database server within 100ms");
}

#[tokio::test]
async fn contradicting_settings_do_not_connect() {
    let error = refused(&DbConfig::default()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    let config = DbConfig { host: Some("localhost".into()), ..DbConfig::default() };
    let error = refused(&config).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("name"), "{error}");
}

#[tokio::test]
async fn the_server_cancels_a_statement_that_takes_too_long() {
    let Some(server) = shared() else { return };
    let config = DbConfig { statement_timeout: Duration::from_millis(100), ..server.config() };
    let postgres = Postgres::connect(&config).await.unwrap();
    let mut connection = postgres.acquire().await.unwrap();
    let start = Instant::now();
    let result = sqlx::query("SELECT pg_sleep(60)").execute(&mut *connection).await;
    let error = Error::from(result.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::CommandTimeout);
    assert!(error.to_string().contains("57014"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
    // The session goes on.
    sqlx::query("SELECT 1").execute(&mut *connection).await.unwrap();
}

#[tokio::test]
async fn work_ends_in_time_whatever_the_server_does() {
    let Some(server) = shared() else { return };
    let config = DbConfig { statement_timeout: Duration::from_secs(2), ..server.config() };
    let postgres = Postgres::connect(&config).await.unwrap();
    let error = postgres
        .within(Duration::from_millis(50), async |connection| {
            sqlx::query("SELECT pg_sleep(60)").execute(connection).await?;
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandTimeout);
    let two = postgres
        .within(Duration::from_secs(10), async |connection| {
            Ok(sqlx::query("SELECT 2").fetch_one(connection).await?.get::<i32, _>(0))
        })
        .await
        .unwrap();
    assert_eq!(two, 2);
}

#[tokio::test]
async fn the_kind_of_a_statement_error_says_what_happened() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&server.create_database()).await.unwrap();
    let mut connection = postgres.acquire().await.unwrap();
    let mut kind_of = async |sql: &'static str| {
        let result = sqlx::query(sql).execute(&mut *connection).await;
        result.map(|_| ()).map_err(|error| Error::from(error).kind())
    };
    assert!(kind_of("CREATE TABLE t (id int PRIMARY KEY CHECK (id > 0))").await.is_ok());
    assert!(kind_of("INSERT INTO t VALUES (1)").await.is_ok());
    assert_eq!(kind_of("INSERT INTO t VALUES (1)").await, Err(ErrorKind::AlreadyExists));
    assert_eq!(kind_of("INSERT INTO t VALUES (0)").await, Err(ErrorKind::Precondition));
    assert_eq!(kind_of("SELECT * FROM absent").await, Err(ErrorKind::NotFound));
    assert_eq!(kind_of("SELEC 1").await, Err(ErrorKind::Misuse));
    assert!(kind_of("SET default_transaction_read_only = on").await.is_ok());
    assert_eq!(kind_of("INSERT INTO t VALUES (2)").await, Err(ErrorKind::Refusing));
    connection.discard();
}

#[tokio::test]
async fn tls_proves_what_its_mode_promises() {
    if !is_available() {
        return;
    }
    let server = PostgresServer::start_tls();
    let good = server.config();
    assert_eq!(good.effective_ssl_mode(), SslMode::VerifyFull);
    assert!(is_encrypted(&Postgres::connect(&good).await.unwrap()).await);

    // The certificate is for `localhost`.
    let by_address = DbConfig { host: Some("127.0.0.1".into()), ..good.clone() };
    assert_eq!(refused(&by_address).await.kind(), ErrorKind::Config);
    let only_the_authority = DbConfig { ssl_mode: Some(SslMode::VerifyCa), ..by_address.clone() };
    assert!(is_encrypted(&Postgres::connect(&only_the_authority).await.unwrap()).await);

    let other = server.directory().join("other.pem");
    std::fs::write(&other, Certificates::generate().authority).unwrap();
    for ssl_mode in [SslMode::VerifyFull, SslMode::VerifyCa] {
        let strange =
            DbConfig { tls_ca: Some(other.clone()), ssl_mode: Some(ssl_mode), ..good.clone() };
        let error = refused(&strange).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}: {:?}", error.source());
        let unknown = DbConfig { tls_ca: None, ssl_mode: Some(ssl_mode), ..good.clone() };
        assert_eq!(refused(&unknown).await.kind(), ErrorKind::Config);
    }
    let unverified =
        DbConfig { tls_ca: None, ssl_mode: Some(SslMode::Require), ..by_address.clone() };
    assert!(is_encrypted(&Postgres::connect(&unverified).await.unwrap()).await);
    let plain = DbConfig { tls_ca: None, ssl: false, ..by_address };
    assert!(!is_encrypted(&Postgres::connect(&plain).await.unwrap()).await);
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let Some(server) = shared() else { return };
    for ssl_mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let config = DbConfig { ssl: true, ssl_mode: Some(ssl_mode), ..server.config() };
        let error = refused(&config).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

#[tokio::test]
async fn an_authority_file_is_read_at_the_start() {
    let Some(server) = shared() else { return };
    let absent = server.directory().join("absent.pem");
    let config = DbConfig { ssl: true, tls_ca: Some(absent), ..server.config() };
    let error = refused(&config).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("cannot be read"), "{error}");
    let empty = server.directory().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let config = DbConfig { ssl: true, tls_ca: Some(empty), ..server.config() };
    assert!(refused(&config).await.to_string().contains("no PEM certificate"));
}

#[tokio::test]
async fn the_password_shows_nowhere() {
    let Some(server) = shared() else { return };
    let config = as_app(server.config(), APP_PASSWORD);
    let postgres = Postgres::connect(&config).await.unwrap();
    let wrong = as_app(DbConfig { name: Some("absent".into()), ..server.config() }, APP_PASSWORD);
    let error = refused(&wrong).await;
    let shown = [
        format!("{config:?} {config:#?}"),
        format!("{postgres:?} {postgres:#?}"),
        format!("{:?}", postgres.acquire().await.unwrap()),
        format!("{:?}", postgres.begin().await.unwrap()),
        format!("{error} {error:?} {:?}", error.source()),
        format!("{:?}", postgres.health().check().await),
    ];
    for text in shown {
        assert!(!text.contains(APP_PASSWORD), "{text}");
    }
}

#[tokio::test]
async fn every_call_can_be_spawned() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let task = tokio::spawn(async move {
        let postgres = Postgres::connect(&config).await?;
        postgres.migrate(&sqlx::migrate::Migrator::with_migrations(Vec::new())).await?;
        let mut transaction = postgres.begin().await?;
        sqlx::query("CREATE TABLE t ()").execute(&mut *transaction).await?;
        transaction.commit().await?;
        let work = async |connection: &mut sqlx::PgConnection| {
            sqlx::query("SELECT 1").execute(connection).await?;
            Ok(())
        };
        postgres.within(Duration::from_secs(5), work).await?;
        postgres.health().check().await;
        postgres.close().await;
        Ok::<(), Error>(())
    });
    task.await.unwrap().unwrap();
}
