//! Wrapped subject keys in Postgres.

use async_trait::async_trait;
use watchdog_storage::postgres::sqlx::postgres::{PgArguments, PgRow};
use watchdog_storage::postgres::sqlx::query::Query;
use watchdog_storage::postgres::sqlx::{self, Row as _};
use watchdog_storage::postgres::{Postgres, classify};

use crate::error::{Error, ErrorKind, Result};
use crate::personal::SubjectHandle;
use crate::postgres::{Migrations, Schema, database, query};
use crate::subjects::{KeyVault, WrappedKey};

const MIGRATIONS: Migrations = Migrations {
    table: "watchdog_audit_subject_migrations",
    steps: &[("keys", include_str!("../../migrations/subject_keys/0001_keys.sql"))],
};

/// How often a key that an erasure took away under a call is made again.
const ATTEMPTS: usize = 8;

/// Has this commit wait for the disk, whatever the server is set to, and for replicas where it is
/// set to: a key or an erasure that was acknowledged stays.
const DURABLE: &str = "set_config('synchronous_commit', \
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
    ELSE current_setting('synchronous_commit') END, true)";

/// Wrapped subject keys in Postgres 13 or newer.
///
/// A key is there, and one that was erased is gone, when the server has synced it to its disk (also
/// with `synchronous_commit=off`). A standby that is promoted without the newest transactions takes
/// new keys along and brings erased ones back: set `synchronous_standby_names`, or erase again.
///
/// An erased key is set to null. Its bytes leave the table's file with the next vacuum; the
/// write-ahead log and backups have them for as long as those are kept. They are worthless without
/// the encryption root. To bound it keep the keys in a database of their own, with backups that
/// live no longer than an erasure may take, and erase again after a restore.
///
/// # Roles
///
/// The role that migrates owns the tables and needs `CREATE` on the schema; the first call of
/// [`preflight`](KeyVault::preflight) migrates when it may. A role that only works needs:
///
/// ```sql
/// GRANT USAGE ON SCHEMA public TO writer;
/// GRANT SELECT, INSERT, UPDATE ON watchdog_audit_subject_keys TO writer;
/// GRANT SELECT, UPDATE ON watchdog_audit_subject_generation TO writer;
/// GRANT SELECT ON watchdog_audit_subject_migrations TO writer;
/// ```
#[derive(Clone, Debug)]
pub struct PostgresVault {
    postgres: Postgres,
    schema: Schema,
}

impl PostgresVault {
    /// A vault in the schema `public` of a database.
    pub fn new(postgres: Postgres) -> Self {
        Self { postgres, schema: Schema::public() }
    }

    /// Keeps the tables in another schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] unless it is a lower-case name of letters, digits and `_`.
    pub fn with_schema(self, schema: &str) -> Result<Self> {
        Ok(Self { schema: Schema::named(schema)?, ..self })
    }

    fn keys(&self) -> String {
        format!("{}.watchdog_audit_subject_keys", self.schema)
    }

    fn generations(&self) -> String {
        format!("{}.watchdog_audit_subject_generation", self.schema)
    }

    async fn rows(
        &self,
        query: Query<'static, sqlx::Postgres, PgArguments>,
        context: &'static str,
    ) -> Result<Vec<PgRow>> {
        let failed = database(context);
        let mut connection = self.postgres.acquire().await.map_err(failed)?;
        query.fetch_all(&mut *connection).await.map_err(|error| failed(classify(error)))
    }

    /// The key that stands for a handle, and whether a label was erased.
    async fn standing(
        &self,
        handle: &SubjectHandle,
        label: &str,
    ) -> Result<(Option<WrappedKey>, bool)> {
        let sql = format!(
            "SELECT label, wrapped FROM {} WHERE handle = $1 AND (wrapped IS NOT NULL OR label = $2)",
            self.keys()
        );
        let query = query(sql).bind(handle.as_str().to_owned()).bind(label.to_owned());
        let mut found = (None, false);
        for row in self.rows(query, "postgres did not give a subject's key").await? {
            match read(&row)? {
                Some(key) => found.0 = Some(key),
                None => found.1 = true,
            }
        }
        Ok(found)
    }
}

/// The key of a row, `None` when it was erased.
fn read(row: &PgRow) -> Result<Option<WrappedKey>> {
    let failed = |error| database("a subject's key is malformed")(classify(error));
    let wrapped: Option<Vec<u8>> = row.try_get("wrapped").map_err(failed)?;
    let label = row.try_get("label").map_err(failed)?;
    Ok(wrapped.map(|wrapped| WrappedKey { label, wrapped }))
}

