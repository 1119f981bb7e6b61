//! The pool: fairness, overflow, cancelled waits, broken connections.
#![expect(clippy::unwrap_used, reason = "a test states what it expects")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::Row as _;
use tokio::task::JoinSet;
use watchdog_storage::ErrorKind;
use watchdog_storage::postgres::{Connection, DbConfig, Postgres, sqlx};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::postgres::{PostgresServer, is_available, shared};

const LIMIT: Duration = Duration::from_secs(20);

fn sized(config: DbConfig, pool_size: u32, max_overflow: u32) -> DbConfig {
    DbConfig { pool_size, max_overflow, ..config }
}

async fn hold(postgres: &Postgres, count: usize) -> Vec<Connection> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(postgres.acquire().await.unwrap());
    }
    held
}

async fn select_one(connection: &mut Connection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(&mut **connection).await.map(|_| ())
}

async fn waits_until_idle(postgres: &Postgres) {
    eventually("every connection is back", LIMIT, async || postgres.stats().in_use == 0).await;
}

#[tokio::test]
async fn an_acquire_timeout_says_how_many_are_in_use_and_wait() {
    let Some(server) = shared() else { return };
    let config =
        DbConfig { acquire_timeout: Duration::from_millis(50), ..sized(server.config(), 1, 1) };
    let postgres = Postgres::connect(&config).await.unwrap();
    let _held = hold(&postgres, 2).await;
    let error = postgres.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AcquireTimeout);
    assert_eq!(
        error.to_string(),
        "no connection became free within 50ms: 2 of 2 connections in use, 0 calls waiting"
    );
}

#[tokio::test]
async fn a_full_queue_refuses_without_waiting() {
    let Some(server) = shared() else { return };
    let config = DbConfig { max_waiting: 1, ..sized(server.config(), 1, 0) };
    let postgres = Postgres::connect(&config).await.unwrap();
    let held = hold(&postgres, 1).await;
    let waiter = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.acquire().await.map(|_| ()) }
    });
    eventually("one call waits", LIMIT, async || postgres.stats().waiting == 1).await;
    let error = postgres.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Saturated);
    assert_eq!(
        error.to_string(),
        "the queue for connections is full: 1 of 1 connections in use, 1 calls waiting"
    );
    drop(held);
    waiter.await.unwrap().unwrap();
}

#[tokio::test]
async fn overload_is_served_in_the_order_of_arrival() {
    let Some(server) = shared() else { return };
    const CALLS: usize = 200;
    let config = DbConfig {
        acquire_timeout: LIMIT,
        // A check takes as long as the machine likes; the order in question is that of the gate.
        check_idle_after: LIMIT,
        ..sized(server.config(), 5, 0)
    };
    let postgres = Postgres::connect(&config).await.unwrap();
    let held = hold(&postgres, 5).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let (postgres, order) = (postgres.clone(), Arc::clone(&order));
        calls.spawn(async move {
            let start = Instant::now();
            let mut connection = postgres.acquire().await.unwrap();
            order.lock().unwrap().push(call);
            sqlx::query("SELECT pg_sleep(0.002)").execute(&mut *connection).await.unwrap();
            start.elapsed()
        });
    }
    let everybody = async || postgres.stats().waiting == CALLS;
    eventually("every call waits", LIMIT, everybody).await;
    drop(held);
    let longest = calls.join_all().await.into_iter().max().unwrap();
    assert!(longest < LIMIT, "{longest:?}");
    let order = order.lock().unwrap();
    assert_eq!(order.len(), CALLS);
    // Five run at once, so neighbours may change places, and nobody more than that.
    let displaced = order.iter().enumerate().map(|(place, call)| place.abs_diff(*call)).max();
    assert!(displaced.unwrap() <= 5, "{order:?}");
}

#[tokio::test]
async fn overflow_is_closed_when_it_comes_back() {
    let Some(server) = shared() else { return };
    let config = sized(server.create_database(), 3, 4);
    let database = config.name.clone().unwrap();
    let postgres = Postgres::connect(&config).await.unwrap();
    let held = hold(&postgres, 7).await;
    assert_eq!(server.clients(&database), 7);
    assert!(postgres.stats().is_saturated());
    drop(held);
    eventually("the overflow is closed", LIMIT, async || server.clients(&database) == 3).await;
    waits_until_idle(&postgres).await;
    let stats = postgres.stats();
    assert_eq!((stats.connections, stats.idle, stats.max), (3, 3, 7));
}

