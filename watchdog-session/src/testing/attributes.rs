use super::suite::{sample, stored};
use super::{Sample, time_of};
use crate::store::{Change, MAX_ATTRIBUTES, SessionStore, StoredAttributes, Update, UpdateOutcome};

async fn outcome(store: &dyn SessionStore, update: &Update) -> UpdateOutcome {
    store.update(update).await.unwrap().outcome
}

async fn version_of(store: &dyn SessionStore, sample: &Sample) -> u64 {
    store.attributes(&sample.place).await.unwrap().version
}

async fn values_of(store: &dyn SessionStore, sample: &Sample) -> Vec<(String, u64, Vec<u8>)> {
    let found = store.attributes(&sample.place).await.unwrap().values;
    found.into_iter().map(|one| (one.name, one.version, one.value)).collect()
}

fn done(version: u64) -> UpdateOutcome {
    UpdateOutcome::Done { version }
}

/// Each attribute is changed by itself, and carries the version that changed it.
pub async fn attributes_change_one_by_one(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let empty = store.attributes(&sample.place).await.unwrap();
    assert_eq!(empty, StoredAttributes::default());
    let first = sample.update(&[("a", Some(b"1")), ("b", Some(b"2"))]);
    assert_eq!(outcome(store, &first).await, done(1));
    let second = sample.update(&[("a", Some(b"\x00\xff")), ("c", None)]);
    assert_eq!(outcome(store, &second).await, done(2));
    let wanted = [("a".into(), 2, b"\x00\xff".to_vec()), ("b".into(), 1, b"2".to_vec())];
    assert_eq!(values_of(store, &sample).await, wanted);
    assert_eq!(outcome(store, &sample.update(&[("a", None)])).await, done(3));
    assert_eq!(values_of(store, &sample).await, [("b".into(), 1, b"2".to_vec())]);
    let clear = Update { clear: true, ..sample.update(&[("d", Some(b"4"))]) };
    assert_eq!(outcome(store, &clear).await, done(4));
    assert_eq!(values_of(store, &sample).await, [("d".into(), 4, b"4".to_vec())]);
    // An emptied session goes on counting: an old version never fits again.
    assert_eq!(outcome(store, &sample.update(&[("d", None)])).await, done(5));
    assert_eq!(version_of(store, &sample).await, 5);
}

/// An update that expects what does not stand changes nothing, not even in part.
pub async fn an_update_of_what_does_not_stand_is_a_conflict(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    store.update(&sample.update(&[("a", Some(b"1"))])).await.unwrap();
    store.update(&sample.update(&[("b", Some(b"2"))])).await.unwrap();
    let conflict = UpdateOutcome::Conflict { version: 2 };
    let of = |name: &str, expected| Change {
        name: name.into(),
        expected: Some(expected),
        value: Some(b"9".to_vec()),
    };
    for (whole, changes) in [
        (Some(1), vec![]),
        (None, vec![of("a", 2)]),
        (None, vec![of("a", 0)]),
        (None, vec![of("c", 1)]),
        (None, vec![of("a", 1), of("b", 1)]),
        (Some(3), vec![of("a", 1)]),
    ] {
        let update = Update { expected: whole, changes, ..sample.update(&[]) };
        assert_eq!(outcome(store, &update).await, conflict);
        let cleared = Update { clear: true, ..update };
        assert_eq!(outcome(store, &cleared).await, conflict);
    }
    assert_eq!(version_of(store, &sample).await, 2);
    let changes = vec![of("a", 1), of("b", 2), of("c", 0)];
    let fits = Update { expected: Some(2), changes, ..sample.update(&[]) };
    assert_eq!(outcome(store, &fits).await, done(3));
}

/// A repeat does not undo what came in between, nor does it count twice.
pub async fn a_repeated_update_is_made_once(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let mut lost = sample.update(&[("a", Some(b"1"))]);
    lost.changes[0].expected = Some(0);
    assert_eq!(outcome(store, &lost).await, done(1));
    assert_eq!(outcome(store, &sample.update(&[("a", Some(b"2"))])).await, done(2));
    assert_eq!(outcome(store, &lost).await, done(1));
    assert_eq!(values_of(store, &sample).await, [("a".into(), 2, b"2".to_vec())]);
}

/// Neither before a session begins nor after it has ended; and its attributes end with it.
pub async fn no_attribute_outlives_its_session(store: &dyn SessionStore) {
    let sample = sample(store).await;
    let update = sample.update(&[("a", Some(b"1"))]);
    assert_eq!(outcome(store, &update).await, UpdateOutcome::Gone);
    stored(store, &sample).await;
    assert_eq!(outcome(store, &update).await, done(1));
    store.revoke(&sample.revoke()).await.unwrap();
    assert_eq!(outcome(store, &update).await, UpdateOutcome::Gone);
    let other = sample.update(&[("a", Some(b"2"))]);
    assert_eq!(outcome(store, &other).await, UpdateOutcome::Gone);
    assert_eq!(store.attributes(&sample.place).await.unwrap(), StoredAttributes::default());

    let expired = Sample::new(sample.place.location, time_of(store).await + 1).expired();
    store.create(&expired.create(9)).await.unwrap();
    let late = expired.update(&[("a", Some(b"1"))]);
    assert_eq!(outcome(store, &late).await, UpdateOutcome::Expired);
    assert_eq!(outcome(store, &late).await, UpdateOutcome::Gone);
    assert_eq!(store.attributes(&expired.place).await.unwrap(), StoredAttributes::default());
}

/// An evicted session and one that was caught with an old token take their attributes along too.
pub async fn attributes_end_with_eviction_and_reuse(store: &dyn SessionStore) {
    let first = sample(store).await.rotated(7, 0);
    stored(store, &first).await;
    store.update(&first.update(&[("a", Some(b"1"))])).await.unwrap();
    store.rotate(&first.rotate(3)).await.unwrap();
    assert_eq!(store.attributes(&first.place).await.unwrap(), StoredAttributes::default());
    let second = sample(store).await;
    stored(store, &second).await;
    store.update(&second.update(&[("a", Some(b"1"))])).await.unwrap();
    let next = Sample::new(second.place.location, time_of(store).await);
    store.create(&next.create(1)).await.unwrap();
    assert_eq!(store.attributes(&second.place).await.unwrap(), StoredAttributes::default());
}

/// One attribute beyond the bound is refused, and nothing of its update is kept.
pub async fn attributes_have_a_bound(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let names: Vec<String> = (0..=MAX_ATTRIBUTES).map(|index| format!("n{index}")).collect();
    let all: Vec<(&str, Option<&[u8]>)> =
        names.iter().map(|name| (&**name, Some(&b"x"[..]))).collect();
    assert_eq!(outcome(store, &sample.update(&all)).await, UpdateOutcome::Full);
    assert_eq!(version_of(store, &sample).await, 0);
    assert_eq!(outcome(store, &sample.update(&all[1..])).await, done(1));
    assert_eq!(outcome(store, &sample.update(&all[..1])).await, UpdateOutcome::Full);
    assert_eq!(outcome(store, &sample.update(&all[1..])).await, done(2));
    let swap = [("n1", None), ("n0", Some(&b"y"[..]))];
    assert_eq!(outcome(store, &sample.update(&swap)).await, done(3));
    assert_eq!(values_of(store, &sample).await.len(), MAX_ATTRIBUTES);
    let clear = Update { clear: true, ..sample.update(&all[..1]) };
    assert_eq!(outcome(store, &clear).await, done(4));
}
