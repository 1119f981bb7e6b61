//! Rows side by side, as the arrays one statement takes.

use std::collections::BTreeSet;

use watchdog_core::audit::Category;
use watchdog_storage::postgres::sqlx::PgConnection;
use watchdog_storage::postgres::{classify, sqlx};

use crate::copy::month::Month;
use crate::copy::row::Row;
use crate::postgres::{Schema, query};

/// Most rows of one statement.
const MAX_ROWS: usize = 2_000;
/// Most bytes of lines in one statement, but for the last line.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The columns of some rows.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    bytes: usize,
    months: BTreeSet<(Category, Month)>,
    recorded_at: Vec<String>,
    writer: Vec<Vec<u8>>,
    sequence: Vec<i64>,
    category: Vec<&'static str>,
    id: Vec<String>,
    occurred_at: Vec<String>,
    actor_type: Vec<String>,
    actor_id: Vec<Option<String>>,
    subject: Vec<Option<String>>,
    action: Vec<String>,
    resource_type: Vec<String>,
    resource_id: Vec<String>,
    outcome: Vec<&'static str>,
    client_ip: Vec<Option<String>>,
    client_agent: Vec<Option<String>>,
    request_id: Vec<Option<String>>,
    trace_id: Vec<Option<String>>,
    details: Vec<Option<String>>,
    is_exact: Vec<bool>,
    line: Vec<String>,
}

impl Columns {
    pub(crate) fn push(&mut self, row: Row) {
        self.bytes += row.line.len();
        self.months.insert((row.category, row.month));
        self.recorded_at.push(row.recorded_at);
        self.writer.push(row.writer.to_vec());
        self.sequence.push(row.sequence);
        self.category.push(row.category.as_str());
        self.id.push(row.id);
        self.occurred_at.push(row.occurred_at);
        self.actor_type.push(row.actor_type);
        self.actor_id.push(row.actor_id);
        self.subject.push(row.subject);
        self.action.push(row.action);
        self.resource_type.push(row.resource_type);
        self.resource_id.push(row.resource_id);
        self.outcome.push(row.outcome);
        self.client_ip.push(row.client_ip);
        self.client_agent.push(row.client_agent);
        self.request_id.push(row.request_id);
        self.trace_id.push(row.trace_id);
        self.details.push(row.details);
        self.is_exact.push(row.is_exact);
        self.line.push(row.line);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sequence.is_empty()
    }

    /// Whether one statement should not take more.
    pub(crate) fn is_full(&self) -> bool {
        self.sequence.len() >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// The partitions the rows go to.
    pub(crate) fn months(&self) -> &BTreeSet<(Category, Month)> {
        &self.months
    }

    /// Inserts the rows that are not there; returns how many those were.
    pub(crate) async fn insert(
        self,
        connection: &mut PgConnection,
        schema: &Schema,
    ) -> watchdog_storage::Result<u64> {
        let done = query(insert_sql(schema))
            .bind(self.recorded_at)
            .bind(self.writer)
            .bind(self.sequence)
            .bind(self.category)
            .bind(self.id)
            .bind(self.occurred_at)
            .bind(self.actor_type)
            .bind(self.actor_id)
            .bind(self.subject)
            .bind(self.action)
            .bind(self.resource_type)
            .bind(self.resource_id)
            .bind(self.outcome)
            .bind(self.client_ip)
            .bind(self.client_agent)
            .bind(self.request_id)
            .bind(self.trace_id)
            .bind(self.details)
            .bind(self.is_exact)
            .bind(self.line)
            .execute(connection)
            .await;
        done.map(|done: sqlx::postgres::PgQueryResult| done.rows_affected()).map_err(classify)
    }
}

fn insert_sql(schema: &Schema) -> String {
    format!(
        "INSERT INTO {schema}.watchdog_audit (recorded_at, writer, sequence, category, id, \
             occurred_at, actor_type, actor_id, subject, action, resource_type, resource_id, \
             outcome, client_ip, client_agent, request_id, trace_id, details, is_exact, line) \
         SELECT a::timestamptz, b, c, d, e::uuid, f::timestamptz, g, h, i, j, k, l, m, n::inet, \
             o, p, q, r::jsonb, s, t \
         FROM unnest($1::text[], $2::bytea[], $3::int8[], $4::text[], $5::text[], $6::text[], \
             $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], \
             $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], \
             $19::bool[], $20::text[]) \
             AS given(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t) \
         ON CONFLICT DO NOTHING"
    )
}
