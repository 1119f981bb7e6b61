//! Export as JSON lines.

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::error::{Error, ErrorKind, Result};
use crate::export::{Batches, ExportForm, Exported};
use crate::log::AuditLog;
use crate::progress::OnProgress;
use crate::query::Query;
use crate::reader::AuditReader;

impl AuditLog {
    /// Writes everything a query finds as JSON lines, in the order of the query.
    ///
    /// A line has the fields of a line of the archive, see [`format`](mod@crate::format). Sealed,
    /// it is that line byte by byte; opened, actor id, client and details stand where they would
    /// without encryption. Limit of the query aside; memory holds [`EXPORT_BATCH`] records.
    /// Neither asks for a role nor is recorded: [`AuditReader::export_json_lines`] does both.
    ///
    /// [`EXPORT_BATCH`]: crate::EXPORT_BATCH
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when `out` fails, else as of [`query`](Self::query). What was
    /// written until then stays.
    pub async fn export_json_lines(
        &self,
        query: &Query,
        form: ExportForm,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<Exported> {
        self.export_json_lines_observed(query, form, out, &|_| ()).await
    }

    /// As [`export_json_lines`](Self::export_json_lines), telling `observer` how far it is, in
    /// records; the total is at first the most there can be in the archive.
    ///
    /// # Errors
    ///
    /// As of [`export_json_lines`](Self::export_json_lines).
    pub async fn export_json_lines_observed(
        &self,
        query: &Query,
        form: ExportForm,
        out: &mut (impl AsyncWrite + Unpin + Send),
        observer: &OnProgress<'_>,
    ) -> Result<Exported> {
        let mut batches = Batches::of(self, query, form).await?;
        let mut buffer = Vec::new();
        batches.tell(observer);
        while let Some(rows) = batches.next().await? {
            for row in rows {
                if row.is_sealed || form == ExportForm::Sealed {
                    buffer.extend_from_slice(&row.bytes);
                } else {
                    serde_json::to_writer(&mut buffer, &row.line).map_err(|error| {
                        Error::new(ErrorKind::Misuse, "record is not JSON").with_source(error)
                    })?;
                }
                buffer.push(b'\n');
                if buffer.len() >= FLUSH_BYTES {
                    out.write_all(&buffer).await.map_err(unwritten)?;
                    buffer.clear();
                }
            }
            batches.tell(observer);
        }
        out.write_all(&buffer).await.map_err(unwritten)?;
        out.flush().await.map_err(unwritten)?;
        batches.tell(observer);
        Ok(batches.exported)
    }
}

impl AuditReader {
    /// As [`AuditLog::export_json_lines`], for callers with a role; recorded before the first line
    /// is written.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] without one of the roles; as of [`AuditLog::record`] when the export
    /// cannot be recorded; else as of [`AuditLog::export_json_lines`].
    pub async fn export_json_lines(
        &self,
        query: &Query,
        form: ExportForm,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<Exported> {
        self.admit_export(query, form).await?;
        self.log().export_json_lines(query, form, out).await
    }
}

/// Lines are handed over in pieces of this size: 64 KiB.
const FLUSH_BYTES: usize = 64 * 1024;

fn unwritten(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the export was not written").with_source(error)
}