#[tokio::test]
async fn cancelled_calls_lose_no_place_and_no_connection() {
    if !is_available() {
        return;
    }
    // A server of its own: its log counts the connections.
    let server = PostgresServer::start();
    let config = DbConfig { acquire_timeout: LIMIT, ..sized(server.config(), 8, 0) };
    let postgres = Postgres::connect(&config).await.unwrap();
    for round in 0_u64..40 {
        let crowd: Vec<_> = (0..15)
            .map(|_| {
                let postgres = postgres.clone();
                tokio::spawn(async move {
                    let mut connection = postgres.acquire().await.unwrap();
                    let _ = select_one(&mut connection).await;
                })
            })
            .collect();
        // Spread over queueing, checking, connecting, querying and giving back.
        tokio::time::sleep(Duration::from_micros(round * 379 % 5_000)).await;
        for call in crowd {
            call.abort();
        }
    }
    waits_until_idle(&postgres).await;
    let mut held = hold(&postgres, 8).await;
    for connection in &mut held {
        select_one(connection).await.unwrap();
    }
    assert_eq!(postgres.stats().connections, 8);
    assert_eq!(postgres.stats().waiting, 0);
    assert_eq!(connections_in(&server.log()), (8, 8), "a connection was thrown away");
}

/// How many connections the log of a server saw begin, and sign in.
fn connections_in(log: &str) -> (usize, usize) {
    (log.matches("connection received").count(), log.matches("connection authorized").count())
}

#[tokio::test]
async fn a_connection_that_was_being_opened_for_a_cancelled_call_is_kept() {
    if !is_available() {
        return;
    }
    let server = PostgresServer::start();
    let postgres = Postgres::connect(&sized(server.config(), 6, 0)).await.unwrap();
    waits_until_idle(&postgres).await;
    let mut held = hold(&postgres, 1).await;
    while held.len() < 6 {
        // One poll puts the call into connecting; then it goes away.
        let mut call = Box::pin(postgres.acquire());
        assert!(is_pending(&mut call).await);
        drop(call);
        eventually("it is kept", LIMIT, async || {
            let stats = postgres.stats();
            stats.idle == 1 && stats.in_use == held.len()
        })
        .await;
        held.extend(hold(&postgres, 1).await);
    }
    assert_eq!(connections_in(&server.log()), (6, 6));
}

/// Polls once.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn a_cancelled_statement_keeps_its_place_until_the_server_is_done() {
    let Some(server) = shared() else { return };
    let config =
        DbConfig { statement_timeout: Duration::from_millis(300), ..sized(server.config(), 1, 0) };
    let postgres = Postgres::connect(&config).await.unwrap();
    let start = Instant::now();
    let work = postgres.within(Duration::from_millis(20), async |connection| {
        sqlx::query("SELECT pg_sleep(60)").execute(connection).await?;
        Ok(())
    });
    assert_eq!(work.await.unwrap_err().kind(), ErrorKind::CommandTimeout);
    assert_eq!(postgres.stats().in_use, 1);
    let mut connection = postgres.acquire().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
    select_one(&mut connection).await.unwrap();
}

#[tokio::test]
async fn terminated_idle_connections_do_not_reach_a_caller() {
    let Some(server) = shared() else { return };
    let config = sized(server.create_database(), 5, 0);
    let postgres = Postgres::connect(&config).await.unwrap();
    drop(hold(&postgres, 5).await);
    waits_until_idle(&postgres).await;
    server.terminate_clients(config.name.as_deref().unwrap());
    let mut held = hold(&postgres, 5).await;
    for connection in &mut held {
        select_one(connection).await.unwrap();
    }
}

