//! Segments that cannot be read: frames altered or taken out of the store by somebody else.

use std::ops::ControlFlow;
use std::sync::Arc;

use watchdog_audit::segment::{Expiry, SegmentId};
use watchdog_audit::{
    AuditLog, ErrorKind, FaultKind, LegalHold, Moment, RedisStore, SegmentStore, Step,
};
use watchdog_core::audit::Actor;
use watchdog_core::health::{HealthCheck as _, Status};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, Script, Value};

use crate::bench::{log, numbers, record, redis};

const FIRST: SegmentId = SegmentId { partition: 0, number: 1 };

/// Writes a stream anew, with another byte in one of its frames.
static ALTER: Script = Script::new(
    "test.alter.v1",
    "local all = redis.call('XRANGE', KEYS[1], '-', '+')
     redis.call('DEL', KEYS[1])
     local altered
     for number, entry in ipairs(all) do
       local frame = entry[2][2]
       if number == tonumber(ARGV[1]) then
         frame = string.sub(frame, 1, -20) .. '~' .. string.sub(frame, -18)
         altered = frame
       end
       redis.call('XADD', KEYS[1], entry[1], 'd', frame)
     end
     return altered",
);

static TAKE_OUT: Script = Script::new(
    "test.take_out.v1",
    "local all = redis.call('XRANGE', KEYS[1], '-', '+')
     return redis.call('XDEL', KEYS[1], all[tonumber(ARGV[1])][1])",
);

struct Desk {
    redis: Redis,
    store: Arc<RedisStore>,
    bucket: Objects,
    log: AuditLog,
}

impl Desk {
    /// A log with ten entries in the first segment, a frame each.
    async fn new() -> Option<Self> {
        let redis = redis().await?;
        let store = Arc::new(RedisStore::new(redis.clone(), 1));
        let bucket = Objects::memory();
        let log = log(store.clone(), &bucket).await;
        record(&log, 0..10).await;
        Some(Self { redis, store, bucket, log })
    }

    /// Changes a frame of the first segment, counted from 1.
    async fn with(&self, script: &'static Script, frame: i64) -> Value {
        let key = self.redis.keys().key("a", "0", &["1"]);
        self.redis.call(script, &[&key], &[frame.into()]).await.unwrap()
    }

    async fn unreadable(&self) -> Vec<String> {
        let page = self.bucket.list("audit/v1/unreadable/", None, 10).await.unwrap();
        page.objects.into_iter().map(|object| object.key).collect()
    }
}

