use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use watchdog_core::audit::Entry;
use watchdog_core::testing::{ManualClock, RecordingSink};
use watchdog_core::{Error, ErrorKind, RootKeys};

use super::*;
use crate::MemoryStore;
use crate::testing::{Sample, random_location, time_of};

/// Takes entries, but not those of some sessions.
#[derive(Debug, Default)]
struct Picky {
    taken: RecordingSink,
    unavailable: Mutex<BTreeSet<String>>,
    refused: Mutex<BTreeSet<String>>,
    is_stuck: AtomicBool,
}

#[async_trait]
impl AuditSink for Picky {
    async fn record(&self, entry: Entry) -> watchdog_core::Result<()> {
        if self.is_stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let fails =
            |set: &Mutex<BTreeSet<String>>| set.lock().unwrap().contains(&entry.resource.id);
        if fails(&self.unavailable) {
            return Err(Error::new(ErrorKind::Unavailable, "not now"));
        }
        if fails(&self.refused) {
            return Err(Error::new(ErrorKind::Refused, "never"));
        }
        self.taken.record(entry).await
    }
}

struct Bench {
    store: Arc<MemoryStore>,
    sink: Arc<Picky>,
    pump: Arc<Pump>,
}

fn bench() -> Bench {
    bench_with(MemoryStore::new(), Duration::ZERO)
}

fn bench_with(store: MemoryStore, takeover: Duration) -> Bench {
    let (store, sink) = (Arc::new(store), Arc::new(Picky::default()));
    let keys = Arc::new(EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap());
    let pump = Arc::new(Pump::new(
        Arc::clone(&store) as Arc<dyn SessionStore>,
        Arc::clone(&sink) as Arc<dyn AuditSink>,
        keys,
        takeover,
    ));
    Bench { store, sink, pump }
}

impl Bench {
    /// Leaves one event in a bucket, and says of which session.
    async fn event_in(&self, bucket: u16) -> String {
        let mut location = random_location();
        location.bucket = bucket;
        let sample = Sample::new(location, time_of(&*self.store).await);
        self.store.create(&sample.create(5)).await.unwrap();
        sample.place.session.to_string()
    }

    fn taken(&self) -> Vec<String> {
        self.sink.taken.entries().into_iter().map(|entry| entry.resource.id).collect()
    }
}

/// The lowest bucket held up all others: its first event failed, and the round ended there.
#[tokio::test]
async fn a_bucket_that_fails_holds_up_no_other() {
    let bench = bench();
    let mut sessions = Vec::new();
    for bucket in [1, 2, 3] {
        sessions.push(bench.event_in(bucket).await);
        bench.pump.state().waiting.insert(bucket);
    }
    bench.sink.unavailable.lock().unwrap().insert(sessions[0].clone());
    assert!(bench.pump.deliver().await.unwrap_err().is_retryable());
    assert_eq!(bench.taken(), sessions[1..]);
    assert_eq!(bench.pump.backlog(), Backlog { buckets: 1, ..Backlog::default() });
    bench.sink.unavailable.lock().unwrap().clear();
    bench.pump.deliver().await.unwrap();
    assert_eq!(bench.taken().len(), 3);
    assert_eq!(bench.pump.backlog(), Backlog::default());
}

/// A delivery that was given up while the sink did not answer took its bucket with it.
#[tokio::test(start_paused = true)]
async fn a_delivery_given_up_half_way_leaves_its_bucket_waiting() {
    let bench = bench();
    let session = bench.event_in(7).await;
    bench.pump.state().waiting.insert(7);
    bench.sink.is_stuck.store(true, Ordering::SeqCst);
    let given_up = tokio::time::timeout(Duration::from_secs(1), bench.pump.deliver()).await;
    assert!(given_up.is_err());
    bench.sink.is_stuck.store(false, Ordering::SeqCst);
    bench.pump.deliver().await.unwrap();
    assert_eq!(bench.taken(), [session]);
}

/// A refusal for good went into the log and nowhere else.
#[tokio::test]
async fn an_event_refused_for_good_is_counted_until_it_is_taken() {
    let bench = bench();
    let refused = bench.event_in(7).await;
    let other = bench.event_in(7).await;
    bench.sink.refused.lock().unwrap().insert(refused.clone());
    for _ in 0..2 {
        bench.pump.state().waiting.insert(7);
        bench.pump.deliver().await.unwrap();
        assert_eq!(bench.taken(), std::slice::from_ref(&other));
        assert_eq!(bench.pump.backlog(), Backlog { refused: 1, ..Backlog::default() });
    }
    bench.sink.refused.lock().unwrap().clear();
    bench.pump.state().waiting.insert(7);
    bench.pump.deliver().await.unwrap();
    assert_eq!(bench.taken(), [other, refused]);
    assert_eq!(bench.pump.backlog(), Backlog::default());
}

