//! Bytes made up: entries, frames, manifests and objects of the archive. Nothing panics, what is
//! accepted is archived and verifies, and what was altered is named.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use watchdog_audit::segment::{Appended, SegmentId};
use watchdog_audit::testing::{WIDE, frame};
use watchdog_audit::{EmbeddedStore, FaultKind, Frame, Query, SegmentStore, WriterId};

use crate::forge::{archive, bucket, forged, is_manifest, is_object, trusting};
use crate::is_long;
use crate::place::log;

const FIRST: SegmentId = SegmentId { partition: 0, number: 1 };
const WRITER: [u8; 16] = [5; 16];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static ARCHIVE: LazyLock<Vec<(String, Bytes)>> = LazyLock::new(|| RUNTIME.block_on(archive()));

fn cases(few: u32) -> ProptestConfig {
    ProptestConfig::with_cases(if is_long() { few * 100 } else { few })
}

/// Values that a careless reader trips over.
fn hostile() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), Just(0), Just(1 << 53), Just(1 << 63)]
            .prop_map(Value::from),
        Just(json!("")),
        Just(json!("9999-12-31T23:59:59.999999999Z")),
        Just(json!("-009999-01-02T01:59:59Z")),
        Just(json!("../../../../etc/passwd")),
        Just(json!("\u{0}\u{feff}\u{202e}")),
        ".{0,40}".prop_map(Value::from),
        (1_usize..100_000).prop_map(|length| Value::from("x".repeat(length))),
        (1_usize..120).prop_map(|depth| (0..depth).fold(json!(1), |inner, _| json!([inner]))),
        (1_usize..120).prop_map(|depth| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}))),
        Just(json!([])),
        Just(json!({})),
    ]
}

/// A change somewhere in a value: another value, nothing, a new field, a second of a list.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, Value),
    Remove(Index),
    Add(Index, Value),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (any::<Index>(), hostile()).prop_map(|(place, value)| Change::Replace(place, value)),
        1 => any::<Index>().prop_map(Change::Remove),
        1 => (any::<Index>(), hostile()).prop_map(|(place, value)| Change::Add(place, value)),
    ]
}

/// Every place in a value, as a JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |name: &str, inner: &Value| {
        let name = name.replace('~', "~0").replace('/', "~1");
        let place = format!("{at}/{name}");
        found.push(place.clone());
        places(inner, &place, found);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| below(name, inner)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, inner)| below(&n.to_string(), inner));
        }
        _ => {}
    }
}

fn apply(value: &mut Value, change: &Change) {
    let mut found = Vec::new();
    places(value, "", &mut found);
    if found.is_empty() {
        return;
    }
    match change {
        Change::Replace(place, new) => {
            if let Some(old) = value.pointer_mut(&found[place.index(found.len())]) {
                old.clone_from(new);
            }
        }
        Change::Remove(place) => {
            let place = &found[place.index(found.len())];
            let (parent, name) = place.rsplit_once('/').unwrap();
            match value.pointer_mut(parent) {
                Some(Value::Object(fields)) => drop(fields.remove(name)),
                Some(Value::Array(items)) => drop(items.pop()),
                _ => {}
            }
        }
        Change::Add(place, new) => match value.pointer_mut(&found[place.index(found.len())]) {
            Some(Value::Object(fields)) => drop(fields.insert("another".into(), new.clone())),
            Some(Value::Array(items)) => items.push(new.clone()),
            _ => {}
        },
    }
}

/// A change of bytes.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Append(Vec<u8>),
    Double,
    Empty,
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..50);
    prop_oneof![
        4 => (any::<Index>(), 1_u8..).prop_map(|(place, bits)| Damage::Flip(place, bits)),
        2 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), bytes()).prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        1 => bytes().prop_map(Damage::Append),
        // A frame that zstd skips, and one more of nothing.
        1 => Just(Damage::Append(vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9])),
        1 => Just(Damage::Append(zstd::encode_all(&b"{}\n"[..], 3).unwrap())),
        1 => Just(Damage::Double),
        1 => Just(Damage::Empty),
    ]
}

