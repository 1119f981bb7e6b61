//! Exports, read back.

use std::io::Write;
use std::sync::{Arc, Mutex};

use watchdog_audit::{
    ArchiveRange, AuditLog, EmbeddedStore, ErrorKind, ExportForm, Exported, Order, Progress, Query,
};
use watchdog_core::audit::Actor;
use watchdog_storage::objects::Objects;

use crate::bench::{log, record};

/// 30 entries, 20 of them archived.
async fn filled() -> AuditLog {
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &Objects::memory()).await;
    record(&log, 0..20).await;
    log.seal_and_archive().await.unwrap();
    record(&log, 20..30).await;
    log
}

fn oldest_first() -> Query {
    Query::new().with_order(Order::OldestFirst).with_limit(1)
}

async fn lines(log: &AuditLog, query: &Query, form: ExportForm) -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    let exported = log.export_json_lines(query, form, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records = lines.len() as u64;
    assert_eq!(exported, Exported { records, ..Exported::default() });
    lines
}

#[tokio::test]
async fn json_lines_come_opened_in_the_order_of_the_query() {
    let log = filled().await;
    let found = lines(&log, &oldest_first(), ExportForm::Opened).await;
    let numbers: Vec<_> = found.iter().map(|line| line["details"]["size"].as_u64()).collect();
    assert_eq!(numbers, (0..30).map(Some).collect::<Vec<_>>());
    assert_eq!(found[0]["actor"]["id"], "alice");
    assert!(found[0].get("sealed").is_none());

    let query = Query::new().with_actor(Actor::user("bob"));
    let found = lines(&log, &query, ExportForm::Opened).await;
    assert_eq!(found.len(), 15);
    assert_eq!(found[0]["details"]["size"], 29);
}

#[tokio::test]
async fn sealed_json_lines_are_those_of_the_archive_byte_by_byte() {
    let log = filled().await;
    log.seal_and_archive().await.unwrap();
    let mut out = Vec::new();
    log.export_json_lines(&oldest_first(), ExportForm::Sealed, &mut out).await.unwrap();
    let mut exported: Vec<_> = out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    let mut walk = log.archived(ArchiveRange::new()).await.unwrap();
    let mut archived = Vec::new();
    while let Some(batch) = walk.next().await.unwrap() {
        archived.extend(batch.lines().map(|line| line.unwrap().bytes.to_vec()));
    }
    exported.sort_unstable();
    archived.sort_unstable();
    assert_eq!(exported, archived);
}

#[tokio::test]
async fn progress_ends_at_its_total() {
    let log = filled().await;
    let told = Mutex::new(Vec::new());
    let observer = |progress: Progress| told.lock().unwrap().push((progress.done, progress.total));
    let mut out = Vec::new();
    let query = oldest_first();
    let form = ExportForm::Opened;
    log.export_json_lines_observed(&query, form, &mut out, &observer).await.unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!((told.first(), told.last()), (Some(&(0, 20)), Some(&(30, 30))));
}

/// Refuses every byte.
#[derive(Debug)]
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }
}

#[tokio::test]
async fn an_export_that_cannot_be_written_says_so() {
    let log = filled().await;
    let mut small = [0_u8; 100];
    let mut out = std::io::Cursor::new(&mut small[..]);
    let export = log.export_json_lines(&oldest_first(), ExportForm::Opened, &mut out).await;
    assert_eq!(export.unwrap_err().kind(), ErrorKind::Unavailable);
    let export = log.export_parquet(&oldest_first(), ExportForm::Opened, Full).await;
    assert_eq!(export.unwrap_err().kind(), ErrorKind::Unavailable);
}

mod columns {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};

    use super::*;

    async fn rows(log: &AuditLog, form: ExportForm) -> (String, Vec<Row>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let exported =
            log.export_parquet(&oldest_first(), form, file.reopen().unwrap()).await.unwrap();
        assert_eq!(exported.records, 30);
        let reader = SerializedFileReader::new(file.reopen().unwrap()).unwrap();
        let mut schema = Vec::new();
        parquet::schema::printer::print_schema(
            &mut schema,
            reader.metadata().file_metadata().schema(),
        );
        let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        (String::from_utf8(schema).unwrap(), rows)
    }

    fn field(row: &Row, name: &str) -> Field {
        row.get_column_iter().find(|(found, _)| *found == name).unwrap().1.clone()
    }

    #[tokio::test]
    async fn parquet_reads_back_as_what_was_recorded() {
        let log = filled().await;
        let records = log.query(&oldest_first().with_limit(100)).await.unwrap().records;
        let (schema, rows) = rows(&log, ExportForm::Opened).await;
        for column in [
            "REQUIRED FIXED_LEN_BYTE_ARRAY (16) id (UUID);",
            "REQUIRED FIXED_LEN_BYTE_ARRAY (16) writer;",
            "REQUIRED INT64 occurred_at (TIMESTAMP(MICROS,true));",
            "OPTIONAL BYTE_ARRAY details (JSON);",
        ] {
            assert!(schema.contains(column), "{column} in {schema}");
        }
        assert_eq!(rows.len(), records.len());
        for (row, record) in rows.iter().zip(&records) {
            let entry = &record.entry;
            assert_eq!(field(row, "sequence"), Field::Long(record.sequence.try_into().unwrap()));
            let micros = entry.occurred_at.as_microsecond();
            assert_eq!(field(row, "occurred_at"), Field::TimestampMicros(micros));
            assert_eq!(field(row, "actor_id"), Field::Str(entry.actor.id.clone()));
            assert_eq!(field(row, "resource_id"), Field::Str(entry.resource.id.clone()));
            assert_eq!(field(row, "outcome"), Field::Str("success".into()));
            assert_eq!(field(row, "category"), Field::Str(entry.category.to_string()));
            assert_eq!(field(row, "client_ip"), Field::Null);
            assert_eq!(field(row, "is_sealed"), Field::Bool(false));
            let Field::Bytes(id) = field(row, "id") else { panic!("an id is bytes") };
            assert_eq!(id.data(), entry.id.as_bytes());
        }
    }

    #[tokio::test]
    async fn sealed_parquet_has_no_personal_fields() {
        let log = filled().await;
        let (_, rows) = rows(&log, ExportForm::Sealed).await;
        for row in rows {
            assert_eq!(field(&row, "actor_id"), Field::Null);
            assert_eq!(field(&row, "details"), Field::Null);
            assert_eq!(field(&row, "is_sealed"), Field::Bool(true));
            assert!(matches!(field(&row, "subject"), Field::Str(handle) if handle.len() == 32));
        }
    }
}
