//! A role that writes and owns nothing.

use watchdog_audit::PostgresCopy;
use watchdog_core::Secret;
use watchdog_storage::postgres::{DbConfig, Postgres, sqlx};
use watchdog_storage::testing::postgres::{APP_PASSWORD, APP_USER, shared};

use super::desk::Desk;
use crate::bench::record;

/// The statements the documentation gives, for the role of the tests.
fn grants() -> String {
    let source = include_str!("../../../src/copy.rs");
    let statements = source.lines().filter_map(|line| line.strip_prefix("/// GRANT "));
    let statements = statements.filter(|statement| statement.ends_with("TO writer;"));
    let grants: Vec<_> = statements
        .map(|statement| format!("GRANT {}", statement.replace("TO writer", "TO app")))
        .collect();
    assert!(grants.len() == 5 && APP_USER == "app");
    grants.join(" ")
}

#[tokio::test]
async fn a_role_with_the_documented_rights_copies_and_can_change_nothing() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    PostgresCopy::new(desk.postgres.clone()).migrate().await.unwrap();
    desk.sql(&grants());
    let config = DbConfig {
        user: Some(APP_USER.into()),
        password: Some(Secret::from(APP_PASSWORD.to_owned())),
        ..desk.database.clone()
    };
    let postgres = Postgres::connect(&config).await.unwrap();
    let desk = Desk { postgres, ..desk };
    let log = desk.log().await;
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 8);
    for refused in [
        "UPDATE watchdog_audit SET outcome = 'success'",
        "DELETE FROM watchdog_audit",
        "TRUNCATE watchdog_audit",
        "DROP TABLE watchdog_audit",
        "SELECT * FROM watchdog_audit",
        "CREATE TABLE public.mine (n int)",
    ] {
        let mut connection = desk.postgres.acquire().await.unwrap();
        let error = sqlx::raw_sql(refused).execute(&mut *connection).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{refused}");
    }
}
