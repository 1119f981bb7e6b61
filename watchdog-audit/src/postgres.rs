//! What our tables in Postgres share: their schema, its migrations, what errors mean.

use std::fmt;

use watchdog_storage::postgres::sqlx::migrate::{Migration, MigrationType, Migrator};
use watchdog_storage::postgres::sqlx::postgres::PgArguments;
use watchdog_storage::postgres::sqlx::query::Query;
use watchdog_storage::postgres::sqlx::{self, AssertSqlSafe, Row as _, SqlSafeStr as _};
use watchdog_storage::postgres::{Postgres, classify};

use crate::error::{Error, ErrorKind, Result};

/// A schema: a plain, lower-case name, so that quoting it is the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schema(String);

impl Schema {
    /// The schema every database has.
    pub(crate) fn public() -> Self {
        Self("public".into())
    }

    /// A schema by its name: a letter or `_`, then letters, digits and `_`, at most 63 bytes.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let is_first = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_plain = name.starts_with(is_first)
            && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
            && name.len() <= 63
            && !name.starts_with("pg_");
        if is_plain {
            return Ok(Self(name.to_owned()));
        }
        let text = "the schema of the audit tables is not a plain lower-case name";
        Err(Error::new(ErrorKind::Config, text))
    }

    /// The name itself.
    #[cfg(feature = "objects")]
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// As it stands in a statement.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Tables that belong together, and the steps that lead to them.
#[derive(Debug)]
pub(crate) struct Migrations {
    /// The table that says which steps were taken.
    pub(crate) table: &'static str,
    /// Name and statements of each step; the first is version 1.
    pub(crate) steps: &'static [(&'static str, &'static str)],
}

impl Migrations {
    /// Takes the steps that are missing. Where none is, nothing but reading is asked of the role.
    pub(crate) async fn apply(&self, postgres: &Postgres, schema: &Schema) -> Result<()> {
        let newest = i64::try_from(self.steps.len()).unwrap_or(i64::MAX);
        let applied = self.applied(postgres, schema).await?;
        if applied > newest {
            return Err(Error::new(
                ErrorKind::Config,
                format_args!(
                    "the audit tables in {schema} have version {applied}, this program knows \
                     {newest}: roll out the newer program"
                ),
            ));
        }
        if applied == newest {
            return Ok(());
        }
        let refused = database("the audit tables were not migrated");
        let mut connection = postgres.acquire().await.map_err(refused)?;
        let is_there: bool = sqlx::query("SELECT to_regnamespace($1) IS NOT NULL")
            .persistent(false)
            .bind(schema.to_string())
            .fetch_one(&mut *connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| refused(classify(error)))?;
        drop(connection);
        postgres.migrate(&self.migrator(schema, is_there)).await.map_err(refused)
    }

    /// The version of the tables, 0 where there are none.
    async fn applied(&self, postgres: &Postgres, schema: &Schema) -> Result<i64> {
        let refused = database("the version of the audit tables was not read");
        let mut connection = postgres.acquire().await.map_err(refused)?;
        let sql = format!("SELECT coalesce(max(version), 0) FROM {schema}.{}", self.table);
        let row = query(sql).fetch_one(&mut *connection).await.map_err(classify);
        match row {
            Ok(row) => row.try_get(0).map_err(|error| refused(classify(error))),
            Err(error) if error.kind() == watchdog_storage::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(refused(error)),
        }
    }

    fn migrator(&self, schema: &Schema, is_there: bool) -> Migrator {
        let steps = self.steps.iter().zip(1..).map(|((name, sql), version)| {
            let sql = format!("SET LOCAL search_path TO {schema}, pg_temp;\n{sql}");
            let sql = AssertSqlSafe(sql).into_sql_str();
            Migration::new(version, (*name).into(), MigrationType::Simple, sql, false)
        });
        let mut migrator = Migrator::with_migrations(steps.collect());
        migrator.dangerous_set_table_name(format!("{schema}.{}", self.table));
        if !is_there {
            migrator.create_schema(schema.to_string());
        }
        migrator
    }
}

/// A statement that is not kept prepared, so that it works behind `PgBouncer` as well.
pub(crate) fn query(sql: String) -> Query<'static, sqlx::Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

/// Gives an error of the database client its place in this crate.
pub(crate) fn database(
    context: &'static str,
) -> impl Fn(watchdog_storage::Error) -> Error + Copy + Send {
    use watchdog_storage::ErrorKind as Storage;
    move |error| {
        let kind = match error.kind() {
            _ if error.is_retryable() => ErrorKind::Unavailable,
            Storage::Denied | Storage::NotFound | Storage::Precondition | Storage::Config => {
                ErrorKind::Config
            }
            Storage::Corrupt | Storage::Unexpected => ErrorKind::Corrupt,
            _ => ErrorKind::Misuse,
        };
        Error::new(kind, context).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_plain_name() {
        assert_eq!(Schema::named("audit_2").unwrap().to_string(), "\"audit_2\"");
        assert_eq!(Schema::public().to_string(), "\"public\"");
        for refused in ["", "2a", "Audit", "a b", "a\"b", "pg_audit", &"a".repeat(64)] {
            assert_eq!(Schema::named(refused).unwrap_err().kind(), ErrorKind::Config, "{refused}");
        }
    }
}
