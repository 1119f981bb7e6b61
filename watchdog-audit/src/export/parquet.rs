//! Export as Parquet, row group by row group, without Arrow.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use crate::error::{Error, ErrorKind, Result};
use crate::export::{Batches, ExportForm, Exported, Row};
use crate::log::AuditLog;
use crate::progress::OnProgress;
use crate::query::Query;
use crate::reader::AuditReader;

/// What a column holds, and where it comes from.
enum Column {
    /// 16 bytes.
    Id(fn(&Row) -> [u8; 16]),
    Number(fn(&Row) -> u64),
    /// Microseconds since 1970 in UTC.
    Instant(fn(&Row) -> i64),
    Text(fn(&Row) -> String),
    /// Nothing where there is none.
    OptionalText(fn(&Row) -> Option<String>),
    /// Nothing where there is none.
    Json(fn(&Row) -> Option<String>),
    Flag(fn(&Row) -> bool),
}

/// The columns in their order.
const COLUMNS: [(&str, Column); 20] = [
    ("writer", Column::Id(|row| *row.line.writer.as_bytes())),
    ("sequence", Column::Number(|row| row.line.sequence)),
    ("recorded_at", Column::Instant(|row| row.line.recorded_at.as_microsecond())),
    ("id", Column::Id(|row| *row.line.id.as_bytes())),
    ("occurred_at", Column::Instant(|row| row.line.occurred_at.as_microsecond())),
    ("category", Column::Text(|row| row.line.category.to_string())),
    ("actor_type", Column::Text(|row| row.line.actor.kind.to_string())),
    ("actor_id", Column::OptionalText(|row| row.line.actor.id.clone().map(Into::into))),
    ("action", Column::Text(|row| row.line.action.to_string())),
    ("resource_type", Column::Text(|row| row.line.resource.kind.to_string())),
    ("resource_id", Column::Text(|row| row.line.resource.id.to_string())),
    ("outcome", Column::Text(outcome)),
    ("client_ip", Column::OptionalText(|row| row.line.client.ip.map(|ip| ip.to_string()))),
    ("client_user_agent", Column::OptionalText(|row| row.line.client.user_agent.clone())),
    ("request_id", Column::OptionalText(|row| row.line.request_id.clone().map(Into::into))),
    ("trace_id", Column::OptionalText(|row| row.line.trace_id.clone().map(Into::into))),
    ("details", Column::Json(details)),
    ("subject", Column::OptionalText(subject)),
    ("is_sealed", Column::Flag(|row| row.is_sealed)),
    ("bytes", Column::Number(|row| row.bytes.len() as u64)),
];

fn outcome(row: &Row) -> String {
    let value = serde_json::to_value(row.line.outcome).ok();
    value.as_ref().and_then(|value| value.as_str()).unwrap_or("unknown").to_owned()
}

fn details(row: &Row) -> Option<String> {
    let details = &row.line.details;
    // What was read from JSON can be written as JSON.
    (!details.is_empty()).then(|| serde_json::to_string(details).ok()).flatten()
}

fn subject(row: &Row) -> Option<String> {
    row.line.sealed.as_ref().map(|sealed| sealed.subject.as_str().to_owned())
}

impl AuditLog {
    /// Writes everything a query finds as Parquet, in the order of the query: zstd, a row group for
    /// each [`EXPORT_BATCH`](crate::EXPORT_BATCH) records, which bounds the memory as well.
    ///
    /// Columns are `writer`, `id` (16 bytes), `sequence`, `recorded_at`, `occurred_at`
    /// (microseconds, UTC; finer is cut off), `category`, `actor_type`, `actor_id`, `action`, `resource_type`,
    /// `resource_id`, `outcome`, `client_ip`, `client_user_agent`, `request_id`, `trace_id`,
    /// `details` (JSON), `subject` (the handle of sealed fields), `is_sealed`, `bytes` (of the
    /// line). Where personal fields stay sealed, `actor_id`, client and `details` are null.
    /// Neither asks for a role nor is recorded: [`AuditReader::export_parquet`] does both.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when `out` fails, else as of [`query`](Self::query). What was
    /// written until then is no Parquet file.
    pub async fn export_parquet(
        &self,
        query: &Query,
        form: ExportForm,
        out: impl Write + Send + 'static,
    ) -> Result<Exported> {
        self.export_parquet_observed(query, form, out, &|_| ()).await
    }