#[tokio::test]
async fn an_open_transaction_does_not_reach_the_next_caller() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&sized(server.create_database(), 1, 0)).await.unwrap();
    let backend = async |connection: &mut Connection| -> i32 {
        let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut **connection).await;
        row.unwrap().get(0)
    };
    let mut connection = postgres.acquire().await.unwrap();
    let first = backend(&mut connection).await;
    sqlx::raw_sql("BEGIN; CREATE TABLE leaked ()").execute(&mut *connection).await.unwrap();
    drop(connection);
    let mut connection = postgres.acquire().await.unwrap();
    assert_ne!(backend(&mut connection).await, first);
    let row = sqlx::query("SELECT to_regclass('leaked') IS NULL").fetch_one(&mut *connection).await;
    assert!(row.unwrap().get::<bool, _>(0), "the transaction was not rolled back");

    // The driver forgets a BEGIN whose caller goes away before the answer.
    drop(connection);
    let second = loop {
        let mut connection = postgres.acquire().await.unwrap();
        let backend = backend(&mut connection).await;
        // Once in a while the answer is there at the first look, and nothing is interrupted.
        if is_pending(&mut Box::pin(connection.begin())).await {
            break backend;
        }
    };
    let mut connection = postgres.acquire().await.unwrap();
    assert_ne!(backend(&mut connection).await, second);
}

#[tokio::test]
async fn a_transaction_lasts_only_when_it_is_committed() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&sized(server.create_database(), 1, 0)).await.unwrap();
    let mut transaction = postgres.begin().await.unwrap();
    sqlx::query("CREATE TABLE t (id int)").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let insert = async |id: i32| {
        let mut transaction = postgres.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES ($1)").bind(id).execute(&mut *transaction).await.unwrap();
        transaction
    };
    insert(1).await.commit().await.unwrap();
    insert(2).await.rollback().await.unwrap();
    drop(insert(3).await);
    let mut connection = postgres.acquire().await.unwrap();
    let rows = sqlx::query("SELECT id FROM t").fetch_all(&mut *connection).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [1]);
    // All three used one connection: a rollback does not cost it.
    assert_eq!(postgres.stats().connections, 1);
}

#[tokio::test]
async fn old_and_idle_connections_are_closed() {
    let Some(server) = shared() else { return };
    let idle = DbConfig {
        idle_timeout: Duration::from_millis(200),
        ..sized(server.create_database(), 4, 0)
    };
    let old = DbConfig {
        max_lifetime: Duration::from_millis(200),
        ..sized(server.create_database(), 4, 0)
    };
    for config in [idle, old] {
        let database = config.name.clone().unwrap();
        let postgres = Postgres::connect(&config).await.unwrap();
        drop(hold(&postgres, 4).await);
        eventually("they are closed", LIMIT, async || server.clients(&database) == 0).await;
        select_one(&mut postgres.acquire().await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn closing_waits_for_connections_in_use_and_refuses_new_calls() {
    let Some(server) = shared() else { return };
    let config = sized(server.create_database(), 2, 0);
    let database = config.name.clone().unwrap();
    let postgres = Postgres::connect(&config).await.unwrap();
    let mut held = hold(&postgres, 1).await;
    let closing = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.close().await }
    });
    eventually("it is closing", LIMIT, async || postgres.stats().is_saturated()).await;
    select_one(held.first_mut().unwrap()).await.unwrap();
    assert!(!closing.is_finished());
    drop(held);
    closing.await.unwrap();
    assert_eq!(postgres.acquire().await.unwrap_err().kind(), ErrorKind::Unavailable);
    eventually("nothing is left", LIMIT, async || server.clients(&database) == 0).await;
}

#[tokio::test]
async fn a_commit_after_a_failed_statement_is_an_error_and_the_connection_goes_on() {
    let Some(server) = shared() else { return };
    let postgres = Postgres::connect(&sized(server.create_database(), 1, 0)).await.unwrap();
    let mut connection = postgres.acquire().await.unwrap();
    sqlx::query("CREATE TABLE kept (id int)").execute(&mut *connection).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (1)").execute(&mut *transaction).await.unwrap();
    let passed_over = sqlx::query("SELECT 1 / 0").execute(&mut *transaction).await;
    assert!(passed_over.is_err());
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Precondition);
    assert!(!error.is_retryable());
    let mut connection = postgres.acquire().await.unwrap();
    let row = sqlx::query("SELECT count(*) FROM kept").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0);
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (2)").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}