/// A process died with events in buckets that nobody has touched since.
#[tokio::test]
async fn a_sweep_finds_what_nobody_knows_of() {
    let bench = bench();
    let mut sessions = Vec::new();
    for bucket in [0, 511, 1023] {
        sessions.push(bench.event_in(bucket).await);
    }
    bench.pump.deliver().await.unwrap();
    assert_eq!(bench.taken(), [] as [String; 0]);
    bench.pump.sweep().await.unwrap();
    bench.pump.deliver().await.unwrap();
    assert_eq!(bench.taken(), sessions);
}

/// The first call of a new process is enough, and after that the time that passes.
#[tokio::test(start_paused = true)]
async fn a_process_sweeps_when_it_begins_and_then_now_and_then() {
    let bench = bench();
    let left = bench.event_in(900).await;
    bench.pump.wake(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.taken(), std::slice::from_ref(&left));
    let later = bench.event_in(901).await;
    tokio::time::sleep(Duration::from_secs(299)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.taken(), [left, later]);
}

/// The end of a process must not hang on a sink, or a store, that does not answer.
#[tokio::test(start_paused = true)]
async fn a_delivery_in_time_ends_after_ten_seconds() {
    let bench = bench();
    let session = bench.event_in(7).await;
    bench.pump.state().waiting.insert(7);
    bench.sink.is_stuck.store(true, Ordering::SeqCst);
    let started = tokio::time::Instant::now();
    let error = bench.pump.deliver_in_time().await.unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    // Also when it is another delivery that hangs.
    let hanging = tokio::spawn({
        let pump = Arc::clone(&bench.pump);
        async move { pump.deliver().await }
    });
    tokio::task::yield_now().await;
    assert!(bench.pump.deliver_in_time().await.is_err());
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    bench.sink.is_stuck.store(false, Ordering::SeqCst);
    bench.pump.deliver_in_time().await.unwrap();
    assert_eq!(bench.taken(), [session]);
}

/// More than a batch of events that the sink will never take, and those behind them.
#[tokio::test]
async fn refused_events_keep_none_from_its_turn() {
    let bench = bench_with(MemoryStore::new(), TAKEOVER);
    for _ in 0..250 {
        let refused = bench.event_in(7).await;
        bench.sink.refused.lock().unwrap().insert(refused);
    }
    // The second round is not given again what is set aside, and does not take it for delivered.
    for _ in 0..2 {
        let behind = bench.event_in(7).await;
        bench.pump.state().waiting.insert(7);
        bench.pump.deliver().await.unwrap();
        assert_eq!(bench.taken().pop(), Some(behind));
        assert_eq!(bench.pump.backlog(), Backlog { refused: 250, ..Backlog::default() });
    }
    assert_eq!(bench.taken().len(), 2);
}

/// Another process claimed an event and died; nobody touches the bucket again.
#[tokio::test(start_paused = true)]
async fn what_a_dead_process_holds_is_taken_over_soon() {
    let clock = ManualClock::new(crate::event::timestamp(1_767_225_600_000));
    let store = MemoryStore::with_clock(Arc::new(clock.clone()));
    let bench = bench_with(store, TAKEOVER);
    let session = bench.event_in(900).await;
    assert_eq!(bench.store.claim(900, "dead", 9, TAKEOVER).await.unwrap().len(), 1);
    bench.pump.wake(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.taken(), [""; 0]);
    clock.advance(TAKEOVER);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.taken(), [session]);
}

#[tokio::test]
async fn dropped_events_are_in_the_backlog_until_they_are_told() {
    let bench = bench();
    bench.pump.state().waiting.insert(7);
    let blocked = bench.event_in(7).await;
    for _ in 0..crate::model::MAX_EVENTS_PER_BUCKET + 1 {
        bench.event_in(7).await;
    }
    bench.sink.unavailable.lock().unwrap().insert(blocked);
    assert!(bench.pump.deliver().await.is_err());
    assert_eq!(bench.pump.backlog(), Backlog { buckets: 1, dropped: 2, ..Backlog::default() });
    bench.sink.unavailable.lock().unwrap().clear();
    bench.pump.deliver().await.unwrap();
    assert_eq!(bench.pump.backlog(), Backlog::default());
    let mut entries = bench.sink.taken.entries();
    entries.retain(|entry| entry.action == "session.events_dropped");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].details["count"], 2);
}