    /// As [`export_parquet`](Self::export_parquet), telling `observer` how far it is, in records;
    /// the total is at first the most there can be in the archive.
    ///
    /// # Errors
    ///
    /// As of [`export_parquet`](Self::export_parquet).
    pub async fn export_parquet_observed(
        &self,
        query: &Query,
        form: ExportForm,
        out: impl Write + Send + 'static,
        observer: &OnProgress<'_>,
    ) -> Result<Exported> {
        let schema = Arc::new(parse_message_type(&schema()).map_err(unwritten)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(crate::EXPORT_BATCH))
            .build();
        let mut file =
            SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(unwritten)?;
        let mut batches = Batches::of(self, query, form).await?;
        batches.tell(observer);
        while let Some(rows) = batches.next().await? {
            file = blocking(move || row_group(&mut file, &rows).map(|()| file)).await?;
            batches.tell(observer);
        }
        blocking(move || {
            let mut out = file.into_inner()?;
            out.flush().map_err(ParquetError::from)
        })
        .await?;
        Ok(batches.exported)
    }
}

impl AuditReader {
    /// As [`AuditLog::export_parquet`], for callers with a role; recorded before anything is
    /// written.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] without one of the roles; as of [`AuditLog::record`] when the export
    /// cannot be recorded; else as of [`AuditLog::export_parquet`].
    pub async fn export_parquet(
        &self,
        query: &Query,
        form: ExportForm,
        out: impl Write + Send + 'static,
    ) -> Result<Exported> {
        self.admit_export(query, form).await?;
        self.log().export_parquet(query, form, out).await
    }
}

/// The schema in Parquet's own notation.
fn schema() -> String {
    let columns = COLUMNS.iter().map(|(name, column)| match column {
        Column::Id(_) if *name == "id" => {
            format!("REQUIRED FIXED_LEN_BYTE_ARRAY (16) {name} (UUID);")
        }
        Column::Id(_) => format!("REQUIRED FIXED_LEN_BYTE_ARRAY (16) {name};"),
        Column::Number(_) => format!("REQUIRED INT64 {name};"),
        Column::Instant(_) => format!("REQUIRED INT64 {name} (TIMESTAMP(MICROS,true));"),
        Column::Text(_) => format!("REQUIRED BYTE_ARRAY {name} (STRING);"),
        Column::OptionalText(_) => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
        Column::Json(_) => format!("OPTIONAL BYTE_ARRAY {name} (JSON);"),
        Column::Flag(_) => format!("REQUIRED BOOLEAN {name};"),
    });
    format!("message audit {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

fn row_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    rows: &[Row],
) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for (_, column) in &COLUMNS {
        if let Some(mut writer) = group.next_column()? {
            write_column(&mut writer, column, rows)?;
            writer.close()?;
        }
    }
    group.close().map(drop)
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    rows: &[Row],
) -> Result<(), ParquetError> {
    let numbers = |values: Vec<i64>, writer: &mut SerializedColumnWriter<'_>| {
        writer.typed::<Int64Type>().write_batch(&values, None, None)
    };
    let written = match column {
        Column::Id(id) => {
            let values: Vec<_> =
                rows.iter().map(|row| FixedLenByteArray::from(id(row).to_vec())).collect();
            writer.typed::<FixedLenByteArrayType>().write_batch(&values, None, None)
        }
        Column::Number(number) => {
            let number = |row| i64::try_from(number(row)).unwrap_or(i64::MAX);
            numbers(rows.iter().map(number).collect(), writer)
        }
        Column::Instant(instant) => numbers(rows.iter().map(instant).collect(), writer),
        Column::Text(text) => {
            let values: Vec<_> =
                rows.iter().map(|row| ByteArray::from(text(row).into_bytes())).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, None, None)
        }
        Column::OptionalText(text) | Column::Json(text) => {
            let texts: Vec<_> = rows.iter().map(text).collect();
            // A level of 1 says that the value is there.
            let levels: Vec<_> = texts.iter().map(|text| i16::from(text.is_some())).collect();
            let values: Vec<_> = texts
                .into_iter()
                .flatten()
                .map(|text| ByteArray::from(text.into_bytes()))
                .collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)
        }
        Column::Flag(flag) => {
            let values: Vec<_> = rows.iter().map(flag).collect();
            writer.typed::<BoolType>().write_batch(&values, None, None)
        }
    };
    written.map(drop)
}

/// Runs what computes and writes, away from the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    let interrupted =
        |error| Error::new(ErrorKind::Closed, "the export was broken off").with_source(error);
    outcome.map_err(interrupted)?.map_err(unwritten)
}

fn unwritten(error: ParquetError) -> Error {
    Error::new(ErrorKind::Unavailable, "the export was not written").with_source(error)
}