fn damaged(content: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = content.to_vec();
    match damage {
        Damage::Flip(place, bits) => {
            let place = place.index(bytes.len());
            bytes[place] ^= bits;
        }
        Damage::Cut(place) => bytes.truncate(place.index(content.len())),
        Damage::Insert(place, new) => {
            let place = place.index(bytes.len());
            bytes.splice(place..place, new.iter().copied());
        }
        Damage::Append(new) => bytes.extend_from_slice(new),
        Damage::Double => bytes.extend_from_slice(content),
        Damage::Empty => bytes.clear(),
    }
    bytes
}

/// Puts a frame into a store as somebody does who can write to it, and archives and reads it.
async fn taken(frame: &Frame) {
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log(Arc::clone(&store), &watchdog_storage::objects::Objects::memory()).await;
    let appended = store.append(FIRST, frame, WIDE).await.unwrap();
    assert!(matches!(appended, Appended::Stored { .. }), "{appended:?}");
    // What is sealed under a made-up key is an error for the reader, not for the log.
    let _ = log.query(&Query::new()).await;
    let archived = log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    if archived.unreadable > 0 {
        // A line that is no entry, or another's: the frame is set aside as it is.
        let fault = report.fault.unwrap();
        assert_eq!((archived.entries, archived.unreadable), (0, 1));
        return assert_eq!(fault.kind, watchdog_audit::FaultKind::UnreadableSegment, "{fault}");
    }
    assert_eq!(archived.entries, frame.count());
    assert_eq!((report.fault, report.entries), (None, frame.count()));
    let _ = log.query(&Query::new()).await;
}

