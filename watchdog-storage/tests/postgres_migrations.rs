//! Migrations: once each, by whoever comes first, with clear errors.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use tokio::task::JoinSet;
use watchdog_storage::ErrorKind;
use watchdog_storage::postgres::{DbConfig, Postgres, sqlx};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::postgres::{PostgresServer, shared};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};

async fn migrator(name: &str) -> Migrator {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrations").join(name);
    Migrator::new(directory).await.unwrap()
}

fn ask(server: &PostgresServer, config: &DbConfig, sql: &str) -> String {
    server.execute(config.name.as_deref().unwrap(), sql)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_migrate_at_once_apply_each_migration_once() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let mut processes = JoinSet::new();
    for _ in 0..4 {
        // A client of its own stands for a process: nothing is shared but the database.
        let config = config.clone();
        processes.spawn(async move {
            let postgres = Postgres::connect(&config).await.unwrap();
            postgres.migrate(&migrator("first").await).await.unwrap();
        });
    }
    processes.join_all().await;
    assert_eq!(ask(server, &config, "SELECT id, total FROM orders"), "1|1");
    let applied = "SELECT version, success FROM _sqlx_migrations ORDER BY 1";
    assert_eq!(ask(server, &config, applied), "1|t\n2|t");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(ask(server, &config, locks), "0");
}

#[tokio::test]
async fn a_library_can_keep_its_own_table() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let postgres = Postgres::connect(&config).await.unwrap();
    let mut own = migrator("first").await;
    own.dangerous_set_table_name("_watchdog_migrations");
    postgres.migrate(&own).await.unwrap();
    let tables = "SELECT to_regclass('_watchdog_migrations'), to_regclass('_sqlx_migrations')";
    assert_eq!(ask(server, &config, tables), "_watchdog_migrations|");
}

#[tokio::test]
async fn a_migration_that_changed_or_is_not_known_is_named() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let postgres = Postgres::connect(&config).await.unwrap();
    postgres.migrate(&migrator("first").await).await.unwrap();
    let error = postgres.migrate(&migrator("changed").await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
    assert!(error.to_string().starts_with("migration 2 was applied with another content"));

    let error = postgres.migrate(&migrator("locked").await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
    assert!(error.to_string().contains("the database is newer than the program"), "{error}");
    // Nothing is locked afterwards.
    postgres.migrate(&migrator("first").await).await.unwrap();
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_and_is_named() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let postgres = Postgres::connect(&config).await.unwrap();
    let error = postgres.migrate(&migrator("broken").await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("migration 3 failed: "), "{error}");
    let left = "SELECT to_regclass('half_done') IS NULL, count(*) FROM _sqlx_migrations";
    assert_eq!(ask(server, &config, left), "t|2");
}

#[tokio::test]
async fn a_migration_does_not_wait_for_a_busy_table_for_ever() {
    let Some(server) = shared() else { return };
    let config =
        DbConfig { migration_lock_timeout: Duration::from_millis(100), ..server.create_database() };
    let postgres = Postgres::connect(&config).await.unwrap();
    let mut transaction = postgres.begin().await.unwrap();
    sqlx::raw_sql("CREATE TABLE busy ()").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = postgres.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE busy").execute(&mut *transaction).await.unwrap();
    let locked = migrator("locked").await;
    let result = tokio::time::timeout(Duration::from_secs(20), postgres.migrate(&locked)).await;
    let error = result.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandTimeout);
    assert!(error.is_retryable());
    transaction.rollback().await.unwrap();
    postgres.migrate(&migrator("locked").await).await.unwrap();
}

#[tokio::test]
async fn the_wait_for_another_process_is_bounded() {
    let Some(server) = shared() else { return };
    let config =
        DbConfig { migration_wait: Duration::from_millis(150), ..server.create_database() };
    let postgres = Postgres::connect(&config).await.unwrap();
    let mut other = postgres.acquire().await.unwrap();
    let key = i64::from_be_bytes(*b"wdmigrat");
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(key);
    lock.execute(&mut *other).await.unwrap();
    let error = postgres.migrate(&migrator("first").await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandTimeout);
    assert!(error.to_string().contains("another process has been migrating"), "{error}");
    other.discard();
    let config = DbConfig { migration_wait: Duration::from_secs(20), ..config };
    let postgres = Postgres::connect(&config).await.unwrap();
    postgres.migrate(&migrator("first").await).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_up_the_migrations_for_ever() {
    let Some(server) = shared() else { return };
    let direct = server.create_database();
    let proxy = FaultProxy::start(direct.port).await.unwrap();
    let config = DbConfig { host: Some("127.0.0.1".into()), port: proxy.port(), ..direct.clone() };
    let postgres = Postgres::connect(&config).await.unwrap();
    let mut other = Postgres::connect(&direct).await.unwrap().acquire().await.unwrap();
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(i64::from_be_bytes(*b"wdmigrat"));
    lock.execute(&mut *other).await.unwrap();
    let before = proxy.bytes_to_server();
    let migrating = tokio::spawn(async move { postgres.migrate(&migrator("first").await).await });
    // A sign-in is some hundred bytes; what follows are the looks at the lock.
    let looks = async || proxy.bytes_to_server() > before + 1_500;
    eventually("it looks at the lock", Duration::from_secs(20), looks).await;
    proxy.set(Fault::Freeze);
    let ended = tokio::time::timeout(Duration::from_secs(20), migrating).await;
    let error = ended.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandTimeout);
    assert!(error.to_string().contains("did not answer"), "{error}");
}

#[tokio::test]
async fn migrations_do_not_run_through_pgbouncer() {
    let Some(server) = shared() else { return };
    let config = DbConfig { pgbouncer: true, ..server.create_database() };
    let postgres = Postgres::connect(&config).await.unwrap();
    let error = postgres.migrate(&migrator("first").await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
