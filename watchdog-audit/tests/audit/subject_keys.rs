//! Subject keys that do not answer for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use watchdog_audit::segment::SegmentId;
use watchdog_audit::testing::{WIDE, frame};
use watchdog_audit::{
    AuditLog, DerivedSubjectKeys, EmbeddedStore, Error, ErrorKind, Query, Result, SegmentStore,
    SubjectHandle, SubjectKey, SubjectKeys,
};
use watchdog_core::audit::Actor;
use watchdog_storage::objects::Objects;

use crate::bench::{entry, keys, numbers, record};

/// Keys whose calls with these numbers fail.
#[derive(Debug)]
struct Shaky {
    inner: DerivedSubjectKeys,
    calls: AtomicUsize,
    fails: std::ops::Range<usize>,
}

impl Shaky {
    fn answers(&self) -> Result<()> {
        if self.fails.contains(&self.calls.fetch_add(1, Ordering::SeqCst)) {
            return Err(Error::new(ErrorKind::Unavailable, "the keys do not answer"));
        }
        Ok(())
    }
}

#[async_trait]
impl SubjectKeys for Shaky {
    async fn current(&self, subject: &Actor) -> Result<SubjectKey> {
        self.answers()?;
        self.inner.current(subject).await
    }

    async fn find(&self, handle: &SubjectHandle, label: &str) -> Result<Option<SubjectKey>> {
        self.answers()?;
        self.inner.find(handle, label).await
    }

    async fn handles(&self, subject: &Actor) -> Result<Vec<SubjectHandle>> {
        self.inner.handles(subject).await
    }
}

/// An entry is to be written under a new id, while the keys fail some calls of it.
async fn is_written_anew(fails: std::ops::Range<usize>) {
    let inner = DerivedSubjectKeys::new(&keys()).unwrap();
    let shaky = Shaky { inner, calls: AtomicUsize::new(0), fails };
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let log = AuditLog::builder()
        .with_shared_store(store.clone())
        .with_archive(Objects::memory(), &keys())
        .with_subject_keys(Arc::new(shaky))
        .without_background()
        .build()
        .await
        .unwrap();
    record(&log, 0..1).await;
    let open = SegmentId { partition: 0, number: 1 };
    store.append(open, &frame(log.writer(), 2, 1), WIDE).await.unwrap();
    let receipt = log.record(entry(1)).await.unwrap();
    assert_eq!(receipt.sequence, 2, "the declaration comes first");
    let declared = Query::new().with_action("audit.writer_superseded");
    assert_eq!(log.query(&declared).await.unwrap().records.len(), 1);
    assert_eq!(numbers(&log).await, [0, 1]);
    log.seal_and_archive().await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn a_new_id_waits_for_keys_that_do_not_answer() {
    // Calls 0 and 1 seal the two entries, the next ones seal and open under the new id.
    for fails in [2..2, 2..5, 3..5, 4..6] {
        is_written_anew(fails).await;
    }
}