proptest! {
    #![proptest_config(cases(250))]

    /// A line under a right checksum: only the decoder of entries stands between it and the log.
    #[test]
    fn no_line_panics_and_what_is_taken_is_archived(
        changes in prop::collection::vec(change(), 1..3),
        is_sealed in any::<bool>(),
    ) {
        let mut line: Value = {
            let whole = frame(WriterId::from_bytes(WRITER), 1, 1);
            serde_json::from_slice(whole.lines().next().unwrap()).unwrap()
        };
        line["client"] = json!({"ip": "192.0.2.1", "user_agent": "a"});
        line["details"] = json!({"a": [1, {"b": null}]});
        line["request_id"] = json!("r");
        if is_sealed {
            line["sealed"] = json!({"subject": "00", "key": "k", "box": "AAAA"});
        }
        for change in &changes {
            apply(&mut line, change);
        }
        let line = serde_json::to_vec(&line).unwrap();
        let mut made = Frame::new(WriterId::from_bytes(WRITER), 1);
        if made.push(&line, 0).is_ok() && let Ok(decoded) = Frame::decode(&made.encode()) {
            prop_assert_eq!(decoded.lines().next().unwrap(), line.as_slice());
            RUNTIME.block_on(taken(&decoded));
        }
    }

    #[test]
    fn no_bytes_of_a_line_panic(damages in prop::collection::vec(damage(), 1..4)) {
        let whole = frame(WriterId::from_bytes(WRITER), 1, 1);
        let mut line = whole.lines().next().unwrap().to_vec();
        for damage in &damages {
            if !line.is_empty() {
                line = damaged(&line, damage);
            }
        }
        let mut made = Frame::new(WriterId::from_bytes(WRITER), 1);
        if made.push(&line, 0).is_ok() && let Ok(decoded) = Frame::decode(&made.encode()) {
            RUNTIME.block_on(taken(&decoded));
        }
    }

    #[test]
    fn no_damage_to_a_frame_is_taken_for_a_frame(
        count in 1_u64..20,
        damages in prop::collection::vec(damage(), 1..3),
    ) {
        let whole = frame(WriterId::from_bytes(WRITER), 7, count);
        let mut bytes = whole.encode();
        for damage in &damages {
            if !bytes.is_empty() {
                bytes = damaged(&bytes, damage);
            }
        }
        match Frame::decode(&bytes) {
            Ok(decoded) => prop_assert_eq!(decoded, whole),
            Err(error) => prop_assert_eq!(error.kind(), watchdog_audit::ErrorKind::Corrupt),
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    /// Under a signature the log trusts: nothing that a manifest says makes a reader panic.
    #[test]
    fn no_signed_manifest_panics(
        changes in prop::collection::vec((0_usize..2, change()), 1..4),
    ) {
        let archive = &*ARCHIVE;
        RUNTIME.block_on(async {
            let objects = forged(archive, |number, manifest| {
                for (_, change) in changes.iter().filter(|(at, _)| *at == number) {
                    apply(manifest, change);
                }
            });
            let log = trusting(&bucket(&objects).await).await;
            let _ = log.verify().await;
            let _ = log.query(&Query::new()).await;
            log.record(crate::load::entry(1, 5)).await.unwrap();
            let _ = log.seal_and_archive().await;
            let _ = log.verify().await;
        });
    }

    /// Without the key: whatever is done to a manifest or an object is named.
    #[test]
    fn all_damage_to_the_archive_is_named(place in any::<Index>(), damage in damage()) {
        let archive = &*ARCHIVE;
        RUNTIME.block_on(async {
            let mut objects = archive.clone();
            let damageable: Vec<_> = (0..objects.len())
                .filter(|at| is_manifest(&objects[*at].0) || is_object(&objects[*at].0))
                .collect();
            let (key, content) = &mut objects[damageable[place.index(damageable.len())]];
            let key = key.clone();
            *content = damaged(content, &damage).into();
            let log = trusting(&bucket(&objects).await).await;
            let fault = log.verify().await.unwrap().fault;
            assert_eq!(fault.map(|fault| fault.place), Some(key));
            let _ = log.query(&Query::new()).await;
        });
    }
}

/// The forged archive is sound as long as nothing is changed: the tests above reach past the
/// signature.
#[test]
fn what_the_forger_signs_is_accepted() {
    let archive = &*ARCHIVE;
    RUNTIME.block_on(async {
        let log = trusting(&bucket(&forged(archive, |_, _| {})).await).await;
        let report = log.verify().await.unwrap();
        // The checkpoint is looked at last; the forger has left that of the first key.
        let kind = report.fault.map(|fault| fault.kind);
        assert_eq!((kind, report.entries), (Some(FaultKind::AlteredCheckpoint), 12));
    });
}

/// Counts that leave the numbers, in a chain that agrees with itself.
#[test]
fn a_writer_that_is_said_to_have_reached_the_last_number_there_is_panics_nobody() {
    let archive = &*ARCHIVE;
    RUNTIME.block_on(async {
        let objects = forged(archive, |number, manifest| {
            if number == 0 {
                let writers = manifest["writers"].as_object_mut().unwrap();
                for range in writers.values_mut() {
                    range["first"] = json!(1);
                    range["last"] = json!(u64::MAX);
                }
                manifest["entries"] = json!(u64::MAX);
                let objects = manifest["objects"].as_array_mut().unwrap();
                let count = objects.len();
                for object in objects.iter_mut() {
                    object["entries"] = json!(u64::MAX / count as u64);
                }
                let rest = u64::MAX % count as u64;
                objects[0]["entries"] = json!(u64::MAX / count as u64 + rest);
            }
        });
        let log = trusting(&bucket(&objects).await).await;
        let _ = log.query(&Query::new()).await;
        assert!(log.verify().await.unwrap().fault.is_some());
        log.record(crate::load::entry(1, 5)).await.unwrap();
        let _ = log.seal_and_archive().await;
    });
}
