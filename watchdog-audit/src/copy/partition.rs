//! Partitions: made ahead, and dropped when what they hold has outlived its retention.

use std::collections::BTreeSet;
use std::time::Duration;

use watchdog_core::Timestamp;
use watchdog_core::audit::Category;
use watchdog_storage::postgres::sqlx::{PgConnection, Row as _};
use watchdog_storage::postgres::{Postgres, classify};

use crate::archive::Archive;
use crate::copy::cursor;
use crate::copy::month::{Month, category_name, month_in};
use crate::copy::telemetry;
use crate::error::{Error, ErrorKind, Result};
use crate::hold::in_force;
use crate::personal::SubjectKeys;
use crate::postgres::{Schema, database, query};
use crate::retention::Keeping;

/// How long the end of a partition waits for readers; everybody behind it waits as long.
const LOCK_TIMEOUT: &str = "1s";
/// How long the legal holds may take to be read while a partition is locked.
const HOLDS_TIMEOUT: Duration = Duration::from_secs(1);

/// The partitions that entries of this month and the next go to.
pub(crate) fn ahead(now: Timestamp) -> BTreeSet<(Category, Month)> {
    let month = Month::of(now);
    Category::ALL
        .into_iter()
        .flat_map(|category| [(category, month), (category, month.next())])
        .collect()
}

/// Makes the partitions that are not there.
pub(crate) async fn ensure(
    connection: &mut PgConnection,
    schema: &Schema,
    wanted: impl IntoIterator<Item = (Category, Month)>,
) -> watchdog_storage::Result<()> {
    let (categories, months): (Vec<_>, Vec<_>) =
        wanted.into_iter().map(|(category, month)| (category.as_str(), month.first_day())).unzip();
    if categories.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT count({schema}.watchdog_audit_add_month(category, month::date)) \
         FROM unnest($1::text[], $2::text[]) AS wanted(category, month)"
    );
    let done = query(sql).bind(categories).bind(months).execute(connection).await;
    done.map(drop).map_err(classify)
}

/// Drops what has outlived its retention and is under no hold; returns how many partitions.
///
/// A partition somebody reads is left for the next time. The holds are read once more when the
/// partition is locked and before its end is committed: a hold that was placed by then keeps it.
/// What is left is the commit itself: a hold that is placed during that one round trip finds the
/// rows of the partition gone. They had outlived their retention, and the archive has their entries
/// as far as its own lifecycle does.
pub(crate) async fn drop_outlived(
    postgres: &Postgres,
    schema: &Schema,
    keeping: &Keeping,
    holds: (&Archive, Option<&dyn SubjectKeys>),
) -> Result<u64> {
    let mut dropped = 0;
    for category in Category::ALL {
        for month in months(postgres, schema, category).await? {
            if !keeping.has_outlived(category, month) {
                continue;
            }
            match drop_month(postgres, schema, (category, month), holds).await {
                Ok(true) => {
                    dropped += 1;
                    telemetry::dropped(category, &month.first_day());
                }
                Ok(false) => break,
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::info!(%error, %category, "a partition is in use; trying again later");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(dropped)
}

async fn months(postgres: &Postgres, schema: &Schema, category: Category) -> Result<Vec<Month>> {
    let refused = database("the partitions of the copy were not listed");
    let mut connection = postgres.acquire().await.map_err(refused)?;
    let sql = "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
               WHERE inhparent = to_regclass($1) ORDER BY relname";
    let rows = query(sql.into())
        .bind(format!("{schema}.{}", category_name(category)))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| refused(classify(error)))?;
    let names = rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok());
    Ok(names.filter_map(|name| month_in(&name, category)).collect())
}

/// Whether the partition is dropped: not when a legal hold keeps it.
async fn drop_month(
    postgres: &Postgres,
    schema: &Schema,
    (category, month): (Category, Month),
    (archive, keys): (&Archive, Option<&dyn SubjectKeys>),
) -> Result<bool> {
    let refused = database("a partition of the copy was not dropped");
    let mut transaction = postgres.begin().await.map_err(refused)?;
    cursor::lock(&mut transaction, schema).await?;
    query(format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        .execute(&mut *transaction)
        .await
        .map_err(|error| refused(classify(error)))?;
    query(format!("SELECT {schema}.watchdog_audit_drop_month($1, $2::text::date)"))
        .bind(category.as_str())
        .bind(month.first_day())
        .execute(&mut *transaction)
        .await
        .map_err(|error| refused(classify(error)))?;
    // Readers of the copy wait while this is asked.
    let holds = tokio::time::timeout(HOLDS_TIMEOUT, in_force(archive, keys)).await;
    let holds = holds.map_err(|_| {
        let text = "the bucket did not tell the legal holds in time: no partition is dropped";
        Error::new(ErrorKind::Unavailable, text)
    })??;
    if holds.concern(category) {
        transaction.rollback().await.map_err(refused)?;
        return Ok(false);
    }
    transaction.commit().await.map_err(refused)?;
    Ok(true)
}
