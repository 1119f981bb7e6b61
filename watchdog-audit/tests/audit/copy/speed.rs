//! How fast rows come in, and that the queries the documentation shows use an index.

use std::time::Instant;

use watchdog_audit::AuditLog;
use watchdog_core::audit::Category;
use watchdog_storage::testing::postgres::shared;

use super::desk::Desk;
use crate::bench::entry;

/// Records many entries, many at a time.
async fn record_many(log: &AuditLog, count: u64) {
    for begin in (0..count).step_by(1000) {
        let mut tasks = tokio::task::JoinSet::new();
        for n in begin..(begin + 1000).min(count) {
            let log = log.clone();
            let entry = entry(n).with_request_id(format!("r-{n}"));
            tasks.spawn(async move { log.record(entry).await.unwrap() });
        }
        tasks.join_all().await;
    }
}

/// 100 000 rows with `WD_TEST_LONG=1`.
#[expect(clippy::disallowed_methods, reason = "how long to test is no setting of the SDK")]
fn count() -> u64 {
    if std::env::var_os("WD_TEST_LONG").is_some() { 100_000 } else { 6_000 }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the rate is for people")]
async fn many_rows_come_in_batches_and_documented_queries_use_an_index() {
    let Some(server) = shared() else { return };
    let count = count();
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    record_many(&log, count).await;
    log.seal_and_archive().await.unwrap();
    let begun = Instant::now();
    let copied = log.copy_to_postgres().await.unwrap();
    let took = begun.elapsed();
    assert_eq!((copied.rows, desk.rows()), (count, count));
    #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
    let rate = count as f64 / took.as_secs_f64();
    let bytes = desk.sql(
        "SELECT sum(pg_table_size(relid)) / count(*), sum(pg_indexes_size(relid)) FROM \
             pg_partition_tree('watchdog_audit') WHERE isleaf",
    );
    eprintln!("copied {count} rows in {took:?}: {rate:.0} rows/s; sizes {bytes}");
    desk.sql("ANALYZE watchdog_audit");
    let month = desk.months("access").remove(0);
    for (index, query) in ["outcome", "resource", "request"].into_iter().zip(documented()) {
        uses_an_index(&desk, &month, index, &query);
    }
    uses_an_index(
        &desk,
        &month,
        "subject",
        "SELECT * FROM watchdog_audit WHERE subject = 'nobody'",
    );
    let newest = "SELECT * FROM watchdog_audit ORDER BY recorded_at DESC LIMIT 10";
    uses_an_index(&desk, &month, "pkey", newest);
}

/// The queries of the documentation.
fn documented() -> Vec<String> {
    let source = include_str!("../../../src/copy.rs");
    let begin = source.find("/// # Queries").unwrap();
    let block = source[begin..].split("```").nth(1).unwrap();
    let lines = block.lines().skip(1).map(|line| line.trim_start_matches("/// "));
    let sql: String = lines
        .filter(|line| !line.starts_with("--"))
        .fold(String::new(), |sql, line| sql + line + " ");
    let queries: Vec<_> = sql.split(';').map(|query| query.trim().to_owned()).collect();
    assert!(queries.len() >= 4, "{queries:?}");
    queries
}

/// No partition of the month with the rows is read from end to end.
fn uses_an_index(desk: &Desk<'_>, month: &str, index: &str, query: &str) {
    desk.sql(query);
    let plan = desk.sql(&format!("EXPLAIN {query}"));
    for category in Category::ALL {
        let partition = format!("watchdog_audit_{category}_{month}");
        assert!(!plan.contains(&format!("Seq Scan on {partition} ")), "{index}: {plan}");
        assert!(plan.contains(&format!("on {partition} ")), "{index}: {plan}");
    }
    assert!(plan.contains("Index"), "{index}: {plan}");
}
