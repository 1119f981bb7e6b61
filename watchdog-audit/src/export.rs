//! Export: everything a query finds, as JSON lines or Parquet.

mod json;
#[cfg(feature = "parquet")]
mod parquet;

use watchdog_core::audit::Outcome;

use crate::entry::Line;
use crate::error::Result;
use crate::log::AuditLog;
use crate::progress::{OnProgress, Progress};
use crate::query::{Hit, Query};
use crate::reader::AuditReader;

/// Records that are held in memory at once, and the most of one row group. Fewer where they are
/// long: their lines take at most 16 MiB.
pub const EXPORT_BATCH: usize = 16_384;

/// How personal fields are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportForm {
    /// Opened where their key is there. Those whose key is gone stay sealed.
    Opened,
    /// As they stand in the log.
    Sealed,
}

/// What an export wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records.
    pub records: u64,
    /// Records among them whose personal fields were to be opened and could not be.
    pub unreadable: u64,
    /// Objects that could hold more and are not in the bucket.
    pub missing: u64,
}

/// One record of an export.
#[derive(Debug)]
struct Row {
    line: Line<'static>,
    /// The line as it stands in the log.
    bytes: Vec<u8>,
    /// Whether the personal fields are still sealed.
    is_sealed: bool,
}

/// The batches of an export, in the order of the query.
#[derive(Debug)]
struct Batches<'a> {
    log: &'a AuditLog,
    form: ExportForm,
    /// What is left to be asked; `None` at the end.
    query: Option<Query>,
    exported: Exported,
    /// Entries of the objects that may hold what is asked for.
    expected: u64,
}

impl<'a> Batches<'a> {
    async fn of(log: &'a AuditLog, query: &Query, form: ExportForm) -> Result<Self> {
        let mut query = query.clone();
        query.limit = EXPORT_BATCH;
        let expected = log.expected(&query).await?;
        Ok(Self { log, form, query: Some(query), exported: Exported::default(), expected })
    }

    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        let Some(query) = self.query.take() else { return Ok(None) };
        let found = self.log.find(&query).await?;
        self.query = found.next.map(|next| query.with_cursor(next));
        self.exported.missing = self.exported.missing.max(found.objects_missing);
        let mut rows = Vec::with_capacity(found.hits.len());
        for hit in found.hits {
            rows.push(self.row(hit).await?);
        }
        Ok((!rows.is_empty()).then_some(rows))
    }

    async fn row(&mut self, Hit { line, bytes, .. }: Hit) -> Result<Row> {
        self.exported.records += 1;
        let opened = match self.form {
            ExportForm::Opened => self.log.opened(&line).await?,
            ExportForm::Sealed => None,
        };
        let line = match opened {
            Some(personal) => line.with_opened(personal),
            None => line,
        };
        let is_sealed = line.sealed.is_some();
        self.exported.unreadable += u64::from(is_sealed && self.form == ExportForm::Opened);
        Ok(Row { line, bytes, is_sealed })
    }

    fn tell(&self, observer: &OnProgress<'_>) {
        let done = self.exported.records;
        let total = if self.query.is_some() { self.expected.max(done + 1) } else { done };
        observer(Progress::new(done, total));
    }
}

impl AuditLog {
    /// How many entries there are at most: those of the objects that may hold what is asked for.
    async fn expected(&self, query: &Query) -> Result<u64> {
        let Some(archive) = self.inner().archive() else { return Ok(0) };
        let filter = self.filter(query).await?;
        let chain = archive.refreshed().await?;
        Ok(chain
            .objects()
            .filter(|object| filter.may_be_in(object))
            .map(|object| object.entries)
            .sum())
    }
}

impl AuditReader {
    /// Checks the role and records the export before anything of it is written.
    async fn admit_export(&self, query: &Query, form: ExportForm) -> Result<()> {
        self.admit(query, "export").await?;
        let entry = self.entry(query, "export", Outcome::Success).await?;
        let is_opened = form == ExportForm::Opened;
        self.log().record(entry.with_detail("is_opened", is_opened)).await.map(drop)
    }
}
