//! Archiving tells how far it is.

use std::sync::{Arc, Mutex};

use watchdog_audit::{AuditConfig, EmbeddedStore, Progress};
use watchdog_storage::objects::Objects;

use crate::bench::{log_with, record};

#[tokio::test]
async fn every_segment_that_passes_the_gate_is_told() {
    // Each batch fills a segment.
    let config = AuditConfig { segment_max_bytes: 1, ..AuditConfig::default() };
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log_with(config, store, &Objects::memory()).await;
    record(&log, 0..4).await;
    let told = Mutex::new(Vec::new());
    let tell = |progress| told.lock().unwrap().push(progress);
    assert_eq!(log.seal_and_archive_observed(&tell).await.unwrap().entries, 4);
    let expected: Vec<_> = (0..=4).map(|done| Progress::new(done, 4)).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    told.lock().unwrap().clear();
    log.seal_and_archive_observed(&tell).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [Progress::new(0, 0)], "there is nothing to do");
}