fn number(rows: &[PgRow]) -> Result<u64> {
    let unexpected = || Error::corrupt("postgres answered no number of subject keys");
    let value: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
    value.and_then(|value| u64::try_from(value).ok()).ok_or_else(unexpected)
}

#[async_trait]
impl KeyVault for PostgresVault {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn preflight(&self) -> Result<()> {
        MIGRATIONS.apply(&self.postgres, &self.schema).await
    }

    async fn create(
        &self,
        handle: &SubjectHandle,
        label: &str,
        wrapped: &[u8],
    ) -> Result<WrappedKey> {
        for _ in 0..ATTEMPTS {
            let sql = format!(
                "INSERT INTO {} (handle, label, wrapped) SELECT $1, $2, $3 FROM {DURABLE} AS durable \
                 ON CONFLICT DO NOTHING RETURNING label, wrapped",
                self.keys()
            );
            let insert = query(sql)
                .bind(handle.as_str().to_owned())
                .bind(label.to_owned())
                .bind(wrapped.to_vec());
            let rows = self.rows(insert, "postgres did not keep a subject's key").await?;
            if let Some(row) = rows.first()
                && let Some(key) = read(row)?
            {
                return Ok(key);
            }
            // A statement of its own sees what the first one had to wait for.
            match self.standing(handle, label).await? {
                (Some(key), _) => return Ok(key),
                (None, true) => break,
                (None, false) => {}
            }
        }
        Err(Error::new(ErrorKind::Busy, "the subject was erased meanwhile"))
    }

    async fn current(&self, handle: &SubjectHandle) -> Result<Option<WrappedKey>> {
        // No key has the empty label.
        Ok(self.standing(handle, "").await?.0)
    }

    async fn replace(
        &self,
        handle: &SubjectHandle,
        label: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool> {
        let sql = format!(
            "UPDATE {} SET wrapped = $4 WHERE handle = $1 AND label = $2 AND wrapped IN ($3, $4) \
             RETURNING {DURABLE}",
            self.keys()
        );
        let update = query(sql)
            .bind(handle.as_str().to_owned())
            .bind(label.to_owned())
            .bind(old.to_vec())
            .bind(new.to_vec());
        let rows = self.rows(update, "postgres did not re-wrap a subject's key").await?;
        Ok(!rows.is_empty())
    }

    async fn erase(&self, handle: &SubjectHandle) -> Result<u64> {
        // One statement is one transaction: nobody sees the key and the new generation.
        let sql = format!(
            "WITH gone AS (UPDATE {} SET wrapped = NULL, erased_at = now() \
                 WHERE handle = $1 AND wrapped IS NOT NULL RETURNING 1), \
             raised AS (UPDATE {} SET generation = generation + 1) \
             SELECT (SELECT count(*) FROM gone), {DURABLE}",
            self.keys(),
            self.generations()
        );
        let erase = query(sql).bind(handle.as_str().to_owned());
        number(&self.rows(erase, "postgres did not erase a subject's key").await?)
    }

    async fn generation(&self) -> Result<u64> {
        let sql = format!("SELECT generation FROM {}", self.generations());
        let context = "postgres did not tell the generation of subject keys";
        number(&self.rows(query(sql), context).await?)
    }

    async fn list(
        &self,
        after: Option<(SubjectHandle, String)>,
        limit: usize,
    ) -> Result<Vec<(SubjectHandle, WrappedKey)>> {
        let failed = "postgres did not list subject keys";
        let (handle, label) = after
            .map_or_else(Default::default, |(handle, label)| (handle.as_str().to_owned(), label));
        let sql = format!(
            "SELECT handle, label, wrapped FROM {} \
             WHERE wrapped IS NOT NULL AND (handle, label) > ($1, $2) \
             ORDER BY handle, label LIMIT $3",
            self.keys()
        );
        let list =
            query(sql).bind(handle).bind(label).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut keys = Vec::new();
        for row in self.rows(list, failed).await? {
            let text: String =
                row.try_get("handle").map_err(|error| database(failed)(classify(error)))?;
            let bytes = crate::hex::decode(&text);
            let bytes = bytes.ok_or_else(|| Error::corrupt("a subject's handle is malformed"))?;
            keys.extend(read(&row)?.map(|key| (SubjectHandle::from_bytes(&bytes), key)));
        }
        Ok(keys)
    }
}
