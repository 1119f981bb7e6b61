//! Subject keys in Postgres, on a real server.

use std::sync::Arc;

use watchdog_audit::{ErrorKind, KeyVault, PostgresVault, SubjectHandle, testing};
use watchdog_core::Secret;
use watchdog_storage::postgres::{DbConfig, Postgres};
use watchdog_storage::testing::postgres::{APP_PASSWORD, APP_USER, PostgresServer, shared};

async fn vault(config: &DbConfig) -> PostgresVault {
    PostgresVault::new(Postgres::connect(config).await.unwrap())
}

fn sql(server: &PostgresServer, config: &DbConfig, statement: &str) -> String {
    server.execute(config.name.as_deref().unwrap(), statement)
}

#[tokio::test]
async fn the_postgres_vault_conforms() {
    let Some(server) = shared() else { return };
    testing::key_vault(Arc::new(vault(&server.create_database()).await)).await;
}

#[tokio::test]
async fn the_vault_conforms_in_a_schema_and_with_the_documented_rights_alone() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let owner = vault(&config).await.with_schema("keys").unwrap();
    owner.preflight().await.unwrap();
    let source = include_str!("../../src/subjects/postgres.rs");
    let grants = source.lines().filter_map(|line| line.strip_prefix("/// GRANT "));
    let grants = grants.map(|grant| {
        let grant = grant.replace("SCHEMA public TO", "SCHEMA keys TO");
        format!(
            "GRANT {};",
            grant.replace("TO writer;", "TO app").replace("ON watch", "ON keys.watch")
        )
    });
    sql(server, &config, &grants.collect::<String>());
    let config = DbConfig {
        user: Some(APP_USER.into()),
        password: Some(Secret::from(APP_PASSWORD.to_owned())),
        ..config
    };
    testing::key_vault(Arc::new(vault(&config).await.with_schema("keys").unwrap())).await;
}

#[tokio::test]
async fn nothing_of_an_erased_key_can_be_selected() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let vault = vault(&config).await;
    vault.preflight().await.unwrap();
    let handle = SubjectHandle::from_bytes(&[7; 16]);
    vault.create(&handle, "a", b"wrapped").await.unwrap();
    let all = "SELECT handle, label, wrapped FROM watchdog_audit_subject_keys";
    assert!(sql(server, &config, all).contains("\\x77726170706564"));
    assert_eq!(vault.erase(&handle).await.unwrap(), 1);
    let tombstone = format!("{}|a|", handle.as_str());
    assert_eq!(sql(server, &config, all), tombstone);
    assert_eq!(vault.create(&handle, "a", b"x").await.unwrap_err().kind(), ErrorKind::Busy);
}

#[tokio::test]
async fn newer_tables_of_keys_are_refused() {
    let Some(server) = shared() else { return };
    let config = server.create_database();
    let vault = vault(&config).await;
    vault.preflight().await.unwrap();
    sql(server, &config, "UPDATE watchdog_audit_subject_migrations SET version = version + 1");
    assert_eq!(vault.preflight().await.unwrap_err().kind(), ErrorKind::Config);
}
