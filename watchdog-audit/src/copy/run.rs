//! One run of the copy: batch by batch from the cursor to the end of the archive.
//!
//! The rows of a batch and the cursor change in one transaction, under a lock that only one process
//! has: each entry is copied once, whatever breaks off. The bucket is read before the transaction
//! begins, so that no lock waits for it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use watchdog_core::audit::Category;
use watchdog_storage::postgres::Transaction;

use crate::archive::Archive;
use crate::chain::Chain;
use crate::copy::columns::Columns;
use crate::copy::copier::Copier;
use crate::copy::cursor::{self, Cursor};
use crate::copy::month::Month;
use crate::copy::row::Row;
use crate::copy::source::{Batch, gather};
use crate::copy::{Copied, partition, telemetry};
use crate::error::{Error, ErrorKind, Result};
use crate::pack::split;
use crate::personal::SubjectKeys;
use crate::postgres::database;
use crate::progress::{OnProgress, Progress};
use crate::retention::Keeping;

/// How long one batch may take: a server that is frozen enforces no timeout of its own.
const BATCH_LIMIT: Duration = Duration::from_secs(120);
/// How long an explicit run waits for another process.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(10);
const WAIT_STEP: Duration = Duration::from_millis(50);

/// A run, with what it needs at every step.
pub(crate) struct Run<'a> {
    pub(crate) copier: &'a Copier,
    pub(crate) archive: &'a Archive,
    pub(crate) keeping: Keeping,
    pub(crate) keys: Option<&'a dyn SubjectKeys>,
}

