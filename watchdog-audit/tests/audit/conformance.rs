//! Every store keeps the contract, and makes the decisions of the pure model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;
use watchdog_audit::segment::{
    AppendRequest, Appended, ArchiveProof, Expiry, FrameId, Gate, HighWater, Partition, Resuming,
    Sealed, Sealing, SegmentId, SegmentLimits, Totals,
};
use watchdog_audit::testing::{conformance, frame, proof};
use watchdog_audit::{EmbeddedStore, RedisStore, SegmentStore, WriterId};
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::shared_cluster;

use crate::bench::redis;

#[tokio::test]
async fn a_file_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conformance(&EmbeddedStore::open(directory.path()).unwrap()).await;
}

#[tokio::test]
async fn memory_conforms() {
    conformance(&EmbeddedStore::memory().unwrap()).await;
}

#[tokio::test]
async fn redis_conforms() {
    let Some(redis) = redis().await else { return };
    conformance(&RedisStore::new(redis, 1)).await;
}

#[tokio::test]
async fn a_cluster_conforms() {
    let Some(cluster) = shared_cluster() else { return };
    let mut config = RedisConfig::from_url(&cluster.url()).unwrap();
    config.key_prefix = format!("t{}", uuid::Uuid::now_v7().simple());
    let redis = Redis::connect(&config).await.unwrap();
    conformance(&RedisStore::new(redis.clone(), 16)).await;
    config.key_prefix.push('b');
    let redis = Redis::connect(&config).await.unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 16));
    let bucket = watchdog_storage::objects::Objects::memory();
    let log = crate::bench::log(store, &bucket).await;
    crate::bench::record(&log, 0..50).await;
    log.seal_and_archive().await.unwrap();
    crate::bench::assert_archived(&log, 0..50).await;
    redis.close().await;
}

#[tokio::test]
async fn a_file_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let _held = EmbeddedStore::open(directory.path()).unwrap();
    let error = EmbeddedStore::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), watchdog_audit::ErrorKind::Config);
}

#[derive(Clone, Debug)]
enum Operation {
    Append {
        writer: u8,
        skip: i8,
        count: u64,
        segment: i8,
    },
    Seal {
        segment: i8,
        has_ttl: bool,
    },
    Gate {
        segment: u64,
        entries_off: u64,
        token: u64,
        manifest: u64,
        is_held: bool,
        is_aware: bool,
    },
    Fence(u64),
    Announce(u128),
    Suspend(Vec<u64>),
    Resume {
        segment: u64,
        is_aware: bool,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (0_u8..2, prop_oneof![6 => Just(0_i8), 1 => -2_i8..3], 1_u64..4, prop_oneof![
            6 => Just(0_i8), 1 => -1_i8..2
        ])
            .prop_map(|(writer, skip, count, segment)| Operation::Append {
                writer, skip, count, segment
            }),
        2 => (prop_oneof![4 => Just(0_i8), 1 => -1_i8..2], prop::bool::weighted(0.2))
            .prop_map(|(segment, has_ttl)| Operation::Seal { segment, has_ttl }),
        3 => (
            (1_u64..5, prop_oneof![5 => Just(0_u64), 1 => 1_u64..2], 1_u64..6, 1_u64..6),
            any::<bool>(),
            prop::bool::weighted(0.9),
        )
            .prop_map(|((segment, entries_off, token, manifest), is_held, is_aware)| {
                Operation::Gate { segment, entries_off, token, manifest, is_held, is_aware }
            }),
        1 => any::<u128>().prop_map(Operation::Announce),
        1 => prop::collection::vec(1_u64..6, 0..4).prop_map(Operation::Suspend),
        1 => (1_u64..6, prop::bool::weighted(0.9))
            .prop_map(|(segment, is_aware)| Operation::Resume { segment, is_aware }),
        1 => (1_u64..6).prop_map(Operation::Fence),
    ]
}

/// A partition as the pure decisions keep it.
#[derive(Default)]
struct Model {
    partition: Partition,
    high_water: BTreeMap<u8, HighWater>,
    sealed: BTreeMap<u64, Totals>,
    /// Frames of every segment, and whether it has a life that ends.
    held: BTreeMap<u64, (u64, bool)>,
    /// Segments a legal hold keeps.
    suspended: BTreeSet<u64>,
}

const LIMITS: SegmentLimits = SegmentLimits { max_bytes: 3000, max_age: Duration::from_secs(3600) };
const TTL: Duration = Duration::from_secs(3600);

fn near(base: u64, offset: i8) -> u64 {
    base.saturating_add_signed(i64::from(offset)).max(1)
}