#[tokio::test]
async fn an_altered_frame_is_kept_as_it_is_and_later_segments_are_archived() {
    let Some(desk) = Desk::new().await else { return };
    let Value::Bytes(altered) = desk.with(&ALTER, 4).await else { panic!("no frame") };
    desk.store.seal(FIRST, None).await.unwrap();
    record(&desk.log, 10..20).await;
    assert_eq!(
        desk.log.query(&watchdog_audit::Query::new()).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(desk.store.expiry(FIRST).await.unwrap(), Expiry::Never, "not before it is archived");

    let archived = desk.log.seal_and_archive().await.unwrap();
    assert_eq!((archived.segments, archived.entries, archived.unreadable), (2, 19, 1));
    assert!(matches!(desk.store.expiry(FIRST).await.unwrap(), Expiry::InMillis(_)));
    let found = numbers(&desk.log).await;
    assert_eq!(found, (0..20).filter(|n| *n != 3).collect::<Vec<_>>(), "all but the altered one");

    // What cannot be read is in the bucket, byte by byte.
    let [key] = desk.unreadable().await.try_into().unwrap();
    let kept = zstd::decode_all(desk.bucket.get(&key).await.unwrap().as_ref()).unwrap();
    assert_eq!(kept[8..16], 4_u64.to_be_bytes(), "the fourth frame");
    assert_eq!(kept[16..20], u32::try_from(altered.len()).unwrap().to_be_bytes());
    assert_eq!(kept[20..], altered[..]);

    let report = desk.log.verify().await.unwrap();
    let fault = report.fault.unwrap();
    assert_eq!(fault.kind, FaultKind::UnreadableSegment);
    assert_eq!(fault.place, FIRST.to_string());
    assert_eq!((report.also, report.unreadable, report.entries), (None, 1, 19));
    assert_eq!(desk.log.health().check().await.status, Status::Warn);

    // It hides nothing of what goes wrong besides.
    desk.bucket.put(&key, "other".into()).await.unwrap();
    let report = desk.log.verify().await.unwrap();
    assert_eq!(report.fault.unwrap().kind, FaultKind::UnreadableSegment);
    assert_eq!(report.also.unwrap().kind, FaultKind::AlteredObject);
}

#[tokio::test]
async fn a_writer_goes_on_after_its_last_frame_was_altered() {
    let Some(desk) = Desk::new().await else { return };
    desk.with(&ALTER, 10).await;
    assert_eq!(desk.log.seal_and_archive().await.unwrap().entries, 9);
    record(&desk.log, 10..15).await;
    let report = desk.log.verify().await.unwrap();
    assert_eq!((report.also, report.waiting), (None, 5), "what waits goes on as well");
    let archived = desk.log.seal_and_archive().await.unwrap();
    assert_eq!((archived.entries, archived.unreadable), (5, 0));
    let report = desk.log.verify().await.unwrap();
    assert_eq!((report.also, report.unreadable, report.entries), (None, 1, 14));
}

#[tokio::test]
async fn frames_that_are_gone_are_named_and_later_segments_are_archived() {
    let Some(desk) = Desk::new().await else { return };
    desk.with(&TAKE_OUT, 2).await;
    desk.with(&TAKE_OUT, 9).await;
    assert_eq!(desk.log.seal_and_archive().await.unwrap().entries, 8);
    record(&desk.log, 10..15).await;
    assert_eq!(desk.log.seal_and_archive().await.unwrap().entries, 5);
    let report = desk.log.verify().await.unwrap();
    let fault = report.fault.unwrap();
    assert_eq!(fault.kind, FaultKind::UnreadableSegment);
    assert!(fault.detail.contains("2 were gone"), "{fault}");
    assert_eq!((report.also, report.entries), (None, 13));
    assert!(desk.unreadable().await.is_empty());
}

#[tokio::test]
async fn broken_off_at_any_step_it_is_archived_once() {
    let steps = std::sync::Mutex::new(Vec::<(Step, Moment)>::new());
    let Some(desk) = Desk::new().await else { return };
    desk.with(&ALTER, 4).await;
    let archiver = desk.log.archiver().unwrap();
    // Each run goes one step further than the one before.
    for reach in 0..100 {
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let observer = |step: &Step, moment: Moment| {
            let number = taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            steps.lock().unwrap().push((step.clone(), moment));
            if number == reach { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match archiver.run_observed(&observer).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        }
    }
    let steps = steps.into_inner().unwrap();
    assert!(steps.contains(&(Step::Gate(FIRST), Moment::After)), "{steps:?}");
    let report = desk.log.verify().await.unwrap();
    assert_eq!((report.also, report.unreadable, report.entries), (None, 1, 9));
    assert_eq!((report.manifests, desk.unreadable().await.len()), (1, 1));
}

#[tokio::test]
async fn under_a_legal_hold_what_cannot_be_read_is_held() {
    let Some(desk) = Desk::new().await else { return };
    desk.with(&ALTER, 4).await;
    let clerk = || Actor::user("clerk");
    let hold = LegalHold::new("case-1", "litigation").with_subject(Actor::user("carol"));
    desk.log.hold(hold, clerk()).await.unwrap();
    desk.log.seal_and_archive().await.unwrap();
    assert_eq!(desk.store.expiry(FIRST).await.unwrap(), Expiry::Never);
    desk.log.release_hold("case-1", clerk()).await.unwrap();
    desk.log.seal_and_archive().await.unwrap();
    assert!(matches!(desk.store.expiry(FIRST).await.unwrap(), Expiry::InMillis(_)));
}

/// The sealing of the third segment and its last frame are undone.
static GO_BACK: Script = Script::new(
    "test.go_back.v1",
    "redis.call('HDEL', KEYS[1], '3')
     local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
     return redis.call('XDEL', KEYS[2], last[1][1])",
);

/// A restart with an older log, or a replica that is promoted, undoes what the archiver was told.
#[tokio::test]
async fn a_store_that_goes_back_while_it_is_archived_is_not_damaged() {
    let Some(desk) = Desk::new().await else { return };
    for number in 1..=3 {
        desk.store.seal(SegmentId { partition: 0, number }, None).await.unwrap();
        record(&desk.log, number * 10..number * 10 + 2).await;
    }
    let (told, hears) = tokio::sync::oneshot::channel();
    let (go, goes) = std::sync::mpsc::channel();
    let pause = std::sync::Mutex::new(Some((told, goes)));
    let archiving = tokio::task::spawn_blocking({
        let (log, handle) = (desk.log.clone(), tokio::runtime::Handle::current());
        move || {
            handle.block_on(log.archiver().unwrap().run_observed(&|step, moment| {
                if matches!((step, moment), (Step::Pack(_), Moment::Before))
                    && let Some((told, goes)) = pause.lock().unwrap().take()
                {
                    told.send(()).unwrap();
                    goes.recv().unwrap();
                }
                ControlFlow::Continue(())
            }))
        }
    });
    hears.await.unwrap();
    let keys = [&["s"][..], &["3"]].map(|parts| desk.redis.keys().key("a", "0", parts));
    desk.redis.call(&GO_BACK, &[&keys[0], &keys[1]], &[]).await.unwrap();
    go.send(()).unwrap();
    let error = archiving.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(desk.log.verify().await.unwrap().unreadable, 0, "nothing is said to be damaged");
}