impl Run<'_> {
    /// Copies what is archived and not copied, makes and drops partitions.
    pub(crate) async fn catch_up(&self) -> Result<Copied> {
        let mut copied = Copied::default();
        self.follow(&mut copied).await.map(|()| copied)
    }

    /// As [`catch_up`](Self::catch_up), after another process that copies.
    pub(crate) async fn catch_up_waiting(&self) -> Result<Copied> {
        let mut copied = Copied::default();
        let mut waited = Duration::ZERO;
        loop {
            match self.follow(&mut copied).await {
                Err(error) if error.kind() == ErrorKind::Busy && waited < WAIT_FOR_OTHERS => {
                    tokio::time::sleep(WAIT_STEP).await;
                    waited += WAIT_STEP;
                }
                ended => return ended.map(|()| copied),
            }
        }
    }

    /// Adds what it does to `copied` as it goes: it may break off in the middle.
    async fn follow(&self, copied: &mut Copied) -> Result<()> {
        let chain = self.archive.refreshed().await?;
        let ended = match self.bring(&chain, copied).await {
            Ok(()) => self.turn(copied).await,
            failed => failed,
        };
        self.copier.note(&chain, self.keeping.now, ended.as_ref().err());
        ended
    }

    /// Copies up to the end of the chain.
    async fn bring(&self, chain: &Chain, copied: &mut Copied) -> Result<()> {
        self.copier.ready().await?;
        let last = chain.next() - 1;
        let mut reached = self.look(chain).await?;
        while reached.manifest < last {
            let range = (reached.manifest, last);
            let batch = gather(self.archive, chain, range, &self.keeping).await?;
            self.limited(self.apply(&reached, batch, copied)).await?;
            reached = self.look(chain).await?;
        }
        Ok(())
    }

    /// Makes the partitions of this month and the next, drops those that have had their time.
    async fn turn(&self, copied: &mut Copied) -> Result<()> {
        let (postgres, schema) = (self.copier.postgres(), self.copier.schema());
        let refused = database("the partitions of the copy were not made");
        self.limited(async {
            let mut transaction = postgres.begin().await.map_err(refused)?;
            cursor::lock(&mut transaction, schema).await?;
            let ahead = partition::ahead(self.keeping.now);
            partition::ensure(&mut transaction, schema, ahead).await.map_err(refused)?;
            transaction.commit().await.map_err(refused)
        })
        .await?;
        let holds = (self.archive, self.keys);
        copied.dropped += partition::drop_outlived(postgres, schema, &self.keeping, holds).await?;
        Ok(())
    }

    /// Where the copy is. Busy before anything is read when another process copies.
    async fn look(&self, chain: &Chain) -> Result<Cursor> {
        let refused = database("Postgres did not answer the copy");
        let schema = self.copier.schema();
        let mut connection = self.copier.postgres().acquire().await.map_err(refused)?;
        let cursor = Cursor::read(&mut connection, schema, false).await?;
        cursor.check(chain)?;
        // Who only watches another process copy knows how far the copy is, too.
        self.copier.reached(&cursor);
        if cursor::is_free(&mut connection, schema).await? {
            return Ok(cursor);
        }
        Err(cursor::busy())
    }

    /// Writes a batch and moves the cursor; does nothing when another process has moved it.
    async fn apply(&self, from: &Cursor, batch: Batch, copied: &mut Copied) -> Result<()> {
        let schema = self.copier.schema();
        let refused = database("a batch was not copied into Postgres");
        let mut transaction = self.copier.postgres().begin().await.map_err(refused)?;
        cursor::lock(&mut transaction, schema).await?;
        if Cursor::read(&mut transaction, schema, true).await? != *from {
            return transaction.rollback().await.map_err(refused);
        }
        let written = self.write(&mut transaction, batch.objects).await?;
        from.advance(&mut transaction, schema, &batch.upto, batch.left_out).await?;
        transaction.commit().await.map_err(refused)?;
        let manifests = batch.upto.number - from.manifest;
        telemetry::copied(written.rows, manifests);
        copied.rows += written.rows;
        copied.expired += written.expired;
        copied.manifests += manifests;
        copied.left_out += batch.left_out;
        Ok(())
    }

    /// Writes the rows of some objects.
    async fn write(&self, to: &mut Transaction, objects: Vec<Vec<u8>>) -> Result<Copied> {
        let mut written = Copied::default();
        let mut made = BTreeSet::new();
        let mut columns = Columns::default();
        for lines in objects {
            for line in split(&lines) {
                let row = Row::of(line)?;
                if self.keeping.has_outlived(row.category, row.month) {
                    written.expired += 1;
                    continue;
                }
                columns.push(row);
                if columns.is_full() {
                    let full = std::mem::take(&mut columns);
                    written.rows += self.insert(to, full, &mut made).await?;
                }
            }
        }
        written.rows += self.insert(to, columns, &mut made).await?;
        Ok(written)
    }

    async fn insert(
        &self,
        to: &mut Transaction,
        columns: Columns,
        made: &mut BTreeSet<(Category, Month)>,
    ) -> Result<u64> {
        if columns.is_empty() {
            return Ok(0);
        }
        let refused = database("rows were not copied into Postgres");
        let schema = self.copier.schema();
        let missing: Vec<_> = columns.months().difference(made).copied().collect();
        partition::ensure(to, schema, missing.iter().copied()).await.map_err(refused)?;
        made.extend(missing);
        columns.insert(to, schema).await.map_err(refused)
    }

    /// Copies the entries of some manifests again, wherever the cursor is.
    pub(crate) async fn rebuild(
        &self,
        manifests: RangeInclusive<u64>,
        on_progress: &OnProgress<'_>,
    ) -> Result<Copied> {
        self.copier.ready().await?;
        let chain = self.archive.refreshed().await?;
        let last = (*manifests.end()).min(chain.next() - 1);
        let first = (*manifests.start()).max(1);
        let total = (last + 1).saturating_sub(first);
        let mut copied = Copied::default();
        on_progress(Progress::new(0, total));
        let mut after = first - 1;
        while after < last {
            let batch = gather(self.archive, &chain, (after, last), &self.keeping).await?;
            copied.left_out += batch.left_out;
            let written = self.limited(self.replay(batch.objects)).await?;
            telemetry::copied(written.rows, 0);
            copied.rows += written.rows;
            copied.expired += written.expired;
            after = batch.upto.number;
            copied.manifests = after + 1 - first;
            on_progress(Progress::new(copied.manifests, total));
        }
        Ok(copied)
    }

    async fn replay(&self, objects: Vec<Vec<u8>>) -> Result<Copied> {
        let refused = database("a batch was not copied into Postgres");
        let mut waited = Duration::ZERO;
        loop {
            let mut transaction = self.copier.postgres().begin().await.map_err(refused)?;
            match cursor::lock(&mut transaction, self.copier.schema()).await {
                Err(error) if error.kind() == ErrorKind::Busy && waited < WAIT_FOR_OTHERS => {
                    drop(transaction);
                    tokio::time::sleep(WAIT_STEP).await;
                    waited += WAIT_STEP;
                    continue;
                }
                locked => locked?,
            }
            let written = self.write(&mut transaction, objects).await?;
            transaction.commit().await.map_err(refused)?;
            return Ok(written);
        }
    }

    async fn limited<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(BATCH_LIMIT, work).await.unwrap_or_else(|_| {
            let text = format!("a batch of the copy took longer than {BATCH_LIMIT:?}");
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }
}