/// Runs the operations on the model and the store and compares every answer.
async fn compare(store: &dyn SegmentStore, operations: &[Operation]) {
    let mut model = Model::default();
    for operation in operations {
        match *operation {
            Operation::Append { writer, skip, count, segment } => {
                let mark = model.high_water.get(&writer).copied().unwrap_or_default();
                let number = near(model.partition.open, segment);
                let id = WriterId::from_bytes([writer; 16]);
                let frame = frame(id, near(mark.last + 1, skip), count);
                let place = SegmentId { partition: 0, number };
                let answer = store.append(place, &frame, LIMITS).await.unwrap();
                let request = AppendRequest {
                    number,
                    writer: id,
                    first: frame.first(),
                    count,
                    bytes: frame.encode().len() as u64,
                };
                let expected = model.partition.append(request, mark, LIMITS, 0);
                if let Appended::Stored { .. } = expected {
                    let mark = HighWater { last: frame.last(), checksum: frame.checksum() };
                    model.high_water.insert(writer, mark);
                    model.held.entry(number).or_default().0 += 1;
                }
                assert_eq!(timeless(answer), timeless(expected), "{operation:?}");
            }
            Operation::Seal { segment, has_ttl } => {
                let number = near(model.partition.open, segment);
                let ttl = has_ttl.then_some(TTL);
                let place = SegmentId { partition: 0, number };
                let answer = store.seal(place, ttl).await.unwrap();
                let (expected, sealed) = model.partition.seal(number, ttl);
                // A number that was never open is not sealed; both sides say so in one word.
                assert_eq!(answer, expected, "{operation:?}");
                assert_eq!(expected == Sealing::Sealed, sealed.is_some());
                match sealed {
                    Some(Sealed::Expires { .. }) => {
                        model.held.entry(number).or_default().1 = true;
                    }
                    Some(Sealed::Waits(totals)) => {
                        model.sealed.insert(number, totals);
                    }
                    None => {}
                }
            }
            Operation::Gate { segment, entries_off, token, manifest, is_held, is_aware } => {
                let totals = model.sealed.get(&segment).copied();
                let held = model.held.get(&segment).map_or(0, |held| held.0);
                let entries = totals.map_or(0, |totals| totals.entries) + entries_off;
                let holds = aware(&model, is_aware);
                let proof =
                    ArchiveProof { holds, is_held, ..proof(entries, held, token, manifest) };
                let place = SegmentId { partition: 0, number: segment };
                let answer = store.mark_archived(place, &proof).await.unwrap();
                let expected = model.partition.gate(segment, totals, held, &proof);
                if matches!(expected, Gate::Archived { .. } | Gate::Held) {
                    model.sealed.remove(&segment);
                    model.held.entry(segment).or_default().1 = expected != Gate::Held;
                    if expected == Gate::Held {
                        model.suspended.insert(segment);
                    }
                }
                assert_eq!(
                    std::mem::discriminant(&answer),
                    std::mem::discriminant(&expected),
                    "{operation:?}"
                );
            }
            Operation::Fence(token) => {
                let expected = model.partition.raise_fence(token);
                assert_eq!(store.raise_fence(0, token).await.unwrap(), expected);
            }
            Operation::Announce(change) => {
                model.partition.holds = Uuid::from_u128(change);
                store.announce_holds(0, model.partition.holds).await.unwrap();
            }
            Operation::Suspend(ref segments) => {
                for segment in segments {
                    if model.held.get(segment).is_some_and(|held| held.1) {
                        model.held.entry(*segment).or_default().1 = false;
                        model.suspended.insert(*segment);
                    }
                }
                let expected: Vec<_> =
                    segments.iter().filter(|number| model.suspended.contains(number)).collect();
                let answer = store.suspend_expiry(0, segments).await.unwrap();
                assert_eq!(answer.iter().collect::<Vec<_>>(), expected, "{operation:?}");
            }
            Operation::Resume { segment, is_aware } => {
                let holds = aware(&model, is_aware);
                let last = model.suspended.contains(&segment).then_some(0);
                let place = SegmentId { partition: 0, number: segment };
                let answer = store.resume_expiry(place, TTL, holds).await.unwrap();
                let expected = model.partition.resume(last, TTL, holds);
                if let Resuming::Resumed { .. } = expected {
                    model.suspended.remove(&segment);
                    model.held.entry(segment).or_default().1 = true;
                }
                assert_eq!(
                    std::mem::discriminant(&answer),
                    std::mem::discriminant(&expected),
                    "{operation:?}"
                );
            }
        }
        let held = store.partition(0).await.unwrap();
        assert_eq!(held.open, model.partition.open);
        assert_eq!(held.frames, model.partition.frames);
        assert_eq!(held.fence, model.partition.fence);
        assert_eq!(held.unarchived, model.partition.unarchived);
        assert_eq!(held.head, model.partition.head);
        assert_eq!(held.holds, model.partition.holds);
        let suspended = store.held(0).await.unwrap();
        assert_eq!(suspended, model.suspended.iter().copied().collect::<Vec<_>>());
        assert_eq!(held.totals.entries, model.partition.totals.entries);
        assert_eq!(held.totals.bytes, model.partition.totals.bytes);
        for (number, (frames, expires)) in &model.held {
            let segment = SegmentId { partition: 0, number: *number };
            let expiry = store.expiry(segment).await.unwrap();
            assert_eq!(matches!(expiry, Expiry::InMillis(_)), *expires, "{segment}: {expiry:?}");
            let found = store.frames(segment, None, 1000).await.unwrap();
            assert_eq!(found.len() as u64, *frames, "{segment}");
        }
    }
}

/// The change of the holds a caller knows.
fn aware(model: &Model, is_aware: bool) -> Uuid {
    if is_aware { model.partition.holds } else { Uuid::from_u128(u128::MAX) }
}

/// The clocks of model and store differ.
fn timeless(appended: Appended) -> Appended {
    match appended {
        Appended::Stored { frame, is_due } => {
            Appended::Stored { frame: FrameId { millis: 0, ..frame }, is_due }
        }
        other => other,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_embedded_store_decides_as_the_model(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        runtime().block_on(compare(&EmbeddedStore::memory().unwrap(), &operations));
    }

    #[test]
    fn the_scripts_decide_as_the_model(operations in prop::collection::vec(operation(), 1..40)) {
        runtime().block_on(async {
            let Some(redis) = redis().await else { return };
            let store: Arc<dyn SegmentStore> = Arc::new(RedisStore::new(redis.clone(), 1));
            compare(store.as_ref(), &operations).await;
            redis.close().await;
        });
    }
}
