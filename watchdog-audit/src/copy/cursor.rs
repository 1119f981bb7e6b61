//! How far the copy is, and that only one process moves it.

use watchdog_storage::postgres::sqlx::{PgConnection, Row as _};
use watchdog_storage::postgres::{Transaction, classify};

use crate::chain::Chain;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::{Schema, database, query};
use crate::segment::ManifestRef;

/// The first half of the key of the lock that the copying process holds: "wdau".
const LOCK_CLASS: i32 = i32::from_be_bytes(*b"wdau");

/// How far the copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last manifest whose entries are copied, 0 before the first.
    pub(crate) manifest: u64,
    /// Its SHA-256.
    sha256: String,
    /// Objects that the archive did not give.
    pub(crate) left_out: u64,
}

impl Cursor {
    /// Reads it; with `locks`, for the length of a transaction nobody else may move it.
    pub(crate) async fn read(
        connection: &mut PgConnection,
        schema: &Schema,
        locks: bool,
    ) -> Result<Self> {
        let refused = database("how far the copy is could not be read");
        let lock = if locks { " FOR UPDATE" } else { "" };
        let sql =
            format!("SELECT manifest, sha256, left_out FROM {schema}.watchdog_audit_copied{lock}");
        let row =
            query(sql).fetch_one(connection).await.map_err(|error| refused(classify(error)))?;
        let number = |column: &str| -> Result<u64> {
            let value: i64 = row.try_get(column).map_err(|error| refused(classify(error)))?;
            u64::try_from(value).map_err(|_| Error::corrupt("the copy's cursor is negative"))
        };
        Ok(Self {
            manifest: number("manifest")?,
            sha256: row.try_get("sha256").map_err(|error| refused(classify(error)))?,
            left_out: number("left_out")?,
        })
    }

    /// Moves it to a manifest, in the transaction that brings the rows.
    pub(crate) async fn advance(
        &self,
        connection: &mut PgConnection,
        schema: &Schema,
        upto: &ManifestRef,
        left_out: u64,
    ) -> Result<()> {
        let refused = database("how far the copy is could not be written");
        let sql = format!(
            "UPDATE {schema}.watchdog_audit_copied \
             SET manifest = $1, sha256 = $2, left_out = $3, copied_at = now()"
        );
        query(sql)
            .bind(i64::try_from(upto.number).unwrap_or(i64::MAX))
            .bind(upto.sha256.clone())
            .bind(i64::try_from(self.left_out + left_out).unwrap_or(i64::MAX))
            .execute(connection)
            .await
            .map(drop)
            .map_err(|error| refused(classify(error)))
    }

    /// Refuses to go on from the copy of another archive, or of one that was rolled back.
    pub(crate) fn check(&self, chain: &Chain) -> Result<()> {
        let known = chain.reference(self.manifest);
        if self.manifest == 0 || known.is_some_and(|known| known.sha256 == self.sha256) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            format_args!(
                "the copy in Postgres ends with a manifest {} that this archive does not have",
                self.manifest
            ),
        ))
    }
}

/// Takes the lock of the copying process until the transaction ends; busy when another holds it.
pub(crate) async fn lock(transaction: &mut Transaction, schema: &Schema) -> Result<()> {
    let sql = "SELECT pg_try_advisory_xact_lock($1, hashtext($2))";
    if ask(transaction, schema, sql).await? { Ok(()) } else { Err(busy()) }
}

/// Whether nobody holds the lock: looks and does not touch it.
pub(crate) async fn is_free(connection: &mut PgConnection, schema: &Schema) -> Result<bool> {
    let sql = "SELECT NOT EXISTS (SELECT FROM pg_locks JOIN pg_database ON oid = database \
               WHERE locktype = 'advisory' AND datname = current_database() AND objsubid = 2 \
               AND classid::bigint = $1 AND objid::bigint = hashtext($2)::bigint & 4294967295)";
    ask(connection, schema, sql).await
}

async fn ask(connection: &mut PgConnection, schema: &Schema, sql: &str) -> Result<bool> {
    let refused = database("the lock of the copying process was not answered");
    query(sql.into())
        .bind(LOCK_CLASS)
        .bind(schema.name().to_owned())
        .fetch_one(connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| refused(classify(error)))
}

pub(crate) fn busy() -> Error {
    Error::new(ErrorKind::Busy, "another process copies into Postgres")
}
